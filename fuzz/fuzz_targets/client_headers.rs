//! The headers of a request, one a line.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| pandaemon_server::fuzzing::read_headers(data));
