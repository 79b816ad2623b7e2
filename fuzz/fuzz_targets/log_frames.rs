//! The frames of a log file of the store: any bytes, and a file that was damaged.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| assert!(pandaemon_store::fuzzing::read_log(data).is_ok()));
