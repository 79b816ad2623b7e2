//! The state of a rollout: revisions, counts, what it waits for, and the slowest nodes. Pure.

use std::collections::{BTreeMap, BTreeSet};

use pandaemon_planner::{DaemonSetView, Strategy};
use pandaemon_types::{Name, Timestamp};
use serde::Serialize;

use crate::{
    plan_preview::PlanPreview,
    pod_health::{ago, pod_health},
    reason::Reason,
    snapshot::{DaemonPod, Snapshot},
};

/// At most this many slow nodes are listed.
const SLOW_NODES: usize = 5;
/// Characters of the progress bar.
const BAR: usize = 40;

/// A revision of the DaemonSet, and the nodes that run it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Its number; none if the revision is gone or not written yet.
    pub revision: Option<i64>,
    /// Its hash.
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
    /// The node.
    pub node: Name,
    /// Its pod.
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
    /// Its name.
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

/// The state of a DaemonSet's rollout. The snapshot needs no nodes.
///
/// # Errors
/// When the object is no DaemonSet.
pub fn status(snapshot: &Snapshot) -> serde_json::Result<StatusReport> {
    let preview = PlanPreview::compute(snapshot)?;
    let view = &preview.view;
    let pods: Vec<&DaemonPod> = snapshot.pods_of(view).collect();
    let counts = &view.status;
    let (done, message) = progress(view);
    let slowest = slowest(snapshot, &pods);
    Ok(StatusReport {
        kind: "DaemonSetRollout",
        namespace: Name::clone(&view.key.namespace),
        name: Name::clone(&view.key.name),
        desired: counts.desired_number_scheduled,
        current: counts.current_number_scheduled,
        updated: counts.updated_number_scheduled,
        ready: counts.number_ready,
        available: counts.number_available,
        misscheduled: counts.number_misscheduled,
        done,
        message,
        waits_for: waits_for(view, done, &slowest),
        revisions: revisions(snapshot, &preview, &pods),
        slowest: slowest.into_iter().take(SLOW_NODES).collect(),
    })
}

