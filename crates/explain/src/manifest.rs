//! DaemonSets from a manifest, checked as an API server checks them. Pure.

use pandaemon_machinery::{
    Kind, Status,
    decode::{FieldValidation, MediaType, decode},
    defaults::apply_defaults,
    scheme,
    validation::{FieldError, validate_create, validate_update},
};
use serde_json::{Value, json};

/// Why a manifest is rejected, with kubectl's messages.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A document cannot be read.
    #[error("error: error parsing {file}: {why}")]
    Syntax {
        /// The file that was read, as it was named.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Decoding failed, as in an API server.
    #[error("Error from server (BadRequest): {0}")]
    BadRequest(Box<Status>),
    /// Validation failed, as in an API server.
    #[error("The DaemonSet \"{name}\" is invalid: {}", error_list(.errors))]
    Invalid {
        /// The DaemonSet's name.
        name: String,
        /// What is wrong with it.
        errors: Vec<FieldError>,
    },
    /// There is no DaemonSet in it.
    #[error("error: no DaemonSet in {0}")]
    Empty(String),
    /// There is no DaemonSet of that name in it.
    #[error("error: no DaemonSet \"{name}\" in {file}")]
    NoSuchName {
        /// The file that was read, as it was named.
        file: String,
        /// The name that was looked for.
        name: String,
    },
}

fn error_list(errors: &[FieldError]) -> String {
    match errors {
        [one] => one.to_string(),
        many => many.iter().map(|error| format!("\n* {error}")).collect(),
    }
}

fn kind() -> Option<&'static Kind> {
    let kind = scheme::built_in().find_resource("apps", "v1", "daemonsets");
    kind.map(|kind| &**kind)
}

/// The DaemonSets of a file with several documents, with defaults filled in. Other kinds are passed
/// over.
///
/// # Errors
/// When a document cannot be read, or a DaemonSet is invalid.
pub fn read(file: &str, text: &str, namespace: &str) -> Result<Vec<Value>, ManifestError> {
    let Some(kind) = kind() else {
        return Ok(Vec::new());
    };
    let mut sets = Vec::new();
    for document in documents(text) {
        for object in daemon_sets(file, document)? {
            sets.push(decode_and_validate(kind, object, namespace)?);
        }
    }
    if sets.is_empty() {
        return Err(ManifestError::Empty(file.to_owned()));
    }
    Ok(sets)
}

/// Splits at lines that begin with `---`.
fn documents(text: &str) -> Vec<&str> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.starts_with("---") {
            documents.push(text.get(start..at).unwrap_or_default());
            start = at + line.len();
        }
        at += line.len();
    }
    documents.push(text.get(start..).unwrap_or_default());
    let is_blank = |document: &str| {
        let mut lines = document.lines().map(str::trim_start);
        lines.all(|line| line.is_empty() || line.starts_with('#'))
    };
    documents.retain(|document| !is_blank(document));
    documents
}

/// The DaemonSets of one document, as texts that are yet to be decoded; lists are looked into.
fn daemon_sets(file: &str, document: &str) -> Result<Vec<Document>, ManifestError> {
    let object: Value = serde_saphyr::from_str(document).map_err(|why| ManifestError::Syntax {
        file: file.to_owned(),
        why: why.to_string(),
    })?;
    let is_set =
        |object: &Value| object["kind"] == "DaemonSet" && object["apiVersion"] == "apps/v1";
    if is_set(&object) {
        return Ok(vec![Document::Text(document.to_owned())]);
    }
    let items = object.get("items").and_then(Value::as_array);
    let sets = items.into_iter().flatten().filter(|item| is_set(item));
    Ok(sets.cloned().map(Document::Item).collect())
}

enum Document {
    /// The text of a document: strict decoding finds fields given twice.
    Text(String),
    /// A member of a list.
    Item(Value),
}

fn decode_and_validate(
    kind: &Kind,
    document: Document,
    namespace: &str,
) -> Result<Value, ManifestError> {
    let mode = FieldValidation::Strict;
    let decoded = match document {
        Document::Text(text) => decode(
            scheme::built_in(),
            kind,
            text.as_bytes(),
            MediaType::Yaml,
            mode,
        ),
        Document::Item(item) => decode(
            scheme::built_in(),
            kind,
            item.to_string().as_bytes(),
            MediaType::Json,
            mode,
        ),
    };
    let mut object = decoded.map_err(ManifestError::BadRequest)?.value;
    if object["metadata"]["namespace"]
        .as_str()
        .is_none_or(str::is_empty)
    {
        object["metadata"]["namespace"] = json!(namespace);
    }
    apply_defaults(kind, &mut object);
    let errors = validate_create(kind, &object);
    reject_invalid(&object, errors)?;
    Ok(object)
}

fn reject_invalid(object: &Value, errors: Vec<FieldError>) -> Result<(), ManifestError> {
    if errors.is_empty() {
        return Ok(());
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let name = name.to_owned();
    Err(ManifestError::Invalid { name, errors })
}

/// The object as it would be after an update of the live one.
///
/// # Errors
/// When validation rejects the update, as for another selector.
pub fn updated(live: &Value, manifest: &Value) -> Result<Value, ManifestError> {
    let mut object = manifest.clone();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        if let Some(value) = live["metadata"].get(field) {
            object["metadata"][field] = value.clone();
        }
    }
    object["status"] = live["status"].clone();
    if let Some(kind) = kind() {
        reject_invalid(&object, validate_update(kind, "", live, &object))?;
    }
    if object["spec"] != live["spec"] {
        let generation = live["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        object["metadata"]["generation"] = json!(generation);
    }
    object["status"]["observedGeneration"] = object["metadata"]["generation"].clone();
    Ok(object)
}

/// The object as it would be after its creation.
#[must_use]
pub fn created(manifest: &Value) -> Value {
    let mut object = manifest.clone();
    object["metadata"]["uid"] = json!("dry-run");
    object["metadata"]["generation"] = json!(1);
    object["status"] = json!({ "observedGeneration": 1 });
    object
}

/// The fields that differ, with both values.
#[must_use]
pub fn differences(path: &str, old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(path, old, new, &mut found);
    found
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(a), Value::Object(b)) => {
            let added = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(added) {
                let side = |map: &serde_json::Map<String, Value>| map.get(key).cloned();
                let (a, b) = (side(a).unwrap_or_default(), side(b).unwrap_or_default());
                compare(&format!("{path}.{key}"), &a, &b, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (position, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}[{position}]"), a, b, found);
            }
        }
        (Value::Null, new) => found.push(format!("{path}: added {}", short(new))),
        (old, Value::Null) => found.push(format!("{path}: removed {}", short(old))),
        (old, new) => found.push(format!("{path}: {} -> {}", short(old), short(new))),
    }
}

fn short(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    if text.chars().count() <= LONGEST {
        return text;
    }
    let start: String = text.chars().take(LONGEST).collect();
    format!("{start}...")
}
