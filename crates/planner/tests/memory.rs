//! Upper bounds of the planner's memory per node and per pod. `cargo bench --bench memory` prints
//! the measured numbers, also for 100,000 nodes.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../benches/support/bench_cluster.rs"]
mod bench_cluster;
#[path = "../benches/support/memory_use.rs"]
mod memory_use;

#[global_allocator]
static COUNTED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

#[test]
fn memory_per_node_and_pod_is_bounded() {
    let memory = memory_use::measure(5_000);
    assert!(memory.node <= 600, "{} bytes a node", memory.node);
    assert!(memory.pod <= 400, "{} bytes a pod", memory.pod);
    let busy = memory.pod_in_update;
    assert!(busy <= 450, "{busy} bytes a pod in an update");
}
