//! The oracle: what a controller has been told, kept a second time in the plainest way, and the
//! invariants that every plan must keep given that knowledge. It shares no code with the planner or
//! the crate `placement`, and it does not believe the reasons that a plan gives.

mod budget;
mod creations;
mod deletions;
mod events;
mod knowledge;
mod outcomes;
mod ownership;
mod placement;
mod progress;
mod revisions;
mod selector;
mod status;
mod work;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    knowledge::Knowledge,
    work::{Target, Work},
};
pub(crate) use self::{
    knowledge::{KnownPod, KnownSet},
    placement::{Demands, Fit},
    selector::Selector,
    status::count_node,
};
use crate::{
    api::Kind,
    objects::Pod,
    request::{Delivery, Request, Violation, ensure},
    value::{Key, Text},
};

/// What one controller knows and has asked for.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    known: Knowledge,
    /// By the uid of the set.
    work: BTreeMap<Text, Work>,
    /// The kinds that were listed.
    listed: BTreeSet<Kind>,
    /// The time of the controller's clock at the last plan.
    planned_at: i64,
    /// The time of the controller's clock.
    now: i64,
}

impl Oracle {
    /// Takes in a delivery.
    pub(crate) fn observe(&mut self, delivery: &Delivery, now: i64) {
        self.now = now;
        if let Delivery::Listed { kind, .. } = delivery {
            self.listed.insert(*kind);
        }
        match delivery {
            Delivery::Outcome(outcome) => self.outcome(outcome),
            other => self.known.observe(other, now),
        }
        if let Delivery::Changed(stored) = delivery
            && let Some(pod) = stored.pod()
        {
            self.pod_seen(pod);
        }
        for known in std::mem::take(&mut self.known.gone) {
            self.pod_gone(&known);
        }
        let touches_sets = match delivery {
            Delivery::Changed(stored) | Delivery::Gone { last: stored, .. } => {
                stored.kind() == Kind::Sets
            }
            Delivery::Listed { kind, .. } => *kind == Kind::Sets,
            Delivery::Outcome(_) => true,
            Delivery::Old(_) => false,
        };
        if touches_sets {
            self.sets_changed();
        }
    }

    /// A pod that was asked for was created.
    fn pod_seen(&mut self, pod: &Pod) {
        let mut sets = self.known.sets.values();
        let set = sets.find(|set| set.claims(pod));
        let work = set.and_then(|set| self.work.get_mut(&set.set.uid));
        if let (Some(work), Some(node)) = (work, pod.place()) {
            work.seen(node, &pod.key.name);
        }
    }

    /// The end of a pod whose deletion has failed ends the back-off of deletions on its node.
    fn pod_gone(&mut self, known: &KnownPod) {
        let owner = known.pod.owner.as_ref().filter(|_| known.delete_failed);
        let work = owner.and_then(|owner| self.work.get_mut(owner));
        if let (Some(work), Some(node)) = (work, known.pod.place()) {
            work.forget(&Target::Delete(node.clone()));
        }
    }

    /// Work begins with a set and ends with it.
    fn sets_changed(&mut self) {
        let uids: BTreeSet<&Text> = self.known.sets.values().map(|set| &set.set.uid).collect();
        self.work.retain(|uid, _| uids.contains(uid));
        for known in self.known.sets.values() {
            let work = self.work.entry(known.set.uid.clone()).or_default();
            if work.window.data != known.set.data {
                work.new_template(&known.set.data);
            }
        }
        self.pods_claimed();
    }

    /// Pods that were seen while their set could not claim them settle its open creations once it
    /// can.
    fn pods_claimed(&mut self) {
        for known in self.known.sets.values() {
            let Some(work) = self.work.get_mut(&known.set.uid) else {
                continue;
            };
            let open: Vec<Text> = work.creating.keys().cloned().collect();
            for node in open {
                let pods = self.known.pods_on(known, &node);
                let names: Vec<Text> = pods.map(|known| known.pod.key.name.clone()).collect();
                names.iter().for_each(|name| work.seen(&node, name));
            }
        }
    }

    /// Finds the hashes of the sets' templates. They are remembered while a revision that was
    /// deleted is created again.
    fn update_hashes(&mut self) {
        for known in self.known.sets.values() {
            let hashes = self.known.current_hashes(&known.set);
            let Some(work) = self.work.get_mut(&known.set.uid) else {
                continue;
            };
            if work.found != hashes {
                work.restart_creations();
            }
            // With its revision, a template starts slowly, whatever succeeded meanwhile.
            let revised = std::mem::take(&mut work.revised);
            // After a failure it looks at them again when the pause is over.
            let waits = !work.is_due(&Target::Revisions, self.now);
            if work.revising > 0 || revised || waits {
                work.may_restart_creations();
            }
            if !hashes.is_empty() {
                work.hashes.clone_from(&hashes);
            }
            work.found = hashes;
        }
    }

