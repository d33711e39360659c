#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roo_fuzz::text::dynamic_config(bytes));
