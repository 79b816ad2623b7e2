//! A kind, an object and the options of its deletion, one a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_fuzz::{kind, line, object, repeated};

fuzz_target!(|data: &[u8]| {
    let data = repeated(data);
    let Some((kind, rest)) = kind(&data) else {
        return;
    };
    let (stored, options) = line(rest);
    let options = serde_json::from_slice(options);
    if let (Some(stored), Ok(options)) = (object(kind, stored), options) {
        pandaemon_server::fuzzing::plan_deletion(kind, &stored, &options);
    }
});
