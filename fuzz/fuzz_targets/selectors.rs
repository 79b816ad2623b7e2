//! Selectors: what is printed is read as the same selector.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pandaemon_fuzz::repeated_text;
use pandaemon_types::{FieldSelector, LabelSelector};
use serde_json::Value;

/// The order is that of the text, which may have `=` or `==`.
fn sorted(selector: &FieldSelector) -> Vec<(&str, &str, bool)> {
    let requirements = selector.requirements().iter();
    let parts = requirements.map(|one| (one.field.as_str(), one.value.as_str(), one.equal));
    let mut parts: Vec<_> = parts.collect();
    parts.sort_unstable();
    parts
}

fuzz_target!(|text: &str| {
    let text = repeated_text(text);
    if let Ok(selector) = LabelSelector::parse(&text) {
        let printed = selector.to_string();
        let again = LabelSelector::parse(&printed).expect("a printed selector");
        assert_eq!(again, selector, "{printed}");
    }
    if let Ok(selector) = FieldSelector::parse(&text) {
        let printed = selector.to_string();
        let again = FieldSelector::parse(&printed).expect("a printed selector");
        assert_eq!(sorted(&again), sorted(&selector), "{printed}");
    }
    if let Ok(object) = serde_json::from_str::<Value>(&text)
        && let Ok(selector) = LabelSelector::from_json(&object)
        && !object.is_null()
    {
        let printed = selector.to_string();
        let again = LabelSelector::parse(&printed).expect("a printed selector");
        let labels = object.get("matchLabels").unwrap_or(&Value::Null);
        assert_eq!(again.matches(labels), selector.matches(labels), "{printed}");
    }
});
