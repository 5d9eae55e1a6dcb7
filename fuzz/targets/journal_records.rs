//! See [`migrate_fuzz::journal_records`].
#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| migrate_fuzz::journal_records(data));
