//! A JSON value and a JSON patch, one a line: the result can be stored, and is not larger than the
//! limits allow.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_fuzz::{line, repeated};
use pandaemon_machinery::patch::{json_patch, merge_patch};
use serde_json::Value;

/// Most bytes that `copy` operations add (upstream's `AccumulatedCopySizeLimit`).
const MAX_COPIED: usize = 3 << 20;

fuzz_target!(|data: &[u8]| {
    let data = repeated(data);
    let (current, patch) = line(&data);
    let Ok(current) = serde_json::from_slice::<Value>(current) else {
        return;
    };
    for patched in [json_patch(&current, patch), merge_patch(&current, patch)] {
        let Ok(patched) = patched else { continue };
        let text = serde_json::to_vec(&patched).expect("JSON");
        // Numbers may be longer than they were sent: `1e9` is `1000000000.0`.
        assert!(text.len() <= 8 * data.len() + MAX_COPIED);
    }
    if let Ok(merged) = merge_patch(&current, patch) {
        let twice = merge_patch(&merged, patch).expect("it was merged once");
        assert_eq!(
            twice, merged,
            "a merge patch that is merged again changes nothing"
        );
    }
});