/// Whether the rollout is done, and the message of `kubectl rollout status`.
fn progress(view: &DaemonSetView) -> (bool, String) {
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

fn waits_for(view: &DaemonSetView, done: bool, slowest: &[SlowNode]) -> Vec<String> {
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
            "somebody to delete the outdated pods of {} (OnDelete)",
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
    if !done && !slowest.is_empty() {
        waits.push(format!("the pods of {} to be ready", nodes(slowest.len())));
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
    crate::pod_health::plural(i64::try_from(count).unwrap_or(i64::MAX), "node")
}

/// Pods that are not ready, those first that are not for the longest time.
fn slowest(snapshot: &Snapshot, pods: &[&DaemonPod]) -> Vec<SlowNode> {
    let unready = pods
        .iter()
        .filter(|pod| !pod.view.ready && !pod.view.deleting);
    let mut slow: Vec<SlowNode> = unready
        .filter_map(|pod| {
            let (_, reasons) = pod_health(pod, snapshot.now);
            Some(SlowNode {
                node: Name::clone(pod.view.placed_on()?),
                pod: Name::clone(&pod.view.name),
                since: pod.view.created,
                reasons,
            })
        })
        .collect();
    slow.sort_by(|a, b| (a.since, &a.node).cmp(&(b.since, &b.node)));
    slow
}

fn revisions(
    snapshot: &Snapshot,
    preview: &PlanPreview,
    pods: &[&DaemonPod],
) -> Vec<RevisionStatus> {
    let current = preview.rollout.current.as_deref();
    let known: BTreeMap<Name, _> = snapshot
        .revisions_of(&preview.view)
        .map(|revision| (revision.view.hash(), revision))
        .collect();
    let mut hashes: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.hash()).collect();
    hashes.extend(current.filter(|current| known.contains_key(*current)));
    let row = |hash: &&str| {
        let of = || {
            let pods = pods.iter().filter(|pod| !pod.view.deleting);
            pods.filter(|pod| pod.hash() == Some(*hash))
        };
        let revision = known.get(*hash);
        RevisionStatus {
            revision: revision.map(|revision| revision.view.revision),
            hash: (*hash).to_owned(),
            newest: current == Some(*hash),
            nodes: of()
                .filter_map(|pod| pod.view.placed_on())
                .collect::<BTreeSet<_>>()
                .len(),
            ready: of().filter(|pod| pod.view.ready).count(),
            created: revision.map(|revision| revision.view.created),
            change_cause: revision.and_then(|revision| revision.change_cause.clone()),
        }
    };
    let mut rows: Vec<RevisionStatus> = hashes.iter().map(row).collect();
    rows.sort_by(|a, b| (b.newest, b.revision, &a.hash).cmp(&(a.newest, a.revision, &b.hash)));
    rows
}

/// Prints the state of a rollout as text.
#[must_use]
pub fn render_status(report: &StatusReport, now: Timestamp, colours: bool) -> String {
    let StatusReport {
        desired,
        updated,
        available,
        ..
    } = report;
    let state = if report.done { "done" } else { "in progress" };
    let mut out = format!(
        "daemonset.apps/{} in {}: {state}\n",
        report.name, report.namespace
    );
    out += &format!(
        "{} {available} of {desired} available\n",
        bar(report, colours)
    );
    out += &format!(
        "desired {desired}, current {}, updated {updated}, ready {}, available {available}",
        report.current, report.ready
    );
    out += &match report.misscheduled {
        0 => "\n".to_owned(),
        count => format!(", misscheduled {count}\n"),
    };
    if !report.revisions.is_empty() {
        out += &format!("\n{}", revision_table(report, now));
    }
    if !report.waits_for.is_empty() {
        out += "\nwaits for:\n";
        for wait in &report.waits_for {
            out += &format!("  {wait}\n");
        }
    }
    if !report.slowest.is_empty() {
        out += "\nslowest nodes:\n";
        for slow in &report.slowest {
            let why: Vec<&str> = slow.reasons.iter().map(|r| &*r.message).collect();
            let (node, age) = (&slow.node, ago(slow.since, now));
            out += &format!("  {node}  {age}  {}\n", why.join("; "));
        }
    }
    out
}

/// `[=====>....]`: `=` for updated and available, `-` for updated only.
fn bar(report: &StatusReport, colours: bool) -> String {
    let share = |count: usize| {
        let desired = report.desired.max(1);
        (count.min(desired) * BAR) / desired
    };
    let (full, part) = if report.desired == 0 && report.done {
        (BAR, BAR)
    } else {
        let both = report.available.min(report.updated);
        (share(both), share(report.updated.max(both)))
    };
    let (done, under_way) = ("=".repeat(full), "-".repeat(part - full));
    let rest = ".".repeat(BAR - part);
    if colours {
        format!("[\u{1b}[32m{done}\u{1b}[0m\u{1b}[33m{under_way}\u{1b}[0m{rest}]")
    } else {
        format!("[{done}{under_way}{rest}]")
    }
}

fn revision_table(report: &StatusReport, now: Timestamp) -> String {
    let mut rows =
        vec![["REVISION", "NODES", "READY", "AGE", "HASH", "CHANGE-CAUSE"].map(str::to_owned)];
    for revision in &report.revisions {
        let number = revision
            .revision
            .map_or_else(|| "?".to_owned(), |n| n.to_string());
        let newest = if revision.newest { " (newest)" } else { "" };
        rows.push([
            format!("{number}{newest}"),
            revision.nodes.to_string(),
            revision.ready.to_string(),
            revision.created.map_or_else(String::new, |at| ago(at, now)),
            revision.hash.clone(),
            revision
                .change_cause
                .clone()
                .unwrap_or_else(|| "<none>".to_owned()),
        ]);
    }
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 6]| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}   "));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}
