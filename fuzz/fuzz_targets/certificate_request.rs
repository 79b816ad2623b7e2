//! Certificate requests, in PEM and in DER.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_certificates::request;

fuzz_target!(|data: &[u8]| {
    let _pem = request::parse(data);
    let _der = request::parse_der(data);
});
