//! Upper bounds: how many nodes a rolling update takes down, and how many surge.

use super::{KnownPod, KnownSet, Oracle, placement::Fit};
use crate::{
    objects::Strategy,
    request::{Violation, ensure},
    value::{Key, Text},
};

impl Oracle {
    /// After deletions that only the budget allows: no more nodes without an available pod than
    /// `maxUnavailable`.
    pub(super) fn unavailability(&self, key: &Key) -> Result<(), Violation> {
        let set = &self.known.sets[key];
        let Strategy::Rolling(limit) = set.set.strategy else {
            return Ok(());
        };
        let desired = self.desired(set);
        let serves = |node: &&&Text| {
            self.known
                .pods_on(set, node)
                .any(|known| known.is_active() && self.is_available(set, &known.pod))
        };
        let down = desired.len() - desired.iter().filter(serves).count();
        let limit = limit.of(desired.len()).max(1);
        ensure!(
            down <= limit,
            "budget",
            "{key}: {down} of {} nodes are down, {limit} may be",
            desired.len()
        );
        Ok(())
    }

    /// After surges: no more nodes with an available old pod and a new one that is not available
    /// yet than `maxSurge`.
    pub(super) fn surge(&self, key: &Key) -> Result<(), Violation> {
        let set = &self.known.sets[key];
        let Strategy::Surge(limit) = set.set.strategy else {
            return Ok(());
        };
        let desired = self.desired(set);
        let surging = desired.iter().filter(|node| self.surges(set, node)).count();
        let limit = limit.of(desired.len());
        ensure!(
            surging <= limit,
            "surge",
            "{key}: {surging} of {} nodes surge, {limit} may",
            desired.len()
        );
        Ok(())
    }

    fn surges(&self, set: &KnownSet, node: &str) -> bool {
        let pods: Vec<&KnownPod> = self
            .known
            .pods_on(set, node)
            .filter(|known| known.is_active())
            .collect();
        let (new, old): (Vec<&&KnownPod>, Vec<&&KnownPod>) = pods
            .iter()
            .partition(|known| self.is_updated(set, &known.pod));
        let available = |known: &&KnownPod| self.is_available(set, &known.pod);
        let work = self.work.get(&set.set.uid);
        let asked = work.is_some_and(|work| work.creating.contains_key(node));
        (asked || !new.is_empty())
            && !new.iter().any(|known| available(known))
            && old.iter().any(|known| available(known))
    }

    /// The nodes that should run a set.
    fn desired(&self, set: &KnownSet) -> Vec<&Text> {
        let nodes = self.known.nodes.values();
        let nodes = nodes.filter(|node| set.demands.fit(node) == Fit::Run);
        nodes.map(|node| &node.name).collect()
    }
}
