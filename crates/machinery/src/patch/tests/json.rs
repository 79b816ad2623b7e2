//! JSON patch.

use serde_json::{Value, json};

use crate::{patch::json_patch, status::Status};

fn patched(current: Value, operations: Value) -> Result<Value, Box<Status>> {
    json_patch(&current, operations.to_string().as_bytes())
}

#[test]
fn json_patch_operations() {
    let cases = [
        (
            json!({"data": {"a": "1", "b": "2"}}),
            json!([{"op": "add", "path": "/data/c", "value": "3"},
                   {"op": "replace", "path": "/data/a", "value": "x"},
                   {"op": "remove", "path": "/data/b"}]),
            json!({"data": {"a": "x", "c": "3"}}),
        ),
        (
            json!({"l": [1, 2]}),
            json!([{"op": "add", "path": "/l/-", "value": 3}, {"op": "add", "path": "/l/0", "value": 0},
                   {"op": "remove", "path": "/l/1"}]),
            json!({"l": [0, 2, 3]}),
        ),
        (
            json!({"a": "1", "b": "2"}),
            json!([{"op": "copy", "from": "/a", "path": "/c"}, {"op": "move", "from": "/b", "path": "/d"}]),
            json!({"a": "1", "c": "1", "d": "2"}),
        ),
        (
            json!({"m": {"a/b": "", "c~d": ""}}),
            json!([{"op": "replace", "path": "/m/a~1b", "value": "x"}, {"op": "remove", "path": "/m/c~0d"}]),
            json!({"m": {"a/b": "x"}}),
        ),
        (
            json!({"a": 1}),
            json!([{"op": "test", "path": "/a", "value": 1}, {"op": "test", "path": "/no", "value": null}]),
            json!({"a": 1}),
        ),
    ];
    for (current, operations, expected) in cases {
        assert_eq!(
            patched(current, operations.clone()).unwrap(),
            expected,
            "{operations}"
        );
    }
}

#[test]
fn json_patch_that_does_not_fit_the_object_is_refused_with_422() {
    let bad = [
        json!([{"op": "test", "path": "/a", "value": 2}]),
        json!([{"op": "remove", "path": "/x"}]),
        json!([{"op": "replace", "path": "/x", "value": 1}]),
        json!([{"op": "add", "path": "/x/y", "value": 1}]),
        json!([{"op": "add", "path": "/l/7", "value": 1}]),
        json!([{"op": "explode", "path": "/a"}]),
        json!([{"op": "add"}]),
        json!([7]),
    ];
    for operations in bad {
        let status = patched(json!({"a": 1, "l": []}), operations.clone()).unwrap_err();
        assert_eq!(
            (status.code, status.reason.as_str()),
            (422, "Invalid"),
            "{operations}"
        );
        assert_eq!(
            status.message,
            "the server rejected our request due to an error in our request"
        );
        assert_eq!(
            status.details.as_deref(),
            Some(&crate::status::Details::default())
        );
    }
}

#[test]
fn json_patch_limits_operations_copies_and_nesting() {
    let many: Vec<Value> = (0..10_001)
        .map(|_| json!({"op": "remove", "path": "/a"}))
        .collect();
    let status = patched(json!({}), json!(many)).unwrap_err();
    assert_eq!(status.code, 413);
    assert_eq!(
        status.message,
        "The allowed maximum operations in a JSON patch is 10000, got 10001"
    );
    let doubling: Vec<Value> = (0..40)
        .map(|_| json!({"op": "copy", "from": "/a", "path": "/a/-"}))
        .collect();
    assert_eq!(
        patched(json!({"a": ["x"]}), json!(doubling))
            .unwrap_err()
            .code,
        422
    );
    let mut nesting = vec![json!({"op": "add", "path": "/a", "value": {}})];
    nesting.extend((0..400).flat_map(|_| {
        [
            json!({"op": "add", "path": "/b", "value": {}}),
            json!({"op": "move", "from": "/a", "path": "/b/x"}),
            json!({"op": "move", "from": "/b", "path": "/a"}),
        ]
    }));
    assert_eq!(patched(json!({}), json!(nesting)).unwrap_err().code, 422);
}

#[test]
fn moves_that_only_seem_to_nest_measure_a_large_object_a_bounded_number_of_times() {
    let mut deep = json!({});
    for _ in 0..100 {
        deep = json!({"d": deep});
    }
    let object = json!({"a": 1, "d": deep["d"], "large": vec![0; 100_000]});
    let below = format!("{}/a", "/d".repeat(90));
    let moves = |count| {
        let pair = [
            json!({"op": "move", "from": "/a", "path": below}),
            json!({"op": "move", "from": below, "path": "/a"}),
        ];
        json!(
            std::iter::repeat_n(pair, count)
                .flatten()
                .collect::<Vec<_>>()
        )
    };
    assert!(patched(object.clone(), moves(10)).is_ok());
    assert_eq!(patched(object, moves(5_000)).unwrap_err().code, 422);
}

#[test]
fn json_patch_limits_what_operations_shift_and_copy() {
    let object = json!({"a": vec![1; 30_000], "b": vec![json!({}); 10_000]});
    let moves = |from: &str, count: usize| {
        let step = json!({"op": "move", "from": from, "path": "/a/1"});
        patched(object.clone(), json!(vec![step; count]))
    };
    // At the end of a list nothing is shifted: 10,000 moves to its beginning are too many.
    assert!(moves("/a/29999", 300).is_ok());
    assert_eq!(moves("/a/0", 1_000).unwrap_err().code, 422);
    let add = json!({"op": "add", "path": "/a/0", "value": 1});
    let status = patched(object.clone(), json!(vec![add; 1_000])).unwrap_err();
    assert_eq!(status.code, 422);
    // Few bytes can be many objects.
    let copies = |count: usize| {
        let copy = |at| json!({"op": "copy", "from": "/b", "path": format!("/c{at}")});
        let copies: Vec<Value> = (0..count).map(copy).collect();
        patched(object.clone(), json!(copies))
    };
    assert!(copies(4).is_ok());
    assert_eq!(copies(6).unwrap_err().code, 422);
}
