//! Totals over the nodes of a set.

use crate::node_state::{Counts, UpdateStep};

/// The totals over all nodes of a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) desired: usize,
    pub(crate) current: usize,
    pub(crate) misscheduled: usize,
    pub(crate) ready: usize,
    pub(crate) available: usize,
    pub(crate) updated: usize,
    pub(crate) down: usize,
    pub(crate) serves: usize,
    pub(crate) surging: usize,
}

impl Totals {
    pub(crate) fn add(&mut self, counts: Counts, step: UpdateStep) {
        for (sum, flag) in self.fields(counts, step) {
            *sum += usize::from(flag);
        }
    }

    pub(crate) fn subtract(&mut self, counts: Counts, step: UpdateStep) {
        for (sum, flag) in self.fields(counts, step) {
            *sum -= usize::from(flag);
        }
    }

    fn fields(&mut self, counts: Counts, step: UpdateStep) -> [(&mut usize, bool); 9] {
        [
            (&mut self.desired, counts.desired),
            (&mut self.current, counts.current),
            (&mut self.misscheduled, counts.misscheduled),
            (&mut self.ready, counts.ready),
            (&mut self.available, counts.available),
            (&mut self.updated, counts.updated),
            (&mut self.down, counts.down),
            (&mut self.serves, counts.serves),
            (&mut self.surging, step == UpdateStep::Surging),
        ]
    }
}
