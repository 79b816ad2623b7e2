//! Weighs what the planner keeps, with a counting allocator.

use std::collections::VecDeque;

use pandaemon_planner::Event;

use crate::{
    COUNTED,
    fleet::{Fleet, daemon_set},
};

/// Bytes on the heap, divided by the number of nodes.
pub(crate) struct Weight {
    pub(crate) node: usize,
    pub(crate) pod: usize,
    /// When every pod is outdated, and a tenth of them are being replaced.
    pub(crate) pod_in_update: usize,
}

impl Fleet {
    /// Forgets everything but the planner.
    fn forget(&mut self) {
        (self.pods, self.events, self.last) = (Vec::new(), VecDeque::new(), Vec::new());
    }
}

pub(crate) fn weigh(nodes: usize) -> Weight {
    let start = COUNTED.current_usage();
    let mut fleet = Fleet::new(nodes);
    let with_nodes = COUNTED.current_usage();
    fleet.decode = true;
    fleet.tell(Event::Set(Box::new(daemon_set("v1", 1, "10%"))));
    fleet.settle();
    assert_eq!(fleet.planner.known(), [1, nodes, nodes]);
    fleet.forget();
    let with_pods = COUNTED.current_usage();
    fleet.tell(Event::Set(Box::new(daemon_set("v2", 2, "10%"))));
    fleet.step();
    fleet.step();
    fleet.forget();
    let in_update = COUNTED.current_usage();
    Weight {
        node: (with_nodes - start) / nodes,
        pod: (with_pods - with_nodes) / nodes,
        pod_in_update: (in_update - with_nodes) / nodes,
    }
}
