//! A backup: any bytes, and a backup that was damaged.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pandaemon_store::fuzzing::read_backup(data));
