//! The state of a rollout: revisions, counts, what it waits for, and the slowest nodes. Pure.

use pandaemon_planner::{DaemonSetView, Strategy};
use pandaemon_types::{Name, Timestamp};
use serde::Serialize;

use crate::{reason::Reason, text::plural};

/// At most this many slow nodes are listed.
pub(crate) const SLOW_NODES: usize = 5;

/// A revision of the DaemonSet, and the nodes that run it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Its number; none if the revision is gone or not written yet.
    pub revision: Option<i64>,
    /// The revision hash: the label `controller-revision-hash`.
    pub hash: String,
    /// Whether it is the newest.
    pub newest: bool,
    /// Nodes that run it.
    pub nodes: usize,
    /// Nodes where it is ready.
    pub ready: usize,
    /// Its creation timestamp.
    pub created: Option<Timestamp>,
    /// The annotation `kubernetes.io/change-cause`.
    pub change_cause: Option<String>,
}

/// A node whose pod is not ready.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SlowNode {
    /// The node's name.
    pub node: Name,
    /// The pod's name.
    pub pod: Name,
    /// The creation of its pod.
    pub since: Timestamp,
    /// Why it is not ready.
    pub reasons: Vec<Reason>,
}

/// The state of a rollout.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// Always `DaemonSetRollout`.
    pub kind: &'static str,
    /// The namespace of the DaemonSet.
    pub namespace: Name,
    /// `metadata.name`.
    pub name: Name,
    /// Nodes that should run it.
    pub desired: usize,
    /// Nodes that should run it and do.
    pub current: usize,
    /// Nodes whose pod has the newest template.
    pub updated: usize,
    /// Nodes whose pod is ready.
    pub ready: usize,
    /// Nodes whose pod is ready for long enough.
    pub available: usize,
    /// Nodes that run it and should not.
    pub misscheduled: usize,
    /// Whether the rollout is done.
    pub done: bool,
    /// The message of `kubectl rollout status`.
    pub message: String,
    /// What the rollout waits for.
    pub waits_for: Vec<String>,
    /// The revisions that matter, newest first.
    pub revisions: Vec<RevisionStatus>,
    /// The nodes that keep it waiting, longest first.
    pub slowest: Vec<SlowNode>,
}

/// Whether the rollout is done, and the message of `kubectl rollout status`.
pub(crate) fn progress(view: &DaemonSetView) -> (bool, String) {
    let (name, counts) = (&view.key.name, &view.status);
    let (desired, updated) = (
        counts.desired_number_scheduled,
        counts.updated_number_scheduled,
    );
    let (available, rolling) = (counts.number_available, view.strategy != Strategy::OnDelete);
    if counts.observed_generation < view.generation {
        let text = "Waiting for daemon set spec update to be observed...";
        return (false, text.to_owned());
    }
    if rolling && updated < desired {
        let text = format!(
            "Waiting for daemon set \"{name}\" rollout to finish: {updated} out of {desired} new pods \
             have been updated..."
        );
        return (false, text);
    }
    if available < desired {
        let text = format!(
            "Waiting for daemon set \"{name}\" rollout to finish: {available} of {desired} updated pods \
             are available..."
        );
        return (false, text);
    }
    (
        true,
        format!("daemon set \"{name}\" successfully rolled out"),
    )
}

/// What the rollout waits for, in sentences that follow "waits for". `unready` is the number of
/// pods that are not ready.
pub(crate) fn waits_for(view: &DaemonSetView, done: bool, unready: usize) -> Vec<String> {
    let counts = &view.status;
    let mut waits = Vec::new();
    if view.deleting {
        waits.push("the DaemonSet is being deleted".to_owned());
    }
    if counts.observed_generation < view.generation {
        let (due, seen) = (view.generation, counts.observed_generation);
        waits.push(format!(
            "the controller to act on generation {due} (it has seen {seen})"
        ));
    }
    let desired = counts.desired_number_scheduled;
    let missing = desired.saturating_sub(counts.current_number_scheduled);
    if missing > 0 {
        let name = &view.key.name;
        waits.push(format!(
            "{} without a pod (kubectl ds explain {name} says why)",
            nodes(missing)
        ));
    }
    let outdated = desired.saturating_sub(counts.updated_number_scheduled + missing);
    match view.strategy {
        Strategy::OnDelete if outdated > 0 => waits.push(format!(
            "the outdated pods of {} to be deleted by hand (OnDelete)",
            nodes(outdated)
        )),
        Strategy::RollingUpdate {
            max_unavailable,
            max_surge,
        } if outdated > 0 => {
            let down = desired.saturating_sub(counts.number_available);
            let surge = max_surge.of_rounded_up(desired);
            let budget = match max_unavailable.of_rounded_up(desired) {
                0 => format!("at most {surge} with two pods"),
                limit => format!("{down} of at most {limit} unavailable"),
            };
            waits.push(format!("{} to be updated: {budget}", nodes(outdated)));
        }
        Strategy::OnDelete | Strategy::RollingUpdate { .. } => {}
    }
    if !done && unready > 0 {
        waits.push(format!("the pods of {} to be ready", nodes(unready)));
    }
    let not_yet_available = counts.number_ready.saturating_sub(counts.number_available);
    if not_yet_available > 0 && view.min_ready_seconds > 0 {
        waits.push(format!(
            "{} to be ready for {} s (minReadySeconds)",
            nodes(not_yet_available),
            view.min_ready_seconds
        ));
    }
    waits
}

fn nodes(count: usize) -> String {
    plural(i64::try_from(count).unwrap_or(i64::MAX), "node")
}
