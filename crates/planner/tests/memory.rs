//! What a node and a pod may weigh. `cargo bench --bench memory` prints what they do weigh, also for
//! 100,000 nodes.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "../benches/support/fleet.rs"]
mod fleet;
#[path = "../benches/support/weigh.rs"]
mod weigh;

#[global_allocator]
static COUNTED: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

#[test]
fn nodes_and_pods_are_light() {
    let weight = weigh::weigh(5_000);
    assert!(weight.node <= 600, "{} bytes a node", weight.node);
    assert!(weight.pod <= 400, "{} bytes a pod", weight.pod);
    let busy = weight.pod_in_update;
    assert!(busy <= 450, "{busy} bytes a pod in an update");
}
