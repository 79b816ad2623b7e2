//! Builds the report from a snapshot. Pure.

use std::collections::BTreeMap;

use pandaemon_types::Name;

use crate::{
    context::ExplainContext,
    plan_preview::PlanPreview,
    report::{Newest, NodeReport, Report, Summary, Verdict},
    snapshot::{DaemonPod, Snapshot},
};

/// Explains where a DaemonSet runs, and why not elsewhere. `only` restricts the answer to one node.
///
/// # Errors
/// When the object is no DaemonSet.
pub fn explain(snapshot: &Snapshot, only: Option<&str>) -> serde_json::Result<Report> {
    let preview = PlanPreview::compute(snapshot)?;
    Ok(report(snapshot, &preview, only, false))
}

pub(crate) fn report(
    snapshot: &Snapshot,
    preview: &PlanPreview,
    only: Option<&str>,
    dry_run: bool,
) -> Report {
    let view = &preview.view;
    let context = ExplainContext::new(snapshot, preview, dry_run);
    let mut nodes = explain_nodes(snapshot, preview, &context, only);
    nodes.sort_by(|a, b| (attention(a), &a.name).cmp(&(attention(b), &b.name)));
    let hash = preview.rollout.current.as_deref();
    let number = context.revision_number(hash);
    Report {
        kind: "DaemonSetExplanation",
        namespace: Name::clone(&view.key.namespace),
        name: Name::clone(&view.key.name),
        generation: view.generation,
        observed_generation: view.status.observed_generation,
        newest: Newest {
            hash: hash.filter(|_| number.is_some()).map(str::to_owned),
            revision: number,
        },
        summary: Summary::of(&nodes),
        notes: notes(snapshot, preview, &nodes),
        change: None,
        nodes,
    }
}

fn explain_nodes(
    snapshot: &Snapshot,
    preview: &PlanPreview,
    context: &ExplainContext<'_>,
    only: Option<&str>,
) -> Vec<NodeReport> {
    let mut by_node: BTreeMap<&Name, Vec<&DaemonPod>> = BTreeMap::new();
    for pod in snapshot.pods_of(&preview.view) {
        if let Some(node) = pod.view.placed_on() {
            by_node.entry(node).or_default().push(pod);
        }
    }
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let mut nodes = Vec::with_capacity(snapshot.nodes.len());
    for node in &snapshot.nodes {
        let pods = by_node.remove(&node.view.name).unwrap_or_default();
        if wanted(&node.view.name) {
            nodes.push(context.explain_node(node, &pods));
        }
    }
    let gone = by_node.iter().filter(|(name, _)| wanted(name));
    nodes.extend(gone.map(|(name, pods)| context.explain_missing_node(name, pods)));
    nodes
}

/// The sort key of the report: nodes that need attention come first.
fn attention(node: &NodeReport) -> u8 {
    match node.verdict {
        Verdict::CannotRunYet => 0,
        Verdict::WillRun => 1,
        Verdict::Runs if !node.reasons.is_empty() => 2,
        Verdict::MustNotRun if !node.settled => 3,
        Verdict::Runs => 4,
        Verdict::MustNotRun => 5,
    }
}

fn notes(snapshot: &Snapshot, preview: &PlanPreview, nodes: &[NodeReport]) -> Vec<String> {
    let view = &preview.view;
    let mut notes = Vec::new();
    if view.deleting {
        notes.push("the DaemonSet is being deleted: no pods are created or replaced".to_owned());
    }
    if view.selects_all() {
        notes.push("the selector selects all pods, so the controller does nothing".to_owned());
    }
    let (seen, due) = (view.status.observed_generation, view.generation);
    if seen < due && !view.deleting {
        notes.push(format!(
            "no controller has acted on generation {due} yet (it has seen {seen}): is one running?"
        ));
    }
    let needed = nodes.iter().any(|node| node.needs_node_pods);
    if snapshot.node_pods.is_none() && needed {
        notes.push(
            "pods of other namespaces cannot be read: resources and ports were not checked"
                .to_owned(),
        );
    }
    if snapshot.nodes.is_empty() {
        notes.push("the cluster has no nodes".to_owned());
    }
    notes
}
