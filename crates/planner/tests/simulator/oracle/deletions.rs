//! Checks of deletions. Whatever reason a plan gives, the oracle finds out itself which ones hold.

use std::collections::BTreeSet;

use super::{
    KnownPod, KnownSet, Oracle,
    placement::Fit,
    work::{BURST, FailedPods, Target, check_pause},
};
use crate::{
    objects::{Phase, Strategy},
    request::{Reason, Request, Violation, ensure},
    value::Text,
};

impl Oracle {
    /// Checks a deletion and takes it in. Returns whether only the budget allows it.
    pub(super) fn delete(&mut self, request: &Request) -> Result<bool, Violation> {
        let Request::DeletePod {
            set: key,
            node,
            name,
            uid,
            reason,
            ..
        } = request
        else {
            return Ok(false);
        };
        let (set, work) = self.set_of(request)?;
        let Some(known) = self.known.pods.get(uid) else {
            return Err((
                "delete: unknown",
                format!("deletes {name}, which is unknown"),
            ));
        };
        ensure!(
            known.pod.is_owned_by(&set.set.uid),
            "delete: not its own",
            "deletes {name} ({reason:?}), which {key} does not own"
        );
        ensure!(
            known.is_active(),
            "delete: twice",
            "deletes {name} a second time"
        );
        ensure!(
            work.deleting < BURST,
            "burst",
            "{} deletions of {key} are under way",
            work.deleting
        );
        check_pause(work, &Target::Delete(node.clone()), self.now)?;
        let grounds = self.grounds(set, node, known);
        ensure!(
            !grounds.is_empty(),
            "delete: may stay",
            "deletes {name} on {node} because `{reason:?}`, but nothing speaks against it"
        );
        ensure!(
            grounds.contains(reason),
            "delete: wrong reason",
            "deletes {name} on {node} because `{reason:?}`, which does not hold; {grounds:?} do"
        );
        let by_budget = grounds.iter().all(|ground| *ground == Reason::Outdated);
        let generation = set.set.generation;
        let failed = FailedPods::next(work.failed_pods.get(node).copied(), generation, self.now);
        let (node, uid, reason) = (node.clone(), uid.clone(), *reason);
        let pod_name = name.to_string();
        if let Some(work) = self.work_mut(key) {
            work.deleting += 1;
            match reason {
                Reason::Failed => {
                    work.failed_pods.insert(node, failed);
                    work.events.push(("FailedDaemonPod", pod_name));
                }
                Reason::Succeeded => work.events.push(("SucceededDaemonPod", pod_name)),
                _ => {}
            }
        }
        if let Some(known) = self.known.pods.get_mut(&uid) {
            known.delete_sent = true;
            known.delete_failed = false;
        }
        Ok(by_budget)
    }

    /// The reasons for which a pod may be deleted now.
    fn grounds(&self, set: &KnownSet, node: &Text, known: &KnownPod) -> BTreeSet<Reason> {
        let pod = &known.pod;
        let mut grounds = BTreeSet::new();
        let fit = self.known.fit(set, node);
        match fit {
            Some(Fit::No) => drop(grounds.insert(Reason::Misplaced)),
            None if pod.node.is_none() => drop(grounds.insert(Reason::NoNode)),
            Some(Fit::Run | Fit::Keep) if pod.phase == Phase::Failed => {
                let until = self.failed_pods_wait(set, node);
                let wait = until.filter(|until| self.now < *until);
                grounds.extend(wait.is_none().then_some(Reason::Failed));
            }
            Some(Fit::Run | Fit::Keep) if pod.phase == Phase::Succeeded => {
                grounds.insert(Reason::Succeeded);
            }
            _ => {}
        }
        let others: Vec<&KnownPod> = self
            .known
            .pods_on(set, node)
            .filter(|other| other.pod.uid != pod.uid && other.is_active())
            .collect();
        let work = self.work.get(&set.set.uid);
        let has_revision = work.is_some_and(|work| !work.hashes.is_empty());
        let updated = self.is_updated(set, pod);
        let same_kind =
            |other: &KnownPod| !set.set.is_surge() || self.is_updated(set, &other.pod) == updated;
        let older = |other: &&KnownPod| {
            !other.pod.is_ended() && other.pod.age() < pod.age() && same_kind(other)
        };
        if !pod.is_ended() && others.iter().any(older) && (has_revision || !set.set.is_surge()) {
            grounds.insert(Reason::Duplicate);
        }
        if has_revision && !updated {
            match set.set.strategy {
                Strategy::OnDelete => {}
                Strategy::Rolling(_) if others.is_empty() => {
                    grounds.insert(if self.is_available(set, pod) {
                        Reason::Outdated
                    } else {
                        Reason::OutdatedDown
                    });
                }
                Strategy::Rolling(_) => {}
                Strategy::Surge(_) => self.surge_grounds(set, known, fit, &others, &mut grounds),
            }
        }
        grounds
    }

    /// With surge, an old pod goes when its replacement serves, or when it serves nobody itself.
    fn surge_grounds(
        &self,
        set: &KnownSet,
        known: &KnownPod,
        fit: Option<Fit>,
        others: &[&KnownPod],
        grounds: &mut BTreeSet<Reason>,
    ) {
        match fit {
            Some(Fit::Run) => {}
            Some(Fit::Keep | Fit::No) => drop(grounds.insert(Reason::Misplaced)),
            None => drop(grounds.insert(Reason::NoNode)),
        }
        let replaced = |other: &&KnownPod| {
            self.is_updated(set, &other.pod)
                && (self.is_available(set, &other.pod)
                    || (!known.pod.ready && !other.pod.is_ended()))
        };
        if others.iter().any(replaced) {
            grounds.insert(Reason::Replaced);
        }
    }

    /// Until when failed pods of a node are kept.
    pub(super) fn failed_pods_wait(&self, set: &KnownSet, node: &str) -> Option<i64> {
        let work = self.work.get(&set.set.uid)?;
        work.failed_pods.get(node)?.until(set.set.generation)
    }
}
