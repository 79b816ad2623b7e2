//! A kind, an object and an applied configuration, one a line: what is applied can be stored, and
//! applying it again changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_fuzz::{assert_stable, kind, line, manager, object, repeated};
use pandaemon_machinery::{
    Kind,
    decode::{FieldValidation, decode_value},
    managed_fields::{FieldSet, apply, track_update},
    scheme,
};
use serde_json::Value;

/// What a server stores of the result of an apply, if it does.
fn stored(kind: &Kind, applied: Value) -> Option<Value> {
    let mode = FieldValidation::Ignore;
    let decoded = decode_value(scheme::built_in(), kind, applied, mode);
    decoded.ok().map(|decoded| decoded.value)
}

fuzz_target!(|data: &[u8]| {
    let data = repeated(data);
    let Some((kind, rest)) = kind(&data) else {
        return;
    };
    let (live, config) = line(rest);
    let (Some(mut live), Some(config)) = (object(kind, live), object(kind, config)) else {
        return;
    };
    track_update(kind, None, &mut live, manager("creator"));
    let _conflicts = apply(kind, Some(&live), &config, manager("applier"), false);
    let Ok(once) = apply(kind, Some(&live), &config, manager("applier"), true) else {
        return;
    };
    let Some(once) = stored(kind, once) else {
        return;
    };
    assert_stable(kind, &once);
    for entry in once["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let fields = &entry["fieldsV1"];
        let set = FieldSet::from_json(fields).expect("a set of fields");
        assert_eq!(set.to_json(), *fields);
    }
    let twice = apply(kind, Some(&once), &config, manager("applier"), true);
    assert_eq!(
        stored(kind, twice.expect("it was applied once")),
        Some(once)
    );
});
