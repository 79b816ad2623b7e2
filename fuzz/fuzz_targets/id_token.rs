//! An `AuthenticationConfiguration`, the claims of a token, a set of keys and a token, separated by
//! lines `===`. Claims are taken as signed, which no fuzzer can do.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_fuzz::repeated_text;
use pandaemon_server::fuzzing;

fuzz_target!(|text: &str| {
    let text = repeated_text(text);
    let mut parts = text.split("\n===\n");
    let mut part = || parts.next().unwrap_or_default();
    fuzzing::read_claims(part(), part());
    fuzzing::find_signing_key(part(), part());
});
