//! A kind, an object and a strategic merge patch, one a line: merging it again and again leads to
//! the same object.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_fuzz::{assert_stable, kind, line, object, repeated};
use pandaemon_machinery::{
    decode::{FieldValidation, decode_value},
    patch::strategic_merge_patch,
    scheme,
};

fuzz_target!(|data: &[u8]| {
    let data = repeated(data);
    let Some((kind, rest)) = kind(&data) else {
        return;
    };
    let (current, patch) = line(rest);
    let Some(current) = object(kind, current) else {
        return;
    };
    let Ok(once) = strategic_merge_patch(kind, &current, patch) else {
        return;
    };
    let mode = FieldValidation::Ignore;
    if let Ok(decoded) = decode_value(scheme::built_in(), kind, once.clone(), mode) {
        assert_stable(kind, &decoded.value);
    }
    // A list that is new may have items with the same key, which the second patch merges.
    let Ok(twice) = strategic_merge_patch(kind, &once, patch) else {
        return;
    };
    let again = strategic_merge_patch(kind, &twice, patch);
    assert_eq!(again.expect("it was merged twice"), twice);
});
