//! CPU time per pod of a whole rollout: plans, replies, watch events and status, and the small cost
//! of the simulated cluster.
//!
//! `cargo bench -p pandaemon-planner --bench rollout`
#![expect(
    clippy::disallowed_methods,
    reason = "the processor's time is read from a file"
)]
#![expect(clippy::unwrap_used, reason = "a bench fails as a test does")]
#![expect(clippy::print_stdout, reason = "a bench is read")]
#![expect(dead_code, reason = "helpers that only the other benches use")]

#[path = "support/bench_cluster.rs"]
mod bench_cluster;

use pandaemon_planner::Event;

use crate::bench_cluster::{BenchCluster, daemon_set};

/// CPU time of this thread in nanoseconds, unlike wall time not affected by other processes.
fn ran() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse().unwrap()
}

/// Microseconds per pod until every node runs the new template.
fn roll_out(cluster: &mut BenchCluster, generation: i64, nodes: usize) -> f64 {
    let image = format!("v{generation}");
    let begin = ran();
    cluster.tell(Event::Set(Box::new(daemon_set(&image, generation, "10%"))));
    cluster.settle();
    let spent = f64::from(u32::try_from((ran() - begin) / 1000).unwrap());
    spent / f64::from(u32::try_from(nodes).unwrap())
}

fn main() {
    for nodes in [1_000, 5_000, 100_000] {
        let (mut apply, mut update) = (f64::MAX, f64::MAX);
        for _ in 0..3 {
            let mut cluster = BenchCluster::new(nodes);
            apply = apply.min(roll_out(&mut cluster, 1, nodes));
            update = update.min(roll_out(&mut cluster, 2, nodes));
        }
        println!("{nodes} nodes: apply {apply:.2} us a pod, rolling update {update:.2} us a pod");
    }
}
