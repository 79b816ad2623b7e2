//! What applying a manifest would change. Pure.

use std::collections::BTreeSet;

use pandaemon_placement::daemon_fit;
use pandaemon_planner::Strategy;
use pandaemon_types::Name;
use serde_json::Value;

use crate::{
    explain::{needs_of, report},
    manifest::differences,
    report::{Change, Report},
    survey::Survey,
    world::World,
};

/// Explains a world whose DaemonSet is the one of a manifest, next to the live one.
///
/// # Errors
/// When an object is no DaemonSet.
pub fn dry_run(
    world: &World,
    live: Option<&Value>,
    only: Option<&str>,
) -> serde_json::Result<Report> {
    let survey = Survey::take(world)?;
    let mut report = report(world, &survey, only, true);
    report.change = Some(change(world, &survey, live)?);
    Ok(report)
}

fn change(world: &World, survey: &Survey, live: Option<&Value>) -> serde_json::Result<Change> {
    let new = fitting(world, &world.set);
    let Some(live) = live else {
        let gained = new.into_iter().collect();
        return Ok(Change {
            gained,
            ..Change::default()
        });
    };
    let old = fitting(world, live);
    let before: pandaemon_planner::DaemonSetView = serde::Deserialize::deserialize(live)?;
    let minus = |a: &BTreeSet<Name>, b: &BTreeSet<Name>| a.difference(b).cloned().collect();
    let at_once = match survey.view.strategy {
        Strategy::OnDelete => 0,
        Strategy::RollingUpdate { .. } => {
            let rollout = &survey.rollout;
            rollout.limit_down.max(rollout.limit_surge).max(1)
        }
    };
    Ok(Change {
        exists: true,
        template_changed: before.canonical != survey.view.canonical,
        fields: differences("spec", &live["spec"], &world.set["spec"]),
        gained: minus(&new, &old),
        lost: minus(&old, &new),
        order: order(world, survey),
        at_once,
    })
}

/// The outdated nodes in the order of their update.
fn order(world: &World, survey: &Survey) -> Vec<Name> {
    if survey.view.strategy != Strategy::OnDelete {
        return survey.order.clone();
    }
    let outdated = world
        .pods_of(&survey.view)
        .filter(|pod| !survey.is_newest(&pod.view));
    let nodes: BTreeSet<Name> = outdated
        .filter_map(|pod| pod.view.placed_on().cloned())
        .collect();
    nodes.into_iter().collect()
}

/// The nodes where a DaemonSet belongs.
fn fitting(world: &World, set: &Value) -> BTreeSet<Name> {
    let needs = needs_of(set);
    let fits = world
        .nodes
        .iter()
        .filter(|node| daemon_fit(&needs, &node.view).should_run());
    fits.map(|node| Name::clone(&node.view.name)).collect()
}
