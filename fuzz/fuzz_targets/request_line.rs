//! A method, and path and query of a URL.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_fuzz::repeated_text;

fuzz_target!(|text: &str| pandaemon_server::fuzzing::read_request_line(&repeated_text(text)));
