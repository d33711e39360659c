#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roo_fuzz::text::acl_and_path(bytes));
