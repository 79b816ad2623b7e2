//! Compares a response with the expectation of a recorded case.

use serde_json::{Value, json};

/// Keys that the server adds after the steps replayed here.
const VOLATILE: [&str; 8] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "deletionTimestamp",
    "selfLink",
    "time",
    "metadata",
];

struct Comparison<'a> {
    expect: &'a Value,
}

/// Adds a text for each difference between a response and the expectation of a step.
pub(crate) fn step(expect: &Value, status: u16, answer: &Value, found: &mut Vec<String>) {
    if expect["status"]
        .as_u64()
        .is_some_and(|wanted| wanted != u64::from(status))
    {
        found.push(format!(
            "status {status} instead of {}: {}",
            expect["status"], answer["message"]
        ));
        return;
    }
    let comparison = Comparison { expect };
    if expect.get("body").is_some() {
        comparison.values(&expect["body"], Some(answer), "", false, found);
    }
    for pointer in expect["absent"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if answer.pointer(pointer).is_some() {
            found.push(format!("{pointer} is there"));
        }
    }
}

impl Comparison<'_> {
    fn says(&self, list: &str, pointer: &str) -> bool {
        self.expect[list]
            .as_array()
            .into_iter()
            .flatten()
            .any(|item| item == pointer)
    }

    fn values(
        &self,
        expected: &Value,
        got: Option<&Value>,
        pointer: &str,
        exact: bool,
        found: &mut Vec<String>,
    ) {
        let exact = exact || self.says("exact", pointer);
        let single = expected
            .as_object()
            .filter(|o| o.len() == 1)
            .and_then(|o| o.iter().next());
        if self.says("loose", pointer) {
            if got.is_none_or(|got| got.is_null() || got == "") {
                found.push(format!("{pointer} is missing"));
            }
        } else if let Some((matcher, wanted)) = single.filter(|(key, _)| key.starts_with('$')) {
            let fits = match matcher.as_str() {
                "$oneof" => wanted
                    .as_array()
                    .is_some_and(|w| got.is_some_and(|g| w.contains(g))),
                "$any" | "$match" => got.is_some(),
                _ => true,
            };
            if !fits {
                found.push(format!("{pointer}: {got:?} does not fit {expected}"));
            }
        } else {
            match (expected, got) {
                (Value::Object(wanted), Some(Value::Object(got))) => {
                    for (key, value) in wanted {
                        self.values(
                            value,
                            got.get(key),
                            &format!("{pointer}/{key}"),
                            exact,
                            found,
                        );
                    }
                    let extra = got.keys().filter(|k| exact && !wanted.contains_key(*k));
                    for key in extra.filter(|key| !VOLATILE.contains(&key.as_str())) {
                        found.push(format!("{pointer}/{key} is too much: {}", got[key]));
                    }
                }
                (Value::Array(wanted), Some(Value::Array(got))) => {
                    self.lists(wanted, got, pointer, exact, found);
                }
                (_, got) if pointer.ends_with("/metadata") && got.is_none() => {}
                (expected, Some(got)) if expected == got => {}
                (expected, got) => {
                    let got = got.map_or_else(|| "nothing".to_owned(), Value::to_string);
                    found.push(format!(
                        "{pointer}:\n    expected {expected}\n    got      {got}"
                    ));
                }
            }
        }
    }

    fn lists(
        &self,
        wanted: &[Value],
        got: &[Value],
        pointer: &str,
        exact: bool,
        found: &mut Vec<String>,
    ) {
        let partial = self.says("contains", pointer);
        if wanted.len() != got.len() && !partial {
            found.push(format!(
                "{pointer}: {} items instead of {}: {}",
                got.len(),
                wanted.len(),
                json!(got)
            ));
            return;
        }
        if !partial && !self.says("unordered", pointer) {
            for (at, value) in wanted.iter().enumerate() {
                self.values(value, got.get(at), &format!("{pointer}/{at}"), exact, found);
            }
            return;
        }
        for value in wanted {
            let fits = got.iter().any(|candidate| {
                let mut differences = Vec::new();
                self.values(
                    value,
                    Some(candidate),
                    &format!("{pointer}/-"),
                    exact,
                    &mut differences,
                );
                differences.is_empty()
            });
            if !fits {
                found.push(format!("{pointer}: nothing like {value} in {}", json!(got)));
            }
        }
    }
}
