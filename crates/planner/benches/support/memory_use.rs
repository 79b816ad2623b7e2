//! Measures the memory that the planner keeps, with a counting allocator.

use std::collections::VecDeque;

use pandaemon_planner::Event;

use crate::{
    COUNTED,
    bench_cluster::{BenchCluster, daemon_set},
};

/// Heap bytes per node and per pod.
pub(crate) struct MemoryUse {
    pub(crate) node: usize,
    pub(crate) pod: usize,
    /// When every pod is outdated, and a tenth of them are being replaced.
    pub(crate) pod_in_update: usize,
}

impl BenchCluster {
    /// Drops everything but the planner.
    fn forget(&mut self) {
        (self.pods, self.events, self.last) = (Vec::new(), VecDeque::new(), Vec::new());
    }
}

pub(crate) fn measure(nodes: usize) -> MemoryUse {
    let start = COUNTED.current_usage();
    let mut cluster = BenchCluster::new(nodes);
    let with_nodes = COUNTED.current_usage();
    cluster.decode = true;
    cluster.tell(Event::Set(Box::new(daemon_set("v1", 1, "10%"))));
    cluster.settle();
    assert_eq!(cluster.planner.known(), [1, nodes, nodes]);
    cluster.forget();
    let with_pods = COUNTED.current_usage();
    cluster.tell(Event::Set(Box::new(daemon_set("v2", 2, "10%"))));
    cluster.step();
    cluster.step();
    cluster.forget();
    let in_update = COUNTED.current_usage();
    MemoryUse {
        node: (with_nodes - start) / nodes,
        pod: (with_pods - with_nodes) / nodes,
        pod_in_update: (in_update - with_nodes) / nodes,
    }
}
