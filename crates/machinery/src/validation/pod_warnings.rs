//! Warnings about pods and pod templates (upstream's `pkg/api/pod/warnings.go`, in part).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use serde_json::Value;

use super::{error_list::Path, names};
use crate::json_fields::ReadFields;

/// Deprecated labels of nodes, with what upstream says about them.
const NODE_LABELS: [(&str, &str); 8] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
];

/// Annotations without effect, with what upstream says about them. Not among them is
/// `scheduler.alpha.kubernetes.io/critical-pod`, which manifests of system daemons still carry: the
/// recorded sessions with such manifests have no warning.
const ANNOTATIONS: [(&str, &str); 2] = [
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

/// The lists of containers, in the order in which upstream visits them.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Warnings about a new pod (upstream's `WarningsOnCreate` and `GetWarningsForPod`).
pub(crate) fn pod(pod: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let faults = names::label(pod["metadata"].text("name"));
    if !faults.is_empty() {
        let faults = faults.join(" ");
        warn(
            &mut warnings,
            &"metadata.name",
            &format!(
                "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{faults}]"
            ),
        );
    }
    common(
        Path::root("metadata"),
        Path::root("spec"),
        pod,
        &mut warnings,
    );
    warnings
}

/// Warnings about the template in the spec of a workload (upstream's `GetWarningsForPodTemplate`).
pub(crate) fn template(template: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let spec = Path::root("spec");
    let path = spec.child("template");
    let (metadata, spec) = (path.child("metadata"), path.child("spec"));
    common(metadata, spec, template, &mut warnings);
    warnings
}

/// Most warnings about one pod; a response has room for fewer.
const MAX_WARNINGS: usize = 100;
/// Most pairs of ports that are compared.
const MAX_PAIRS: usize = 100_000;

fn warn(warnings: &mut Vec<String>, place: &dyn Display, text: &str) {
    if warnings.len() >= MAX_WARNINGS {
        return;
    }
    warnings.push(format!("{place}: {text}"));
}

fn common(metadata: Path<'_>, spec: Path<'_>, pod: &Value, warnings: &mut Vec<String>) {
    let (path, spec) = (spec, &pod["spec"]);
    node_labels(&path, spec, warnings);
    let annotations = metadata.child("annotations");
    for (key, text) in ANNOTATIONS {
        if pod["metadata"]["annotations"].has(key) {
            warn(warnings, &annotations.key(key), text);
        }
    }
    duplicates(&path, spec, ("hostAliases", "ip"), warnings);
    duplicates(&path, spec, ("imagePullSecrets", "name"), warnings);
    for list in CONTAINERS {
        let list_path = path.child(list);
        for (at, container) in spec.items(list).iter().enumerate() {
            variables(&list_path.index(at).child("env"), container, warnings);
        }
    }
    ports(&path, spec, warnings);
    if spec.int("terminationGracePeriodSeconds") < 0 {
        let text = "must be >= 0; negative values are invalid and will be treated as 1";
        warn(warnings, &path.child("terminationGracePeriodSeconds"), text);
    }
}

fn deprecated(label: &str) -> Option<&'static str> {
    let mut known = NODE_LABELS.iter();
    known.find(|(key, _)| *key == label).map(|(_, text)| *text)
}

