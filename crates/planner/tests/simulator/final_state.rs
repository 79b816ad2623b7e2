//! What must be true once everything is at rest, by the API server's truth.

use std::collections::BTreeMap;

use pandaemon_placement::{DaemonFit, PodNeeds, daemon_fit};
use pandaemon_planner::{Action, DaemonSetView, Options, Planner, Status, Strategy};
use pandaemon_types::{Labels as _, Name, Timestamp};

use crate::{
    api::{Api, Pod, hash_of, tag_of},
    oracle::{Violation, ensure},
    world::World,
};

/// Checks everything; the first fault ends the run as one.
pub(crate) fn check(world: &mut World) {
    // Clocks of nodes are ahead by no more than this.
    let now = world.clock().plus_seconds(200);
    let mut violation = world
        .api
        .sets
        .values()
        .filter(|set| !set.deleting)
        .try_for_each(|set| check_set(&world.api, set))
        .err();
    if violation.is_none() && world.api.sets.values().any(|set| set.deleting) {
        violation = Some(("liveness", "a set is still being deleted".to_owned()));
    }
    if violation.is_none() {
        violation = newcomer(world, now).err();
    }
    if let Some(violation) = violation {
        world.fail(violation);
    }
}

fn check_set(api: &Api, set: &DaemonSetView) -> Result<(), Violation> {
    let key = &set.key;
    let needs = PodNeeds::for_daemon(set.template.get("spec").unwrap_or_default());
    let selects = |pod: &Pod| {
        set.selector
            .as_ref()
            .is_ok_and(|selector| selector.matches(&pod.view.labels))
    };
    for pod in api
        .pods
        .values()
        .filter(|pod| pod.view.namespace == key.namespace)
    {
        let name = &pod.view.name;
        let orphan = pod.view.owner.is_none() && selects(pod);
        ensure!(
            !orphan,
            "final state: orphan",
            "{name} matches {key} and belongs to nobody"
        );
        let stranger = pod.is_of(&set.uid) && !selects(pod);
        ensure!(
            !stranger,
            "final state: stranger",
            "{name} does not match {key} and belongs to it"
        );
    }
    let mut of: BTreeMap<&Name, Vec<&Pod>> = BTreeMap::new();
    for pod in api.pods.values().filter(|pod| pod.is_of(&set.uid)) {
        of.entry(pod.view.placed_on().unwrap_or(&key.name))
            .or_default()
            .push(pod);
    }
    let lost = of.keys().find(|node| !api.nodes.contains_key(**node));
    ensure!(
        lost.is_none(),
        "final state: lost pod",
        "{key} has a pod on {lost:?}, which is not there"
    );
    let mut truth = Status {
        observed_generation: set.generation,
        collision_count: set.status.collision_count,
        ..Status::default()
    };
    let none = Vec::new();
    for (name, node) in &api.nodes {
        let pods = of.get(name).unwrap_or(&none);
        check_node(set, name, &daemon_fit(&needs, node), pods, &mut truth)?;
    }
    truth.number_unavailable = truth.desired_number_scheduled - truth.number_available;
    ensure!(
        set.status == truth,
        "final state: status",
        "{key} says {:?}, and it is {truth:?}",
        set.status
    );
    check_revisions(api, set)
}

