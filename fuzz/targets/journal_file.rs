//! See [`migrate_fuzz::journal_file`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| migrate_fuzz::journal_file(data));