/// Warns of deprecated labels in selectors, affinities and spread constraints.
fn node_labels(path: &Path<'_>, spec: &Value, warnings: &mut Vec<String>) {
    let selector = path.child("nodeSelector");
    for key in spec
        .entries("nodeSelector")
        .into_iter()
        .flat_map(|m| m.keys())
    {
        if let Some(text) = deprecated(key) {
            warn(warnings, &selector.key(key), text);
        }
    }
    let affinity = &spec["affinity"]["nodeAffinity"];
    let affinity_path = path.child("affinity");
    let affinity_path = affinity_path.child("nodeAffinity");
    let name = "requiredDuringSchedulingIgnoredDuringExecution";
    let required = affinity_path.child(name);
    let required = required.child("nodeSelectorTerms");
    for (at, term) in affinity[name].items("nodeSelectorTerms").iter().enumerate() {
        term_labels(&required.index(at), term, warnings);
    }
    let name = "preferredDuringSchedulingIgnoredDuringExecution";
    let preferred = affinity_path.child(name);
    for (at, term) in affinity.items(name).iter().enumerate() {
        let path = preferred.index(at);
        term_labels(&path.child("preference"), &term["preference"], warnings);
    }
    let name = "topologySpreadConstraints";
    let constraints = path.child(name);
    for (at, constraint) in spec.items(name).iter().enumerate() {
        let key = constraint.text("topologyKey");
        if let Some(text) = deprecated(key) {
            let path = constraints.index(at);
            let text = format!("{key} is {text}");
            warn(warnings, &path.child("topologyKey"), &text);
        }
    }
}

fn term_labels(path: &Path<'_>, term: &Value, warnings: &mut Vec<String>) {
    let expressions = path.child("matchExpressions");
    for (at, expression) in term.items("matchExpressions").iter().enumerate() {
        let key = expression.text("key");
        if let Some(text) = deprecated(key) {
            let path = expressions.index(at);
            warn(warnings, &path.child("key"), &format!("{key} is {text}"));
        }
    }
}

/// Warns of items of a list that have the same value in a field.
fn duplicates(
    path: &Path<'_>,
    spec: &Value,
    (list, field): (&str, &str),
    warnings: &mut Vec<String>,
) {
    let list_path = path.child(list);
    let mut seen = BTreeSet::new();
    for (at, item) in spec.items(list).iter().enumerate() {
        let value = item.text(field);
        if !seen.insert(value) {
            let path = list_path.index(at);
            let text = format!("duplicate {field} {value:?}");
            warn(warnings, &path.child(field), &text);
        }
    }
}

/// Warns of variables that hide an earlier one without using its value.
fn variables(path: &Path<'_>, container: &Value, warnings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (at, variable) in container.items("env").iter().enumerate() {
        let name = variable.text("name");
        if seen.insert(name) {
            continue;
        }
        let (value, reference) = (variable.text("value"), format!("$({name})"));
        if variable.has("valueFrom") || value == reference || !value.contains(&reference) {
            let text = format!(
                "hides previous definition of {name:?}, which may be dropped when using apply"
            );
            warn(warnings, &path.index(at), &text);
        }
    }
}

/// Warns of ports of all containers that are the same or may be.
fn ports(path: &Path<'_>, spec: &Value, warnings: &mut Vec<String>) {
    let mut seen: BTreeMap<(i64, &str), Vec<(String, &Value)>> = BTreeMap::new();
    let mut pairs = 0;
    for list in CONTAINERS {
        let list_path = path.child(list);
        for (at, container) in spec.items(list).iter().enumerate() {
            let container_path = list_path.index(at);
            let ports_path = container_path.child("ports");
            for (at, port) in container.items("ports").iter().enumerate() {
                let place = ports_path.index(at).to_string();
                let number = (port.int("containerPort"), port.text("protocol"));
                let others = seen.entry(number).or_default();
                pairs += others.len();
                if pairs > MAX_PAIRS || warnings.len() >= MAX_WARNINGS {
                    return;
                }
                for (other_place, other) in &*others {
                    if let Some(what) = conflict(port, other) {
                        let text = format!("{what} port definition with {other_place}");
                        warn(warnings, &place, &text);
                    }
                }
                others.push((place, port));
            }
        }
    }
}

