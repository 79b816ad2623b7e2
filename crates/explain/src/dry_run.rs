//! What applying a manifest would change. Pure.

use std::collections::BTreeSet;

use pandaemon_placement::daemon_fit;
use pandaemon_planner::Strategy;
use pandaemon_types::Name;
use serde_json::Value;

use crate::{
    explain::report,
    manifest::differences,
    plan_preview::PlanPreview,
    report::{Change, Report},
    snapshot::{Snapshot, needs_of},
};

/// Explains a snapshot whose DaemonSet is that of a manifest, and compares it with the live one.
///
/// # Errors
/// When an object is no DaemonSet.
pub fn dry_run(
    snapshot: &Snapshot,
    live: Option<&Value>,
    only: Option<&str>,
) -> serde_json::Result<Report> {
    let preview = PlanPreview::compute(snapshot)?;
    let mut report = report(snapshot, &preview, only, true);
    report.change = Some(change(snapshot, &preview, live)?);
    Ok(report)
}

fn change(
    snapshot: &Snapshot,
    preview: &PlanPreview,
    live: Option<&Value>,
) -> serde_json::Result<Change> {
    let new = fitting(snapshot, &snapshot.set);
    let Some(live) = live else {
        let gained = new.into_iter().collect();
        return Ok(Change {
            gained,
            ..Change::default()
        });
    };
    let old = fitting(snapshot, live);
    let before: pandaemon_planner::DaemonSetView = serde::Deserialize::deserialize(live)?;
    let minus = |a: &BTreeSet<Name>, b: &BTreeSet<Name>| a.difference(b).cloned().collect();
    let at_once = match preview.view.strategy {
        Strategy::OnDelete => 0,
        Strategy::RollingUpdate { .. } => {
            let rollout = &preview.rollout;
            rollout.limit_down.max(rollout.limit_surge).max(1)
        }
    };
    Ok(Change {
        exists: true,
        template_changed: before.canonical != preview.view.canonical,
        fields: differences("spec", &live["spec"], &snapshot.set["spec"]),
        gained: minus(&new, &old),
        lost: minus(&old, &new),
        order: order(snapshot, preview),
        at_once,
    })
}

/// The nodes with outdated pods, in the order of their update.
fn order(snapshot: &Snapshot, preview: &PlanPreview) -> Vec<Name> {
    if preview.view.strategy != Strategy::OnDelete {
        return preview.order.clone();
    }
    let outdated = snapshot
        .pods_of(&preview.view)
        .filter(|pod| !preview.is_newest(&pod.view));
    let nodes: BTreeSet<Name> = outdated
        .filter_map(|pod| pod.view.placed_on().cloned())
        .collect();
    nodes.into_iter().collect()
}

/// The nodes where the DaemonSet should run.
fn fitting(snapshot: &Snapshot, set: &Value) -> BTreeSet<Name> {
    let needs = needs_of(set);
    let fits = snapshot
        .nodes
        .iter()
        .filter(|node| daemon_fit(&needs, &node.view).should_run());
    fits.map(|node| Name::clone(&node.view.name)).collect()
}
