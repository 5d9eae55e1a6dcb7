//! See [`migrate_fuzz::plan`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| migrate_fuzz::plan(data));
