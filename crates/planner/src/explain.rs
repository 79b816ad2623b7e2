//! Why a set is, or is not, on a node: the words for people, and the sums counted afresh.

use pandaemon_placement::DaemonFit;
use pandaemon_types::{Name, NodeView, Phase, Timestamp};

use crate::{
    action::{Hold, Stance, Verdict, Wait},
    cell::{Cell, Class, Mode, Placement, PodState, assess},
    index::{NodeId, Planner, PodId},
    set::{Set, Tally},
    view::SetKey,
};

impl Planner {
    /// How a set stands to every node, in the order of their names.
    #[must_use]
    pub fn explain(&self, key: &SetKey, now: Timestamp) -> Vec<Verdict> {
        let Some(set) = self.sets.get(key) else {
            return Vec::new();
        };
        let verdict = |(number, node): (NodeId, &NodeView)| {
            let stance = self.stance(set, number, now)?;
            Some(Verdict {
                set: key.clone(),
                node: Name::clone(&node.name),
                stance,
            })
        };
        self.roster.iter().filter_map(verdict).collect()
    }

    /// How a set stands to a node; `None` if neither the node nor a pod on it exists.
    pub(crate) fn stance(&self, set: &Set, node: NodeId, now: Timestamp) -> Option<Stance> {
        let fit = self.placement(set, node);
        let cell = set.cells.get(node);
        let reason = match fit {
            Some(DaemonFit::Keep(reason) | DaemonFit::No(reason)) => Some(reason),
            Some(DaemonFit::Run) | None => None,
        };
        let Some(cell) = cell else {
            return reason.map(Stance::Skips);
        };
        let pods: Vec<&PodState> = cell
            .pods
            .iter()
            .filter_map(|number| self.pods.get(*number))
            .collect();
        let active: Vec<&PodState> = pods.iter().copied().filter(|pod| !pod.leaving()).collect();
        if cell.creating.as_ref().is_some_and(|creating| creating.sent) {
            return Some(Stance::Creates);
        }
        if active.is_empty() {
            return self.stance_without_pod(set, cell, reason, pods.is_empty(), now);
        }
        if let Some(wait) = cell.back_off.as_deref().map(|wait| wait.until())
            && now < wait
            && active.iter().all(|pod| pod.phase == Phase::Failed)
        {
            return Some(Stance::Waits(Wait::BackOff(wait)));
        }
        if let (Some(reason), Placement::Keep) = (&reason, cell.placement) {
            return Some(Stance::Keeps(reason.clone()));
        }
        let facts = set.facts(now);
        let mut active = active;
        if active.iter().any(|pod| !pod.phase.is_terminal()) {
            active.retain(|pod| !pod.phase.is_terminal());
        }
        if let Some(new) = active.iter().find(|pod| facts.is_updated(pod))
            && active.len() == 1
        {
            let available = facts.is_available(new);
            return Some(if available {
                Stance::Runs
            } else {
                Stance::Starts
            });
        }
        Some(Stance::Holds(hold(set, &cell.class)))
    }

    fn stance_without_pod(
        &self,
        set: &Set,
        cell: &Cell,
        reason: Option<pandaemon_placement::Reason>,
        empty: bool,
        now: Timestamp,
    ) -> Option<Stance> {
        if let Some(creating) = &cell.creating {
            return Some(Stance::Waits(Wait::Until(creating.retry_at)));
        }
        if !empty {
            return Some(Stance::Ends);
        }
        if let Some(reason) = reason {
            return Some(Stance::Skips(reason));
        }
        if cell.placement == Placement::Gone {
            return None;
        }
        let until = set.pace.retry_at.filter(|at| now < *at);
        Some(Stance::Waits(match until {
            _ if set.current.is_none() => Wait::Revision,
            Some(until) => Wait::Until(until),
            None => Wait::Turn,
        }))
    }

    /// The pods of a cell.
    pub(crate) fn pods_of(&self, cell: &Cell) -> Vec<(PodId, &PodState)> {
        let numbers = cell.pods.iter();
        numbers
            .filter_map(|number| Some((*number, self.pods.get(*number)?)))
            .collect()
    }

    /// The sums counted from scratch: what the incremental ones must equal.
    pub(crate) fn recount(&self, set: &Set, now: Timestamp) -> Tally {
        let mut tally = Tally::default();
        for (node, cell) in set.cells.iter::<NodeId>() {
            if set.touched.contains(&node) {
                tally.add(cell.counts, cell.class);
                continue;
            }
            let answer = assess(cell, &self.pods_of(cell), &set.facts(now));
            tally.add(answer.counts, answer.class);
        }
        tally
    }

    /// Counts everything of every set from scratch and compares with the sums that were kept; the
    /// names of the sets whose sums differ.
    #[must_use]
    pub fn miscounted(&self, now: Timestamp) -> Vec<SetKey> {
        let differs = |set: &Set| {
            set.touched.is_empty() && !set.view.deleting && set.tally != self.recount(set, now)
        };
        self.sets
            .iter()
            .filter(|(_, set)| differs(set))
            .map(|(key, _)| key.clone())
            .collect()
    }
}

fn hold(set: &Set, class: &Class) -> Hold {
    let (down, surge) = set.limits();
    match set.mode() {
        Mode::OnDelete => Hold::OnDelete,
        Mode::Rolling => Hold::Budget {
            down: set.tally.down,
            limit: down,
        },
        Mode::Surge if *class == Class::Surging => Hold::Replacement,
        Mode::Surge => Hold::Surge {
            surging: set.tally.surging,
            limit: surge,
        },
    }
}
