//! From a world to a report. Pure.

use std::collections::BTreeMap;

use pandaemon_placement::PodNeeds;
use pandaemon_types::Name;
use serde_json::Value;

use crate::{
    failures::Failures,
    judge::Bench,
    report::{Newest, NodeReport, Report, Summary, Verdict},
    survey::Survey,
    world::{Daemon, World},
};

/// Explains where a DaemonSet runs, and why not elsewhere. `only` restricts the answer to one node.
///
/// # Errors
/// When the object is no DaemonSet.
pub fn explain(world: &World, only: Option<&str>) -> serde_json::Result<Report> {
    let survey = Survey::take(world)?;
    Ok(report(world, &survey, only, false))
}

pub(crate) fn report(world: &World, survey: &Survey, only: Option<&str>, planned: bool) -> Report {
    let view = &survey.view;
    let numbers: BTreeMap<Name, i64> = world
        .revisions_of(view)
        .map(|revision| (revision.view.hash(), revision.view.revision))
        .collect();
    let needs = needs_of(&world.set);
    let failures = Failures::of(&world.events, world.now);
    let bench = Bench {
        world,
        survey,
        needs: &needs,
        failures: &failures,
        numbers: &numbers,
        planned,
    };
    let mut nodes = judge_all(world, &bench, only);
    nodes.sort_by(|a, b| (attention(a), &a.name).cmp(&(attention(b), &b.name)));
    let hash = survey.rollout.current.as_deref();
    let number = hash.and_then(|hash| numbers.get(hash)).copied();
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
        notes: notes(world, survey, &nodes),
        change: None,
        nodes,
    }
}

/// What the template asks of its node.
pub(crate) fn needs_of(set: &Value) -> PodNeeds {
    let spec = set.pointer("/spec/template/spec");
    PodNeeds::for_daemon(spec.unwrap_or(&Value::Null))
}

fn judge_all(world: &World, bench: &Bench<'_>, only: Option<&str>) -> Vec<NodeReport> {
    let mut by_node: BTreeMap<&Name, Vec<&Daemon>> = BTreeMap::new();
    for pod in world.pods_of(&bench.survey.view) {
        if let Some(node) = pod.view.placed_on() {
            by_node.entry(node).or_default().push(pod);
        }
    }
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let mut nodes = Vec::with_capacity(world.nodes.len());
    for node in &world.nodes {
        let pods = by_node.remove(&node.view.name).unwrap_or_default();
        if wanted(&node.view.name) {
            nodes.push(bench.judge(node, &pods));
        }
    }
    let gone = by_node.iter().filter(|(name, _)| wanted(name));
    nodes.extend(gone.map(|(name, pods)| bench.judge_gone(name, pods)));
    nodes
}

/// What needs attention comes first.
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

fn notes(world: &World, survey: &Survey, nodes: &[NodeReport]) -> Vec<String> {
    let view = &survey.view;
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
    let asks = nodes.iter().any(|node| node.asks_neighbours);
    if world.neighbours.is_none() && asks {
        notes.push(
            "pods of other namespaces cannot be read: resources and ports were not checked"
                .to_owned(),
        );
    }
    if world.nodes.is_empty() {
        notes.push("the cluster has no nodes".to_owned());
    }
    notes
}
