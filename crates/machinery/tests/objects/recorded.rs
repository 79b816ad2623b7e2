//! Replays recorded API requests as far as this crate handles them, and compares the responses.
//!
//! The recordings lie beside the checkout. `scripts/conformance` replays all of them against a
//! server; this replay needs no server and names the function at fault sooner.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pandaemon_machinery::decode::{self, FieldValidation, MediaType};
use pandaemon_machinery::table::{self, IncludeObject};
use pandaemon_machinery::{Kind, Status, patch, scheme};
use pandaemon_testkit::skipped_here;
use serde_json::{Value, json};

use crate::{compare, pipeline};

#[test]
fn responses_equal_the_recorded_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/parity/cases");
    if !root.is_dir() {
        return skipped_here("there are no recordings in ../shared/parity");
    }
    let mut all = Outcome::default();
    for area in ["defaulting", "validation", "crud", "table"] {
        let outcome = replay_all(&root.join(area));
        all.steps += outcome.steps;
        all.differences.extend(outcome.differences);
    }
    assert!(all.steps > 100, "only {} steps were replayed", all.steps);
    all.assert_clean();
}

#[derive(Debug, Default)]
struct Outcome {
    steps: usize,
    differences: Vec<String>,
}

impl Outcome {
    fn assert_clean(&self) {
        assert!(
            self.differences.is_empty(),
            "\n{}\n",
            self.differences.join("\n")
        );
    }
}

/// Steps whose response depends on admission, routing or storage: case, step or `*`.
const OTHER_CRATES: &[(&str, &str)] = &[
    // The POST says that templates get no host ports, the GET after it that they do.
    ("manifest-gpu-monitoring", "s2"),
    ("manifest-cadvisor", "s2"),
    ("manifest-node-exporter-args", "s2"),
    ("decode-namespace-mismatch", "s1"),
    ("decode-namespace-mismatch", "s2"),
    ("pod-default-toleration-seconds", "*"),
    ("pod-priority-admission", "*"),
    ("service-clusterip", "*"),
    ("service-nodeport", "*"),
    ("manifest-node-exporter-service", "*"),
    ("services", "s3"),
    ("accept-fallback", "*"),
    // The replay creates namespaces of its own.
    ("namespaces", "*"),
];

/// The cases of the area `crud` that need no storage.
const CRUD: &[&str] = &[
    "generation-cannot-be-set",
    "generation-spec-only",
    "owner-reference-validation",
    "status-subresource-labels",
    "status-subresource-pod",
];

fn replay_all(directory: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .expect("the cases")
        .map(|entry| entry.expect("a case").path())
        .collect();
    files.sort();
    for file in files
        .iter()
        .filter(|file| file.extension().is_some_and(|e| e == "json"))
    {
        let text = fs::read_to_string(file)
            .expect("a case")
            .replace("{{ns}}", "ns");
        let case: Value = serde_json::from_str(&text).expect("a case is JSON");
        replay(&case, &mut outcome);
    }
    outcome
}

fn replay(case: &Value, outcome: &mut Outcome) {
    let name = case["name"].as_str().unwrap_or_default();
    if case["area"] == "crud" && !CRUD.contains(&name) {
        return;
    }
    let mut stored: BTreeMap<String, Value> = BTreeMap::new();
    for step in case["steps"].as_array().into_iter().flatten() {
        let id = step["id"].as_str().unwrap_or_default();
        let elsewhere = OTHER_CRATES
            .iter()
            .any(|(n, s)| *n == name && (*s == id || *s == "*"));
        if elsewhere {
            continue;
        }
        let Some((status, answer)) = answer(step, &mut stored) else {
            continue;
        };
        outcome.steps += 1;
        let mut found = Vec::new();
        compare::step(&step["expect"], status, &answer, &mut found);
        outcome
            .differences
            .extend(found.iter().map(|text| format!("{name} {id}: {text}")));
    }
}

/// A parsed request path.
struct Target {
    kind: &'static Kind,
    namespace: String,
    name: String,
    subresource: String,
}

fn target(path: &str) -> Option<Target> {
    let path = path.split('?').next()?;
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let kind = scheme::built_in().find_resource(group, "v1", rest.first()?)?;
    Some(Target {
        kind,
        namespace: namespace.to_owned(),
        name: rest.get(1).copied().unwrap_or_default().to_owned(),
        subresource: rest.get(2).copied().unwrap_or_default().to_owned(),
    })
}

