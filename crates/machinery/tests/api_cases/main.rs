//! Replays recorded API requests as far as this crate handles them: a body is decoded, defaulted,
//! prepared and validated, and the response is compared with the expected one.
#![expect(clippy::disallowed_methods, reason = "cases are read from files")]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod compare;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pandaemon_machinery::decode::{FieldValidation, MediaType};
use pandaemon_machinery::table::IncludeObject;
use pandaemon_machinery::{
    Kind, Status, decode, defaults, patch, scheme, strategy, table, validation,
};
use serde_json::{Value, json};

#[test]
fn the_parity_corpus() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/parity/cases");
    if !root.is_dir() {
        println!("skipped: {} is not there", root.display());
        return;
    }
    let mut all = Outcome::default();
    for area in ["defaulting", "validation", "crud", "table"] {
        let outcome = replay_all(&root.join(area));
        println!(
            "{area}: {} steps, {} differ",
            outcome.steps,
            outcome.differences.len()
        );
        all.steps += outcome.steps;
        all.differences.extend(outcome.differences);
    }
    assert!(all.steps > 100, "only {} steps were replayed", all.steps);
    all.assert_clean();
}

#[test]
fn the_manifests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/manifests");
    if !root.is_dir() {
        println!("skipped: {} is not there", root.display());
        return;
    }
    let mut valid = 0;
    for file in yaml_files(&root)
        .into_iter()
        .chain(yaml_files(&root.join("companions")))
    {
        for answer in apply_manifest(&file) {
            assert_eq!(answer, "", "{}", file.display());
            valid += 1;
        }
    }
    assert!(valid > 25, "only {valid} documents");
    let labels = "spec.template.metadata.labels: Invalid value: map[string]string(nil): `selector` does \
                  not match template `labels`";
    let image = "spec.template.spec.containers[0].image: Required value";
    let broken = [
        ("003-fluentd-tolerations-in-container", String::new()),
        (
            "003-ha-agent-container-restartpolicy",
            "spec.template.spec.containers[0].restartPolicy: Forbidden: may not be set for non-init \
             containers"
                .to_owned(),
        ),
        ("004-gpu-monitor-no-template-labels", labels.to_owned()),
        ("004-secure-daemonset-no-selector", labels.to_owned()),
        ("004-cost-optimized-no-selector-no-image", format!("[{labels}, {image}]")),
        ("004-optimized-daemonset-no-selector-no-image", format!("[{labels}, {image}]")),
    ];
    for (name, expected) in broken {
        let answers = apply_manifest(&root.join(format!("broken/{name}.yaml")));
        let last = answers.last().map(String::as_str).unwrap_or_default();
        assert!(last.ends_with(&expected), "{name}: {last}");
        assert_eq!(last.is_empty(), expected.is_empty(), "{name}: {last}");
    }
}

fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "yaml"));
    files.sort();
    files
}

/// What the server says to each document of a kind that it serves: nothing, or why not.
fn apply_manifest(file: &Path) -> Vec<String> {
    let text = format!("\n{}", fs::read_to_string(file).expect("a manifest"));
    let mut answers = Vec::new();
    for document in text.split("\n---") {
        let object: Value = serde_saphyr::from_str(document).expect("YAML");
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let kind = object["kind"].as_str().unwrap_or_default();
        let Some(kind) = scheme::find_kind(group, version, kind) else {
            continue;
        };
        let namespace = object["metadata"]["namespace"]
            .as_str()
            .unwrap_or("default");
        let target = Target {
            kind,
            namespace: namespace.to_owned(),
            name: String::new(),
            subresource: String::new(),
        };
        let result = create(
            &target,
            document.as_bytes(),
            MediaType::Yaml,
            FieldValidation::Ignore,
        );
        answers.push(
            result
                .err()
                .map(|status| status.message)
                .unwrap_or_default(),
        );
    }
    answers
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

/// Steps whose answer is not made here: admission, routing or storage.
const NOT_OURS: &[(&str, &str)] = &[
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
    // Namespaces are made by the server that replays them.
    ("namespaces", "*"),
];

/// Cases of the area `crud` that are about what is done here.
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
        let not_ours = NOT_OURS
            .iter()
            .any(|(n, s)| *n == name && (*s == id || *s == "*"));
        if not_ours {
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

/// A request path in its parts.
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
    let kind = scheme::find_resource(group, "v1", rest.first()?)?;
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
            let new = decode::decode(target.kind, body.as_bytes(), media, mode).map(|d| d.value);
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
    let mut object = decode::decode(target.kind, body, media, mode)?.value;
    if target.kind.is_namespaced() {
        object["metadata"]["namespace"] = target.namespace.clone().into();
    }
    defaults::apply_defaults(target.kind, &mut object);
    strategy::prepare_create(target.kind, &mut object);
    if target.kind.kind == "Pod" {
        admit(&mut object);
    }
    let errors = validation::validate_create(target.kind, &object);
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if errors.is_empty() {
        Ok(object)
    } else {
        Err(Status::invalid(target.kind, name, &errors))
    }
}

/// What admission would add to a pod.
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
    let mut new = decode::decode_value(target.kind, new, FieldValidation::Warn)?.value;
    if target.kind.is_namespaced() {
        new["metadata"]["namespace"] = target.namespace.clone().into();
    }
    defaults::apply_defaults(target.kind, &mut new);
    strategy::prepare_update(target.kind, &target.subresource, old, &mut new);
    let errors = validation::validate_update(target.kind, &target.subresource, old, &new);
    if !errors.is_empty() {
        return Err(Status::invalid(target.kind, &target.name, &errors));
    }
    stored.insert(key.to_owned(), new.clone());
    Ok((200, new))
}