/// What is wrong with two definitions of one port.
fn conflict(port: &Value, other: &Value) -> Option<&'static str> {
    let (ip, host_port) = (port.text("hostIP"), port.int("hostPort"));
    let (other_ip, other_port) = (other.text("hostIP"), other.int("hostPort"));
    if ip == other_ip && host_port == other_port {
        Some("duplicate")
    } else if host_port == 0 || other_port == 0 {
        Some("overlapping")
    } else if host_port == other_port && ip.is_empty() != other_ip.is_empty() {
        Some("dangerously ambiguous")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn warnings_have_the_texts_of_upstream() {
        let term = |key: &str| json!({"matchExpressions": [{"key": "a"}, {"key": key}]});
        let spec = json!({
            "nodeSelector": {"beta.kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"},
            "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [term("beta.kubernetes.io/os")]},
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": term("node-role.kubernetes.io/master")}],
            }},
            "topologySpreadConstraints": [
                {"topologyKey": "failure-domain.beta.kubernetes.io/zone"}],
            "hostAliases": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}, {"ip": "10.0.0.1"}],
            "imagePullSecrets": [{"name": "s"}, {"name": "s"}],
            "terminationGracePeriodSeconds": -1,
            "initContainers": [{"ports": [{"containerPort": 80, "protocol": "TCP"}]}],
            "containers": [{
                "env": [
                    {"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"},
                    {"name": "A", "value": "3"}, {"name": "B", "value": "1"},
                    {"name": "A", "value": "$(A)"}, {"name": "B", "valueFrom": {}},
                ],
                "ports": [
                    {"containerPort": 80, "protocol": "TCP"},
                    {"containerPort": 80, "protocol": "UDP"},
                    {"containerPort": 80, "protocol": "TCP", "hostPort": 81},
                    {"containerPort": 90, "protocol": "TCP", "hostPort": 81},
                    {"containerPort": 90, "protocol": "TCP", "hostPort": 81, "hostIP": "10.0.0.1"},
                    {"containerPort": 90, "protocol": "TCP", "hostPort": 82, "hostIP": "10.0.0.1"},
                ],
            }],
        });
        let annotation = "security.alpha.kubernetes.io/sysctls";
        let object = json!({
            "metadata": {"name": "a.b", "annotations": {annotation: ""}}, "spec": spec});
        let affinity = "spec.affinity.nodeAffinity";
        let expected = [
            "spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use \"kubernetes.io/arch\" instead".to_owned(),
            format!("{affinity}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].key: beta.kubernetes.io/os is deprecated since v1.14; use \"kubernetes.io/os\" instead"),
            format!("{affinity}.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[1].key: node-role.kubernetes.io/master is use \"node-role.kubernetes.io/control-plane\" instead"),
            "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead".to_owned(),
            format!("metadata.annotations[{annotation}]: non-functional in v1.11+; use the \"sysctls\" field instead"),
            "spec.hostAliases[2].ip: duplicate ip \"10.0.0.1\"".to_owned(),
            "spec.imagePullSecrets[1].name: duplicate name \"s\"".to_owned(),
            "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply".to_owned(),
            "spec.containers[0].env[4]: hides previous definition of \"A\", which may be dropped when using apply".to_owned(),
            "spec.containers[0].env[5]: hides previous definition of \"B\", which may be dropped when using apply".to_owned(),
            "spec.containers[0].ports[0]: duplicate port definition with spec.initContainers[0].ports[0]".to_owned(),
            "spec.containers[0].ports[2]: overlapping port definition with spec.initContainers[0].ports[0]".to_owned(),
            "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]".to_owned(),
            "spec.containers[0].ports[4]: dangerously ambiguous port definition with spec.containers[0].ports[3]".to_owned(),
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1".to_owned(),
        ];
        let found = pod(&object);
        let name = "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]";
        assert_eq!(found[0], name);
        assert_eq!(found[1..], expected);
        // The same paths, below the template.
        let in_template = expected.map(|text| {
            let text = text.replace("with spec", "with spec.template.spec");
            format!("spec.template.{text}")
        });
        assert_eq!(template(&object), in_template);
        assert_eq!(pod(&json!({"metadata": {"name": "p"}})), [""; 0]);
    }
}