fn answer(step: &Value, stored: &mut BTreeMap<String, Value>) -> Option<(u16, Value)> {
    let path = step["path"].as_str()?;
    let target = target(path)?;
    let body = match &step["body"] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let key = format!(
        "{}/{}/{}",
        target.kind.storage, target.namespace, target.name
    );
    let media = match step["headers"]["Content-Type"].as_str() {
        Some("application/yaml") => MediaType::Yaml,
        _ => MediaType::Json,
    };
    let mode = match path.split_once("fieldValidation=").map(|(_, mode)| mode) {
        Some("Strict") => FieldValidation::Strict,
        Some("Ignore") => FieldValidation::Ignore,
        _ => FieldValidation::Warn,
    };
    let accept = step["headers"]["Accept"].as_str().unwrap_or_default();
    let result = match step["method"].as_str()? {
        "POST" if target.name.is_empty() => {
            create(&target, body.as_bytes(), media, mode).map(|new| {
                let name = new["metadata"]["name"].as_str().unwrap_or_default();
                stored.insert(format!("{key}{name}"), new.clone());
                (201, new)
            })
        }
        "GET" if accept.contains("as=Table;") => {
            return Some((200, table_of(&target, path, stored)));
        }
        "GET" => return stored.get(&key).map(|object| (200, object.clone())),
        "PUT" => {
            let old = stored.get(&key)?.clone();
            let new = decode::decode(
                scheme::built_in(),
                target.kind,
                body.as_bytes(),
                media,
                mode,
            )
            .map(|d| d.value);
            new.and_then(|new| update(&target, &old, new, stored, &key))
        }
        "PATCH" => {
            let old = stored.get(&key)?.clone();
            let new = match step["headers"]["Content-Type"].as_str()? {
                "application/merge-patch+json" => patch::merge_patch(&old, body.as_bytes()),
                "application/json-patch+json" => patch::json_patch(&old, body.as_bytes()),
                "application/strategic-merge-patch+json" => {
                    patch::strategic_merge_patch(target.kind, &old, body.as_bytes())
                }
                _ => return None,
            };
            new.and_then(|new| update(&target, &old, new, stored, &key))
        }
        _ => return None,
    };
    Some(result.unwrap_or_else(|status| (status.code, json_of(&status))))
}

fn table_of(target: &Target, path: &str, stored: &BTreeMap<String, Value>) -> Value {
    let include = match path.split_once("includeObject=").map(|(_, rest)| rest) {
        Some(rest) if rest.starts_with("Object") => IncludeObject::Object,
        Some(rest) if rest.starts_with("None") => IncludeObject::None,
        _ => IncludeObject::Metadata,
    };
    let prefix = format!(
        "{}/{}/{}",
        target.kind.storage, target.namespace, target.name
    );
    let one = stored.get(&prefix);
    let all = stored
        .range(prefix.clone()..)
        .filter(|(key, _)| key.starts_with(&prefix));
    let objects: Vec<&Value> = match one {
        Some(object) => vec![object],
        None => all.map(|(_, object)| object).collect(),
    };
    let rows: Vec<Value> = objects
        .into_iter()
        .map(|object| table::row(target.kind, object, include, 0))
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "columnDefinitions": table::columns(target.kind),
        "rows": rows,
    })
}

fn json_of(status: &Status) -> Value {
    serde_json::to_value(status).expect("a Status is JSON")
}

fn create(
    target: &Target,
    body: &[u8],
    media: MediaType,
    mode: FieldValidation,
) -> Result<Value, Box<Status>> {
    let admit = |object: &mut Value| {
        if target.kind.kind == "Pod" {
            admit(object);
        }
    };
    let (object, errors) =
        pipeline::create(target.kind, &target.namespace, (body, media), mode, admit)?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if errors.is_empty() {
        Ok(object)
    } else {
        Err(Status::invalid(target.kind, name, &errors))
    }
}

/// Adds to a pod what admission would add.
fn admit(pod: &mut Value) {
    let keys = [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ];
    let tolerations = keys.map(|key| {
        json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    });
    for field in ["serviceAccountName", "serviceAccount"] {
        pod["spec"][field] = "default".into();
    }
    if pod["spec"].get("tolerations").is_none() {
        pod["spec"]["tolerations"] = json!(tolerations);
    }
}

fn update(
    target: &Target,
    old: &Value,
    new: Value,
    stored: &mut BTreeMap<String, Value>,
    key: &str,
) -> Result<(u16, Value), Box<Status>> {
    let (new, errors) = pipeline::update(
        target.kind,
        &target.subresource,
        old,
        new,
        FieldValidation::Warn,
    )?;
    if !errors.is_empty() {
        return Err(Status::invalid(target.kind, &target.name, &errors));
    }
    stored.insert(key.to_owned(), new.clone());
    Ok((200, new))
}