    /// Nodes that a set leaves alone begin anew when it comes to them again.
    fn forget_idle_nodes(&mut self) {
        let sets = self.known.sets.values();
        for known in sets.filter(|known| known.is_worked_on()) {
            if let Some(work) = self.work.get_mut(&known.set.uid) {
                let knowledge = &self.known;
                work.forget_nodes(|node| {
                    let placed = matches!(knowledge.fit(known, node), Some(Fit::Run | Fit::Keep));
                    placed || knowledge.pods_on(known, node).next().is_some()
                });
            }
        }
    }

    /// Checks a plan and takes it in. `all` asks for the checks that look at every node, too.
    pub(crate) fn plan(
        &mut self,
        requests: &[Request],
        wake_at: Option<i64>,
        now: i64,
        all: bool,
    ) -> Result<(), Violation> {
        self.now = now;
        if now < self.planned_at {
            let back = self.planned_at - now;
            self.known.set_clock_back(now, back);
            self.work.values_mut().for_each(|w| w.set_clock_back(back));
        }
        self.planned_at = now;
        if self.listed.len() < Kind::ALL.len() {
            ensure!(
                requests.is_empty(),
                "before the lists",
                "a plan before everything was listed: {requests:?}"
            );
            return Ok(());
        }
        self.work
            .values_mut()
            .for_each(|work| work.give_up_creations(now));
        self.update_hashes();
        self.forget_idle_nodes();
        self.check_order(requests)?;
        let (mut rolled, mut surged) = (BTreeSet::new(), BTreeSet::new());
        for request in requests {
            self.take_in(request, &mut rolled, &mut surged)?;
        }
        rolled.iter().try_for_each(|set| self.unavailability(set))?;
        surged.iter().try_for_each(|set| self.surge(set))?;
        self.check_events(requests)?;
        if all {
            self.check_progress(wake_at)?;
        }
        Ok(())
    }

    fn take_in(
        &mut self,
        request: &Request,
        rolled: &mut BTreeSet<Key>,
        surged: &mut BTreeSet<Key>,
    ) -> Result<(), Violation> {
        match request {
            Request::CreatePod { set, .. } => {
                if self.create(request)? {
                    surged.insert(set.clone());
                }
            }
            Request::DeletePod { set, .. } => {
                if self.delete(request)? {
                    rolled.insert(set.clone());
                }
            }
            Request::PatchPod { .. } => self.patch_pod(request)?,
            Request::CreateRevision { .. }
            | Request::PatchRevision { .. }
            | Request::DeleteRevision { .. } => self.change_revision(request)?,
            Request::WriteStatus { .. } => self.write_status(request)?,
            Request::Event { .. } => {}
        }
        Ok(())
    }

    /// Sets that nodes need come first, then those that the cluster needs, then the others.
    fn check_order(&self, requests: &[Request]) -> Result<(), Violation> {
        let pods = requests.iter().filter(|request| {
            matches!(
                request,
                Request::CreatePod { .. } | Request::DeletePod { .. }
            )
        });
        let ranked = pods.filter_map(|r| Some((self.known.sets.get(r.set())?.set.rank(), r)));
        let mut last = 0;
        for (rank, request) in ranked {
            ensure!(
                last <= rank,
                "order",
                "a request of {} comes after one of a less critical set",
                request.set()
            );
            last = rank;
        }
        Ok(())
    }

    /// The set of a request, if it is the one that is known, and its work.
    fn set_of(&self, request: &Request) -> Result<(&KnownSet, &Work), Violation> {
        let key = request.set();
        let found = self.known.sets.get(key);
        let work = found.and_then(|found| self.work.get(&found.set.uid));
        let Some((set, work)) = found.zip(work) else {
            let text = format!("a request for {key}, which does not exist: {request:?}");
            return Err(("no set", text));
        };
        ensure!(
            set.is_worked_on(),
            "set is left alone",
            "a request for {key}, which is being deleted or has no usable selector: {request:?}"
        );
        Ok((set, work))
    }

    /// The work of a set that exists.
    fn work_mut(&mut self, key: &Key) -> Option<&mut Work> {
        let uid = &self.known.sets.get(key)?.set.uid;
        self.work.get_mut(uid)
    }

    fn is_available(&self, set: &KnownSet, pod: &Pod) -> bool {
        is_available(pod, set.set.min_ready, self.now)
    }

    fn is_updated(&self, set: &KnownSet, pod: &Pod) -> bool {
        let work = self.work.get(&set.set.uid);
        work.is_some_and(|work| pod.hash().is_some_and(|hash| work.hashes.contains(hash)))
    }
}

/// Upstream's `IsPodAvailable`.
pub(crate) fn is_available(pod: &Pod, min_ready: i64, now: i64) -> bool {
    if !pod.ready {
        return false;
    }
    min_ready == 0 || pod.ready_since.is_some_and(|since| since + min_ready < now)
}
