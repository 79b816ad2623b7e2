//! The pod object of a DaemonSet: built once per revision, and rendered for each node.

use std::sync::Arc;

use pandaemon_placement::daemon_tolerations;
use pandaemon_types::{
    Effect, PodResources, pod_resources::PodResourceSpec, text_template::TextTemplate,
};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::{
    canonical::{GENERATION_LABEL, HASH_LABEL},
    owner::owner_reference,
    view::DaemonSetView,
};

/// Placeholders for the values that differ between nodes. The control character cannot occur in a
/// valid template.
const NAME: &str = "\u{1}pandaemon-name";
const NODE: &str = "\u{1}pandaemon-node";

/// The JSON text of a pod with placeholders for its name and its node.
#[derive(Debug, PartialEq, Eq)]
pub struct PodTemplate {
    prefix: String,
    resources: Arc<PodResources>,
    bound: TextTemplate<2>,
    floating: TextTemplate<2>,
}

impl PodTemplate {
    /// Builds the pod of a set at a revision, as upstream's `CreatePodTemplate`.
    #[must_use]
    pub fn new(set: &DaemonSetView, hash: &str) -> Self {
        let mut pod = pod_object(set, hash);
        let floating = text_template(&pod);
        if let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("nodeName".to_owned(), json!(NODE));
        }
        let resources = PodResourceSpec::deserialize(&pod["spec"]).unwrap_or_default();
        let prefix = format!("{}-", set.key.name);
        Self {
            prefix,
            resources: Arc::new(PodResources::from(&resources)),
            bound: text_template(&pod),
            floating,
        }
    }

    /// The prefix of pod names, at most 58 bytes; five characters follow.
    #[must_use]
    pub fn name_prefix(&self) -> &str {
        self.prefix.get(..58).unwrap_or(&self.prefix)
    }

    /// The resources and host ports that a pod takes from its node.
    #[must_use]
    pub const fn resources(&self) -> &Arc<PodResources> {
        &self.resources
    }

    /// The JSON text of the pod for a node; with `bind`, `spec.nodeName` is set.
    #[must_use]
    pub fn render(&self, name: &str, node: &str, bind: bool) -> String {
        let template = if bind { &self.bound } else { &self.floating };
        let [name, node] = [name, node].map(|text| Value::from(text).to_string());
        template.fill([&name, &node])
    }
}

fn text_template(pod: &Value) -> TextTemplate<2> {
    let [name, node] = [NAME, NODE].map(|placeholder| Value::from(placeholder).to_string());
    TextTemplate::new(&pod.to_string(), [&name, &node])
}

fn pod_object(set: &DaemonSetView, hash: &str) -> Value {
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
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pin_to_node(add_tolerations(spec))})
}

/// Adds the automatic tolerations. One that is there already loses its `tolerationSeconds`, as with
/// upstream's `AddOrUpdateDaemonPodTolerations`.
fn add_tolerations(mut spec: Map<String, Value>) -> Map<String, Value> {
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

/// Replaces the required node affinity by one on the node's name, as upstream's
/// `ReplaceDaemonSetPodNodeNameNodeAffinity`: the planner has checked the template's affinity.
fn pin_to_node(mut spec: Map<String, Value>) -> Map<String, Value> {
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
