#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roo_fuzz::files::log_file(bytes));
