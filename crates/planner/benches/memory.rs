//! What a node and a pod weigh in memory, all that the planner keeps about them included.
//!
//! `cargo bench -p pandaemon-planner --bench memory`
#![expect(clippy::unwrap_used, reason = "a bench fails as a test does")]
#![expect(clippy::print_stdout, reason = "a bench is read")]

#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/weigh.rs"]
mod weigh;

#[global_allocator]
static COUNTED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

fn main() {
    for nodes in [1_000, 10_000, 100_000] {
        let weight = weigh::weigh(nodes);
        println!(
            "{nodes} nodes: {} bytes a node, {} bytes a pod, {} in a rolling update",
            weight.node, weight.pod, weight.pod_in_update
        );
    }
}