fn check_node(
    set: &DaemonSetView,
    node: &Name,
    fit: &DaemonFit,
    pods: &[&Pod],
    truth: &mut Status,
) -> Result<(), Violation> {
    let key = &set.key;
    let names: Vec<&Name> = pods.iter().map(|pod| &pod.view.name).collect();
    ensure!(
        pods.iter().all(|pod| pod.is_live()),
        "final state: ended",
        "{key} has pods on {node} that have ended: {names:?}"
    );
    // Without a node that should run one, a percentage allows nothing, and pods that may stay stay.
    let rolling = matches!(set.strategy, Strategy::RollingUpdate { .. })
        && (set.status.desired_number_scheduled > 0 || *fit == DaemonFit::Run);
    let old = pods.iter().find(|pod| pod.tag != tag_of(set));
    ensure!(
        !rolling || old.is_none(),
        "final state: outdated",
        "{key} on {node}: {:?} has template {:?}, not {}",
        names,
        old.map(|pod| &pod.tag),
        tag_of(set)
    );
    match fit {
        DaemonFit::Run => {
            ensure!(
                pods.len() == 1,
                "final state: number",
                "{key} has {names:?} on {node}"
            );
            truth.desired_number_scheduled += 1;
            truth.current_number_scheduled += 1;
            let ready = pods[0].view.ready;
            ensure!(
                ready,
                "final state: unavailable",
                "{key}: {names:?} on {node} is not ready"
            );
            truth.number_ready += 1;
            truth.number_available += 1;
            truth.updated_number_scheduled += usize::from(pods[0].tag == tag_of(set));
        }
        DaemonFit::Keep(_) => {
            ensure!(
                pods.len() <= 1,
                "final state: number",
                "{key} has {names:?} on {node}"
            );
            truth.number_misscheduled += pods.len();
        }
        DaemonFit::No(reason) => {
            ensure!(
                pods.is_empty(),
                "final state: misplaced",
                "{key} has {names:?} on {node}: {reason}"
            );
        }
    }
    Ok(())
}

fn check_revisions(api: &Api, set: &DaemonSetView) -> Result<(), Violation> {
    let key = &set.key;
    let own = api.revisions.values().filter(|revision| {
        revision
            .owner
            .as_ref()
            .is_some_and(|owner| owner.uid == set.uid)
    });
    let (current, old): (Vec<_>, Vec<_>) =
        own.partition(|revision| revision.canonical == set.canonical);
    ensure!(
        current.len() == 1,
        "final state: revision",
        "{key} has {} current revisions",
        current.len()
    );
    let newest = old
        .iter()
        .all(|revision| revision.revision < current[0].revision);
    ensure!(
        newest,
        "final state: revision",
        "{key}: the current revision has no higher number than the old ones"
    );
    let live = old.iter().filter(|revision| {
        let hash = revision.hash();
        api.pods
            .values()
            .any(|pod| pod.is_of(&set.uid) && hash_of(&pod.view) == Some(&*hash))
    });
    let most = set.history_limit.max(live.count());
    ensure!(
        old.len() <= most,
        "final state: history",
        "{key} has {} old revisions",
        old.len()
    );
    let label = current[0]
        .labels
        .label(pandaemon_planner::HASH_LABEL)
        .is_some();
    ensure!(
        label,
        "final state: revision",
        "{key}: the current revision has no hash"
    );
    Ok(())
}

/// A controller that hears of everything for the first time has nothing to do, and says the same.
fn newcomer(world: &mut World, now: Timestamp) -> Result<(), Violation> {
    let options = Options {
        bind: world.script.bind,
        explain: false,
    };
    let mut other = Planner::new(options);
    other.mark_listed();
    for kind in 0..4 {
        for object in world.api.list(kind, u64::MAX) {
            other.observe(object.changed(), now);
        }
    }
    let plan = other.plan(now);
    let busy = plan
        .actions
        .iter()
        .find(|action| !matches!(action, Action::Event { .. }));
    ensure!(
        busy.is_none(),
        "final state: newcomer",
        "another controller would do {busy:?}"
    );
    let Some(controller) = &mut world.controller else {
        return Err((
            "final state: controller",
            "there is no controller".to_owned(),
        ));
    };
    let plan = controller.planner.plan(now);
    ensure!(
        plan.actions.is_empty(),
        "final state: plan",
        "at rest, the plan is {:?}",
        plan.actions
    );
    for key in world.api.sets.keys() {
        let same = controller.planner.explain(key, now) == other.explain(key, now);
        ensure!(
            same,
            "final state: explain",
            "another controller explains {key} otherwise"
        );
    }
    Ok(())
}
