//! The pod that a DaemonSet makes, prepared once and filled in for each node.

use pandaemon_placement::daemon_tolerations;
use pandaemon_types::Effect;
use serde_json::{Map, Value, json};

use crate::{
    revision::{GENERATION_LABEL, HASH_LABEL, owner_reference},
    view::DaemonSetView,
};

/// Stand-ins for what differs between nodes. The control character keeps them apart from any text of
/// a template that a person could have written.
const NAME: &str = "\u{1}pandaemon-name";
const NODE: &str = "\u{1}pandaemon-node";

/// A pod with two holes: its name and its node.
#[derive(Debug, PartialEq, Eq)]
pub struct Mould {
    prefix: String,
    bound: Vec<Piece>,
    floating: Vec<Piece>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name,
    Node,
}

impl Mould {
    /// Prepares the pod of a set at a revision.
    #[must_use]
    pub fn new(set: &DaemonSetView, hash: &str) -> Self {
        let mut pod = pod(set, hash);
        let floating = cut(&pod.to_string());
        if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("nodeName".to_owned(), json!(NODE));
        }
        let prefix = format!("{}-", set.key.name);
        Self {
            prefix,
            bound: cut(&pod.to_string()),
            floating,
        }
    }

    /// What the name of a pod starts with; five letters follow.
    #[must_use]
    pub fn name_prefix(&self) -> &str {
        self.prefix.get(..58).unwrap_or(&self.prefix)
    }

    /// The JSON text of the pod for a node.
    #[must_use]
    pub fn fill(&self, name: &str, node: &str, bind: bool) -> String {
        let pieces = if bind { &self.bound } else { &self.floating };
        let mut text = String::with_capacity(1024);
        for piece in pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Name => text.push_str(&Value::from(name).to_string()),
                Piece::Node => text.push_str(&Value::from(node).to_string()),
            }
        }
        text
    }
}

fn cut(text: &str) -> Vec<Piece> {
    let (name, node) = (Value::from(NAME).to_string(), Value::from(NODE).to_string());
    let mut pieces = Vec::new();
    for (position, part) in text.split(&name).enumerate() {
        if position > 0 {
            pieces.push(Piece::Name);
        }
        for (position, part) in part.split(&node).enumerate() {
            if position > 0 {
                pieces.push(Piece::Node);
            }
            pieces.push(Piece::Text(part.to_owned()));
        }
    }
    pieces
}

fn pod(set: &DaemonSetView, hash: &str) -> Value {
    let mut labels = set.template_labels();
    if let Some(generation) = set.template_generation {
        labels.insert(GENERATION_LABEL.to_owned(), generation.to_string());
    }
    labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
    let mut metadata = json!({
        "name": NAME,
        "generateName": format!("{}-", set.key.name),
        "namespace": &*set.key.namespace,
        "labels": labels,
        "ownerReferences": [owner_reference(set)],
    });
    for field in ["annotations", "finalizers"] {
        let value = set
            .template
            .pointer("/metadata")
            .and_then(|meta| meta.get(field));
        if let (Some(value), Some(metadata)) = (value, metadata.as_object_mut()) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let spec = set
        .template
        .get("spec")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pin(tolerate(spec))})
}

/// Adds the tolerations of daemons, or takes the place of equal ones without a time limit.
fn tolerate(mut spec: Map<String, Value>) -> Map<String, Value> {
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool) == Some(true);
    let list = spec.get("tolerations").and_then(Value::as_array).cloned();
    let mut list = list.unwrap_or_default();
    for (key, effect) in daemon_tolerations(host_network) {
        let effect = match effect {
            Effect::NoSchedule => "NoSchedule",
            Effect::PreferNoSchedule => "PreferNoSchedule",
            Effect::NoExecute => "NoExecute",
        };
        let wanted = json!({"key": key, "operator": "Exists", "effect": effect});
        let mut found = false;
        for toleration in &mut list {
            let text = |field: &str| toleration.get(field).and_then(Value::as_str);
            let same = text("key") == Some(key) && text("effect") == Some(effect);
            let plain =
                text("operator") == Some("Exists") && text("value").is_none_or(str::is_empty);
            if same && plain {
                *toleration = wanted.clone();
                found = true;
            }
        }
        if !found {
            list.push(wanted);
        }
    }
    spec.insert("tolerations".to_owned(), Value::Array(list));
    spec
}

/// Pins the pod to its node by the node's name, in place of the template's required node affinity:
/// that one was checked already.
fn pin(mut spec: Map<String, Value>) -> Map<String, Value> {
    let by_name = json!({"key": "metadata.name", "operator": "In", "values": [NODE]});
    let required = json!({"nodeSelectorTerms": [{"matchFields": [by_name]}]});
    let object = |from: Option<Value>| match from {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let mut affinity = object(spec.get("affinity").cloned());
    let mut node_affinity = object(affinity.get("nodeAffinity").cloned());
    node_affinity.insert(
        "requiredDuringSchedulingIgnoredDuringExecution".to_owned(),
        required,
    );
    affinity.insert("nodeAffinity".to_owned(), Value::Object(node_affinity));
    spec.insert("affinity".to_owned(), Value::Object(affinity));
    spec
}
