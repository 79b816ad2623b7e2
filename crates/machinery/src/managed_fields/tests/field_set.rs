//! Encoding of field sets, and their set operations.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use crate::managed_fields::FieldSet;

#[test]
fn field_set_decodes_gos_escapes_and_drops_unknown_elements() {
    let go = json!({"f:a": {".": {}, "k:{\"b\":1,\"a\":\"x\\u003cy\"}": {}, "v:\"s\"": {}, "i:3": {}, "z:new": {}}});
    let set = FieldSet::from_json(&go).unwrap();
    assert_eq!(
        set.paths(usize::MAX),
        [".a", ".a[3]", ".a[a=\"x<y\",b=1]", ".a[=\"s\"]"]
    );
    assert!(set.contains(&["f:a", "k:{\"a\":\"x<y\",\"b\":1}"]));
    assert!(FieldSet::from_json(&json!({"f:a": 1})).is_err());
    assert!(FieldSet::from_json(&json!({"k:nope": {}})).is_err());
}

fn element() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c.]{1,2}".prop_map(|name| format!("f:{name}")),
        (0_u8..3).prop_map(|n| format!("k:{{\"name\":\"n{n}\"}}")),
        (0_u8..3).prop_map(|n| format!("v:{n}")),
        (0_u8..3).prop_map(|n| format!("i:{n}")),
    ]
}

fn field_set() -> impl Strategy<Value = FieldSet> {
    let path = proptest::collection::vec(element(), 1..4);
    proptest::collection::vec(path, 0..8).prop_map(|paths| {
        let mut set = FieldSet::default();
        for path in paths {
            set.insert(&path.iter().map(String::as_str).collect::<Vec<_>>());
        }
        set
    })
}

proptest! {
    #[test]
    fn field_set_encodes_and_decodes_to_itself(set in field_set()) {
        let json = set.to_json();
        prop_assert_eq!(FieldSet::from_json(&json).unwrap(), set);
    }

    #[test]
    fn set_operations_equal_those_of_path_sets(a in field_set(), b in field_set()) {
        let paths = |set: &FieldSet| set.paths(usize::MAX).into_iter().collect::<BTreeSet<_>>();
        let mut union = a.clone();
        union.union(&b);
        prop_assert_eq!(paths(&union), &paths(&a) | &paths(&b));
        prop_assert_eq!(paths(&a.intersection(&b)), &paths(&a) & &paths(&b));
        prop_assert_eq!(paths(&a.difference(&b)), &paths(&a) - &paths(&b));
        prop_assert_eq!(a.difference(&a), FieldSet::default());
    }
}
