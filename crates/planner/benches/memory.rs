//! The planner's memory per node and per pod, its indexes included.
//!
//! `cargo bench -p pandaemon-planner --bench memory`
#![expect(clippy::unwrap_used, reason = "a bench fails as a test does")]
#![expect(clippy::print_stdout, reason = "a bench is read")]

#[path = "support/bench_cluster.rs"]
mod bench_cluster;
#[path = "support/memory_use.rs"]
mod memory_use;

#[global_allocator]
static COUNTED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

fn main() {
    for nodes in [1_000, 10_000, 100_000] {
        let memory = memory_use::measure(nodes);
        println!(
            "{nodes} nodes: {} bytes a node, {} bytes a pod, {} in a rolling update",
            memory.node, memory.pod, memory.pod_in_update
        );
    }
}
