//! Lower bounds: what a plan must not leave undone. A budget that is free is used, a node without a
//! pod gets one, a refused request is repeated in time; whatever other nodes are refused.

use super::{
    KnownPod, KnownSet, Oracle,
    placement::Fit,
    work::{Target, Work},
};
use crate::{
    objects::{Phase, Strategy},
    request::{Violation, ensure},
    value::Text,
};

/// A node as a rolling update sees it.
struct NodePods<'a> {
    node: Text,
    fit: Option<Fit>,
    /// The pods that are neither being deleted nor asked to be.
    active: Vec<&'a KnownPod>,
    /// A creation is under way or unanswered.
    creating: bool,
    /// A deletion was refused, or is requested and not seen: what comes of it is open.
    unsettled: bool,
    /// All pods are the set's already.
    owned: bool,
}

impl Oracle {
    /// Checks, after a plan was taken in, that it left nothing undone.
    pub(super) fn check_progress(&self, wake_at: Option<i64>) -> Result<(), Violation> {
        for set in self.known.sets.values().filter(|set| set.is_worked_on()) {
            let Some(work) = self.work.get(&set.set.uid) else {
                continue;
            };
            // Until the template has its revision, nothing is planned but revisions.
            if !self.has_settled_revision(set) {
                continue;
            }
            self.check_patches(set, work)?;
            let nodes: Vec<NodePods<'_>> = self
                .known
                .nodes_of(set)
                .into_iter()
                .map(|node| self.node_pods(set, work, node))
                .collect();
            if !work.may_hold_deletions() {
                nodes
                    .iter()
                    .try_for_each(|node| self.check_deletions(set, work, node))?;
            }
            self.check_wake(set, &nodes, wake_at)?;
            self.check_creations(set, work, &nodes)?;
            match set.set.strategy {
                Strategy::OnDelete => {}
                Strategy::Rolling(limit) => {
                    let limit = limit.of(self.known.desired(set));
                    self.check_rolling(set, work, &nodes, limit)?;
                }
                Strategy::Surge(limit) => {
                    let limit = limit.of(self.known.desired(set));
                    self.check_surge(set, work, &nodes, limit)?;
                }
            }
            self.check_status(set, work)?;
        }
        Ok(())
    }

    fn node_pods<'a>(&'a self, set: &'a KnownSet, work: &Work, node: Text) -> NodePods<'a> {
        let pods: Vec<&KnownPod> = self
            .known
            .pods_on(set, &node)
            .filter(|known| known.is_present())
            .collect();
        let refused = work.failures(&Target::Delete(node.clone())).is_some();
        NodePods {
            fit: self.known.fit(set, &node),
            creating: work.creating.contains_key(&node),
            unsettled: refused
                || pods
                    .iter()
                    .any(|known| known.delete_sent && !known.pod.deleting),
            owned: pods.iter().all(|known| known.pod.owner.is_some()),
            active: pods.into_iter().filter(|known| known.is_active()).collect(),
            node,
        }
    }

    /// Orphans that match are adopted, and owned pods that do not match are released.
    fn check_patches(&self, set: &KnownSet, work: &Work) -> Result<(), Violation> {
        if !work.patching.is_empty() {
            return Ok(());
        }
        let due = self.known.pods.keys().find(|uid| {
            self.is_to_patch(set, uid) && work.is_due(&Target::Patch((*uid).clone()), self.now)
        });
        ensure!(
            due.is_none(),
            "progress: patch",
            "{due:?} waits for its adoption or release by {}",
            set.set.key
        );
        Ok(())
    }

    /// Pods that must go whatever the budget says.
    fn check_deletions(
        &self,
        set: &KnownSet,
        work: &Work,
        node: &NodePods<'_>,
    ) -> Result<(), Violation> {
        let may_stay = matches!(node.fit, Some(Fit::Run | Fit::Keep));
        let keeps_failed = self
            .failed_pods_wait(set, &node.node)
            .is_some_and(|until| self.now < until);
        let failed = node.active.iter().filter(|p| p.pod.phase == Phase::Failed);
        let one_failed = failed.count() == 1;
        let running = node.active.iter().filter(|p| !p.pod.is_ended());
        let oldest = running.min_by_key(|known| known.pod.age());
        for known in &node.active {
            let pod = &known.pod;
            let must_go = match node.fit {
                Some(Fit::No) => true,
                None => pod.node.is_none(),
                Some(Fit::Run | Fit::Keep) => match pod.phase {
                    Phase::Failed => one_failed && !keeps_failed,
                    Phase::Succeeded => true,
                    Phase::Pending | Phase::Running => {
                        may_stay
                            && !node.unsettled
                            && !set.set.is_surge()
                            && oldest.is_some_and(|o| o.pod.uid != pod.uid)
                    }
                },
            };
            let due = pod.owner.is_some()
                && known.delete_waits < self.now
                && work.is_due(&Target::Delete(node.node.clone()), self.now);
            ensure!(
                !(must_go && due && node.owned),
                "progress: deletion",
                "{} on {} ({:?}) must go, and stays",
                pod.key,
                node.node,
                node.fit
            );
        }
        Ok(())
    }

