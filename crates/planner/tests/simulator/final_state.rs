//! What must be true once nothing is left to do, by the API server's state.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    api::Kind,
    controller::Controller,
    objects::{HASH_LABEL, Node, Pod, Revision, Set, Status, Strategy},
    oracle::{Demands, Fit, KnownSet, Selector, count_node},
    request::{Violation, ensure},
    value::{Key, Text},
    world::{World, app},
};

/// Checks the final state of all sets, and that a controller which starts now has nothing to do.
pub(crate) fn check(world: &mut World) -> Result<(), Violation> {
    ensure!(
        world.api.sets().all(|set| !set.deleting),
        "liveness",
        "a set is still being deleted"
    );
    for set in world.api.sets() {
        SetCheck::new(world, set).run()?;
    }
    check_new_controller(world)
}

/// Checks everything that the API server's refusals do not stand in the way of: one node that is
/// refused for ever stops no other.
pub(crate) fn check_beside_refusals(world: &World) -> Result<(), Violation> {
    let sets = world.api.sets().filter(|set| !set.deleting);
    sets.into_iter()
        .try_for_each(|set| SetCheck::new(world, set).run())
}

/// One set, and what is refused about it.
struct SetCheck<'a> {
    world: &'a World,
    set: &'a Set,
    selector: Selector,
    demands: Demands,
    /// Its pods, and those that it should adopt, by node.
    pods: BTreeMap<&'a Text, Vec<&'a Pod>>,
    /// Nodes where its pods cannot be created, deleted or patched.
    refused: [BTreeSet<&'a Text>; 3],
}

