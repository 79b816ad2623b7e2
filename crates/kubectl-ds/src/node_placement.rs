//! All reasons for which a daemon does not fit a node, and what a new pod lacks there.

use pandaemon_placement::{NodeSelectorTerm, NodeTest, PodNeeds, Usage};
use pandaemon_types::{
    Effect, HostPort, Labels as _, NodeView, PodResources, PodView, Quantity, Taint,
};

use crate::reason::{Kind, Reason};

/// At most this many holders of a resource are named.
const HOLDERS: usize = 3;
/// At most this many terms of an affinity are explained.
const TERMS: usize = 3;

/// Why the daemon does not fit the node: name, selector, affinity, taints.
pub(crate) fn placement_reasons(needs: &PodNeeds, node: &NodeView) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if let Some(wanted) = needs.node_name.as_ref().filter(|name| **name != node.name) {
        let text = format!("nodeName asks for node {wanted} only");
        reasons.push(Reason::new(Kind::NodeName, text));
    }
    for (key, wanted) in &needs.node_selector {
        let actual = node.labels.label(key);
        if actual != Some(wanted) {
            let has = has_label(key, actual);
            let group_key = format!("node selector wants {key}={wanted}");
            let reason = Reason::new(Kind::NodeSelector, format!("{group_key}, node has {has}"));
            reasons.push(reason.with_group_key(group_key));
        }
    }
    if let Some(terms) = &needs.affinity
        && !terms.iter().any(|term| term.holds(node))
    {
        reasons.push(affinity(terms, node));
    }
    let taints = node.taints.iter().filter(|taint| {
        taint.effect != Effect::PreferNoSchedule
            && !needs.tolerations.iter().any(|t| t.covers(taint))
    });
    reasons.extend(taints.map(|taint| Reason::new(Kind::Taint, untolerated(taint))));
    reasons
}

/// The message about a taint that is not tolerated.
pub(crate) fn untolerated(taint: &Taint) -> String {
    format!("does not tolerate taint {}", shown(taint))
}

/// A taint as kubectl writes it.
pub(crate) fn shown(taint: &Taint) -> String {
    let Taint { key, value, effect } = taint;
    let equals = if value.is_empty() { "" } else { "=" };
    format!("{key}{equals}{value}:{effect:?}")
}

fn has_label(key: &str, actual: Option<&str>) -> String {
    match actual {
        Some(value) => format!("{key}={value}"),
        None => format!("no label {key}"),
    }
}

fn affinity(terms: &[NodeSelectorTerm], node: &NodeView) -> Reason {
    let possible: Vec<_> = terms.iter().filter(|term| term.can_hold()).collect();
    let text = match possible.as_slice() {
        [] => "node affinity has no term that can hold".to_owned(),
        [term] => format!("node affinity {}", failures(term, node)),
        several => {
            let told: Vec<String> = several
                .iter()
                .take(TERMS)
                .enumerate()
                .map(|(position, term)| format!("({}) {}", position + 1, failures(term, node)))
                .collect();
            let count = several.len();
            let rest = if count > TERMS { ", and so on" } else { "" };
            format!(
                "none of the {count} node affinity terms holds: {}{rest}",
                told.join("; ")
            )
        }
    };
    let wanted: Vec<String> = possible.iter().map(ToString::to_string).collect();
    let group_key = format!("node affinity wants {}", wanted.join(", or "));
    Reason::new(Kind::NodeAffinity, text).with_group_key(group_key)
}

/// The failing tests of a term, and what the node has instead.
fn failures(term: &NodeSelectorTerm, node: &NodeView) -> String {
    let failing: Vec<String> = term
        .failures(node)
        .map(|test| {
            let has = if test.is_on_field() {
                format!("is {}", node.name)
            } else {
                format!("has {}", has_label(test.key(), test.actual(node)))
            };
            format!("wants {}, node {has}", wanted(test))
        })
        .collect();
    failing.join(" and ")
}

fn wanted(test: &NodeTest) -> String {
    if test.is_on_field() {
        format!("{test} (matchFields)")
    } else {
        test.to_string()
    }
}

/// What a further pod with these resource requests lacks on a node that runs these pods, and who holds it.
pub(crate) fn shortages(
    resources: &PodResources,
    node: &NodeView,
    pods: &[&PodView],
) -> Vec<Reason> {
    let pods: Vec<&PodView> = pods
        .iter()
        .copied()
        .filter(|pod| !pod.phase.is_terminal())
        .collect();
    let mut usage = Usage::default();
    for pod in &pods {
        usage.add(&pod.resources);
    }
    let mut found = Vec::new();
    usage.shortages(node, resources, &mut found);
    found.iter().map(|reason| shortage(reason, &pods)).collect()
}

fn shortage(reason: &pandaemon_placement::Reason, pods: &[&PodView]) -> Reason {
    use pandaemon_placement::Reason as Why;
    match reason {
        Why::Resource {
            name,
            requested,
            free,
            ..
        } => {
            let short = *requested - *free;
            let text = format!(
                "{name} is short by {short}: requests {requested}, {free} free{}",
                holders(name, pods)
            );
            Reason::new(Kind::Resource, text).with_group_key(format!("{name} is short"))
        }
        Why::NoSuchResource { name, requested } => {
            let text = format!("the node has no {name}, {requested} requested");
            Reason::new(Kind::Resource, text)
        }
        Why::PodCount { limit } => {
            let text = format!("the node runs all of its {limit} pods");
            Reason::new(Kind::PodCount, text).with_group_key("the node runs all of its pods")
        }
        Why::Port { port, .. } => taken(port, pods),
        other => Reason::new(Kind::Unschedulable, other.to_string()),
    }
}

/// The largest holders of a resource, with their amounts.
fn holders(name: &str, pods: &[&PodView]) -> String {
    let mut holding: Vec<(Quantity, String)> = pods
        .iter()
        .filter_map(|pod| Some((*pod.resources.requests.get(name)?, full_name(pod))))
        .collect();
    holding.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    if holding.is_empty() {
        return String::new();
    }
    let told: Vec<String> = holding
        .iter()
        .map(|(amount, pod)| format!("{pod} {amount}"))
        .collect();
    format!("; held by {}", crate::reason::join_limited(&told, HOLDERS))
}

fn taken(port: &HostPort, pods: &[&PodView]) -> Reason {
    let address = match &*port.ip {
        "0.0.0.0" => String::new(),
        ip => format!("{ip}:"),
    };
    let group_key = format!(
        "host port {address}{}/{} is taken",
        port.port, port.protocol
    );
    let conflicts = |pod: &&&PodView| pod.resources.ports.iter().any(|p| p.conflicts_with(port));
    let text = match pods.iter().find(conflicts) {
        Some(pod) => format!("{group_key} by {}", full_name(pod)),
        None => group_key.clone(),
    };
    Reason::new(Kind::Port, text).with_group_key(group_key)
}

fn full_name(pod: &PodView) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}