    /// Nodes without a pod get one as far as the slow start allows; unanswered requests are
    /// repeated.
    fn check_creations(
        &self,
        set: &KnownSet,
        work: &Work,
        nodes: &[NodePods<'_>],
    ) -> Result<(), Violation> {
        if work.window.least <= work.creations() {
            return Ok(());
        }
        let overdue = work.creating.iter().find(|(node, creating)| {
            let wanted = self.known.fit(set, node) == Some(Fit::Run);
            wanted && !creating.sent && work.is_due(&Target::Create((*node).clone()), self.now)
        });
        ensure!(
            overdue.is_none(),
            "progress: unanswered",
            "the request for {overdue:?} was not answered, and is not repeated"
        );
        let missing = nodes.iter().find(|node| {
            let present = self.known.pods_on(set, &node.node);
            node.fit == Some(Fit::Run)
                && !node.creating
                && present.filter(|known| known.is_present()).count() == 0
                && work.is_due(&Target::Create(node.node.clone()), self.now)
        });
        ensure!(
            missing.is_none(),
            "progress: creation",
            "{} has no pod of {}, which {} of {} creations under way would allow",
            missing.map_or("", |node| &*node.node),
            set.set.key,
            work.creations(),
            work.window.least
        );
        Ok(())
    }

    /// A rolling update replaces what is down at once, and uses its budget.
    fn check_rolling(
        &self,
        set: &KnownSet,
        work: &Work,
        nodes: &[NodePods<'_>],
        limit: usize,
    ) -> Result<(), Violation> {
        if work.may_hold_deletions() {
            return Ok(());
        }
        let (mut down, mut candidate) = (0, None);
        for node in nodes {
            let (new, old): (Vec<&&KnownPod>, Vec<&&KnownPod>) = node
                .active
                .iter()
                .partition(|known| self.is_updated(set, &known.pod));
            let target = Target::Delete(node.node.clone());
            let due = work.is_due(&target, self.now);
            let free = due && !node.creating && node.owned && !node.unsettled;
            // A deletion that was not answered may take effect yet.
            let unclear = node.active.iter().any(|known| known.delete_unclear);
            match (&*new, &*old) {
                _ if unclear => down += 1,
                ([new], []) if self.is_available(set, &new.pod) => {}
                ([], [old]) if !node.creating && self.is_available(set, &old.pod) => {
                    if free {
                        candidate = Some(node);
                    }
                }
                ([], [old]) if free => {
                    let text = format!("{} is outdated and down, and stays", old.pod.key);
                    return Err(("progress: down", text));
                }
                _ => down += 1,
            }
        }
        // Both limits zero mean one node.
        let limit = limit.max(usize::from(self.known.desired(set) > 0));
        ensure!(
            limit <= down || candidate.is_none(),
            "progress: budget",
            "{down} of {limit} nodes of {} are down, and the old pod of {} stays",
            set.set.key,
            candidate.map_or("", |node| &*node.node)
        );
        Ok(())
    }

    /// With surge, replaced pods go, and new ones come as the limit allows.
    fn check_surge(
        &self,
        set: &KnownSet,
        work: &Work,
        nodes: &[NodePods<'_>],
        limit: usize,
    ) -> Result<(), Violation> {
        let (mut surging, mut candidate) = (0, None);
        for node in nodes {
            let (new, old): (Vec<&&KnownPod>, Vec<&&KnownPod>) = node
                .active
                .iter()
                .partition(|known| self.is_updated(set, &known.pod));
            let target = Target::Delete(node.node.clone());
            let due = work.is_due(&target, self.now);
            let free = due && !node.creating && node.owned && !node.unsettled;
            match (&*new, &*old) {
                // A deletion that was not answered may take effect yet.
                (_, [old]) if old.delete_unclear => surging += 1,
                ([new], [old]) if free && self.is_available(set, &new.pod) => {
                    ensure!(
                        work.may_hold_deletions(),
                        "progress: replaced",
                        "{} is replaced, and stays",
                        old.pod.key
                    );
                }
                ([], [old]) if free && node.fit == Some(Fit::Run) && !old.pod.is_ended() => {
                    if work.is_due(&Target::Create(node.node.clone()), self.now) {
                        let down = !self.is_available(set, &old.pod);
                        candidate = Some((node, down));
                    }
                }
                ([_] | [], []) => {}
                _ => surging += 1,
            }
            if let Some((node, true)) = candidate {
                ensure!(
                    work.window.least <= work.creations(),
                    "progress: surge",
                    "the only pod of {} is old and down, and none is created beside it",
                    node.node
                );
            }
        }
        ensure!(
            limit <= surging || work.window.least <= work.creations() || candidate.is_none(),
            "progress: surge",
            "{surging} of {limit} nodes of {} surge, and {} does not",
            set.set.key,
            candidate.map_or("", |(node, _)| &*node.node)
        );
        Ok(())
    }

    /// The planner wakes when a pod becomes available, and when a failed one may go.
    fn check_wake(
        &self,
        set: &KnownSet,
        nodes: &[NodePods<'_>],
        wake_at: Option<i64>,
    ) -> Result<(), Violation> {
        for node in nodes {
            let available = node.active.iter().filter_map(|known| {
                let since = known.pod.ready_since.filter(|_| known.pod.ready)?;
                (set.set.min_ready > 0).then_some(since + set.set.min_ready + 1)
            });
            let waits =
                node.owned && !node.unsettled && matches!(node.fit, Some(Fit::Run | Fit::Keep));
            let failed = node.active.iter().filter(|p| p.pod.phase == Phase::Failed);
            // A deletion that has failed may wait longer.
            let retried = failed.map(|known| known.delete_waits).max();
            let retried = retried.filter(|_| waits);
            let kept = self.failed_pods_wait(set, &node.node);
            let failed = kept.zip(retried).map(|(kept, retried)| kept.max(retried));
            let next = available.chain(failed).filter(|at| self.now < *at).min();
            ensure!(
                next.is_none_or(|next| wake_at.is_some_and(|wake_at| wake_at <= next)),
                "progress: wake",
                "{} of {} changes at {next:?}, and the planner wakes at {wake_at:?}",
                node.node,
                set.set.key
            );
        }
        Ok(())
    }
}