impl<'a> SetCheck<'a> {
    fn new(world: &'a World, set: &'a Set) -> Self {
        let mut pods: BTreeMap<&Text, Vec<&Pod>> = BTreeMap::new();
        let known = KnownSet::new(set.clone());
        for pod in world.api.pods().filter(|pod| known.claims(pod)) {
            let place = pod.place().unwrap_or(&set.key.name);
            pods.entry(place).or_default().push(pod);
        }
        let label = app(&set.key);
        let admission = &world.api.admission;
        let nodes = |rules: &'a BTreeSet<(Text, Text)>| {
            let ours = rules.iter().filter(|(app, _)| *app == label);
            ours.map(|(_, node)| node).collect()
        };
        Self {
            selector: known.selector,
            demands: known.demands,
            pods,
            refused: [
                nodes(&admission.create),
                nodes(&admission.delete),
                nodes(&admission.patch),
            ],
            world,
            set,
        }
    }

    fn run(&self) -> Result<(), Violation> {
        let key = &self.set.key;
        let stopped = self.world.api.admission.revisions.contains(&app(key));
        if stopped || !self.selector.is_usable() {
            return Ok(());
        }
        self.check_owners()?;
        let lost = self
            .pods
            .keys()
            .find(|node| self.world.api.node(node).is_none() && !self.is_refused(node));
        ensure!(
            lost.is_none(),
            "final state: lost pod",
            "{key} has a pod on {lost:?}, which does not exist"
        );
        let mut truth = Status {
            observed_generation: self.set.generation,
            collisions: self.set.status.collisions,
            ..Status::default()
        };
        let outdated_may_stay = self.is_update_blocked();
        // With surge, old pods where none should run stay until enough nodes serve.
        let misplaced_may_stay = matches!(self.set.strategy, Strategy::Surge(_))
            && self.refused.iter().any(|nodes| !nodes.is_empty());
        for node in self.world.api.nodes() {
            let may_stay =
                outdated_may_stay || (misplaced_may_stay && self.demands.fit(node) == Fit::Keep);
            self.check_node(node, may_stay, &mut truth)?;
        }
        truth.unavailable = truth.desired - truth.available;
        ensure!(
            self.set.status == truth,
            "final state: status",
            "{key} has status {:?}, not {truth:?}",
            self.set.status
        );
        self.check_revisions()
    }

    /// Whether refusals use up what the strategy allows: a node without a pod counts as down, as
    /// upstream, and an old pod that cannot be deleted beside a new one as a surge.
    fn is_update_blocked(&self) -> bool {
        let desired = self.world.api.nodes();
        let desired = desired
            .filter(|node| self.demands.fit(node) == Fit::Run)
            .count();
        let [create, delete, patch] = &self.refused;
        match self.set.strategy {
            Strategy::OnDelete => true,
            Strategy::Rolling(limit) => {
                let fails = |node: &&&'a Text| {
                    let pods = self.pods.get(**node);
                    !pods.into_iter().flatten().any(|pod| pod.ready)
                };
                let down = create.union(patch).count() + delete.iter().filter(fails).count();
                down > 0 && limit.of(desired).max(1) <= down
            }
            Strategy::Surge(limit) => {
                let surging = delete.union(patch).count();
                surging > 0 && limit.of(desired) <= surging
            }
        }
    }

    fn is_refused(&self, node: &Text) -> bool {
        self.refused.iter().any(|nodes| nodes.contains(node))
    }

    fn check_owners(&self) -> Result<(), Violation> {
        let key = &self.set.key;
        let [_, _, patch] = &self.refused;
        for pod in self.world.api.pods() {
            if pod.key.namespace != key.namespace || pod.place().is_some_and(|p| patch.contains(p))
            {
                continue;
            }
            let selected = self.selector.matches(&pod.labels);
            ensure!(
                pod.owner.is_some() || !selected,
                "final state: orphan",
                "{} matches {key} and has no controller",
                pod.key
            );
            ensure!(
                !pod.is_owned_by(&self.set.uid) || selected,
                "final state: stranger",
                "{} does not match {key}, which owns it",
                pod.key
            );
        }
        Ok(())
    }

    fn check_node(
        &self,
        node: &Node,
        outdated_may_stay: bool,
        truth: &mut Status,
    ) -> Result<(), Violation> {
        let (key, name) = (&self.set.key, &node.name);
        let none = Vec::new();
        let pods = self.pods.get(name).unwrap_or(&none);
        let is_updated = |pod: &Pod| pod.tag == self.set.tag;
        let fit = self.demands.fit(node);
        // Long after the last change, whatever is ready is available.
        count_node(truth, fit, pods, |pod| pod.ready, is_updated);
        if self.is_refused(name) {
            return Ok(());
        }
        let names: Vec<&Text> = pods.iter().map(|pod| &pod.key.name).collect();
        ensure!(
            pods.iter().all(|pod| pod.is_live()),
            "final state: ended",
            "{key} has pods on {name} that have ended: {names:?}"
        );
        // Without a node that should run one, a percentage allows nothing, and pods that may stay
        // do.
        let rolling = self.set.status.desired > 0 || fit == Fit::Run;
        let old = pods.iter().find(|pod| !is_updated(pod));
        ensure!(
            old.is_none() || outdated_may_stay || !rolling,
            "final state: outdated",
            "{key} on {name}: {names:?} has template `{}`, not `{}`",
            old.map_or("", |pod| &*pod.tag),
            self.set.tag
        );
        let most = usize::from(fit != Fit::No);
        let least = usize::from(fit == Fit::Run);
        ensure!(
            (least..=most).contains(&pods.len()),
            "final state: number",
            "{key} has {names:?} on {name}: {fit:?}"
        );
        ensure!(
            fit != Fit::Run || pods.iter().all(|pod| pod.ready),
            "final state: unavailable",
            "{key}: {names:?} on {name} is not ready"
        );
        Ok(())
    }

    fn check_revisions(&self) -> Result<(), Violation> {
        let (key, uid) = (&self.set.key, &self.set.uid);
        let own = self.world.api.revisions();
        let own = own.filter(|revision| revision.owner.as_ref() == Some(uid));
        let (current, old): (Vec<&Revision>, Vec<&Revision>) =
            own.partition(|revision| revision.data == self.set.data);
        // Equal revisions stay while pods carry their hashes and cannot be relabelled or deleted.
        let refused = self.refused.iter().any(|nodes| !nodes.is_empty());
        ensure!(
            current.len() == 1 || (refused && !current.is_empty()),
            "final state: revision",
            "{key} has {} current revisions",
            current.len()
        );
        let newest = current.iter().max_by_key(|revision| revision.number);
        let Some(newest) = newest else { return Ok(()) };
        ensure!(
            old.iter().all(|revision| revision.number < newest.number),
            "final state: revision",
            "{key}: the current revision has no higher number than the old ones"
        );
        ensure!(
            newest.labels.contains_key(HASH_LABEL),
            "final state: revision",
            "{key}: the current revision has no hash"
        );
        let carried = |revision: &&&Revision| {
            let mut pods = self.pods.values().flatten();
            pods.any(|pod| pod.hash() == Some(revision.hash()))
        };
        let live = old.iter().filter(carried).count();
        ensure!(
            old.len() <= self.set.history_limit.max(live),
            "final state: history",
            "{key} has {} old revisions",
            old.len()
        );
        Ok(())
    }
}

/// A controller that starts now has nothing to do, and explains every node with the same words.
fn check_new_controller(world: &mut World) -> Result<(), Violation> {
    // Clocks of nodes are ahead by no more than this.
    let now = world.now + 200_000;
    let kinds = Kind::ALL.iter();
    let objects = kinds.flat_map(|kind| world.api.list(*kind, u64::MAX));
    let mut other = Controller::from_snapshot(world.script.bind, objects.collect(), now);
    let due = other.idle(now);
    ensure!(
        due.is_empty(),
        "final state: new controller",
        "another controller would ask for {:?}",
        due.first()
    );
    let keys: Vec<Key> = world.keys();
    let Some(controller) = world.controllers.values_mut().next() else {
        let text = "there is no controller".to_owned();
        return Err(("final state: controller", text));
    };
    let due = controller.idle(now);
    ensure!(
        due.is_empty(),
        "final state: plan",
        "nothing happens, and the plan is {due:?}"
    );
    for key in keys {
        let (known, told) = (other.explain(&key, now), controller.explain(&key, now));
        ensure!(
            known == told,
            "final state: explain",
            "another controller explains {key} with {known:?}, this one with {told:?}"
        );
    }
    Ok(())
}
