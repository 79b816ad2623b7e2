//! What the planner spends on each pod of a whole rollout: plans, replies, the watch's events, status.
//! Only its own time is counted, not that of the cluster around it.
//!
//! `cargo bench -p pandaemon-planner --bench rollout`
#![expect(clippy::unwrap_used, reason = "a bench fails as a test does")]
#![expect(clippy::print_stdout, reason = "a bench is read")]
#![expect(dead_code, reason = "what the other benches ask of a fleet")]

#[path = "support/fleet.rs"]
mod fleet;

use std::time::Duration;

use pandaemon_planner::Event;

use crate::fleet::{Fleet, daemon_set};

fn per_pod(spent: Duration, nodes: usize) -> f64 {
    spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(nodes).unwrap())
}

fn main() {
    for nodes in [1_000, 5_000, 100_000] {
        let (mut apply, mut update) = (f64::MAX, f64::MAX);
        for _ in 0..3 {
            let mut fleet = Fleet::new(nodes);
            fleet.tell(Event::Set(Box::new(daemon_set("v1", 1, "10%"))));
            fleet.spent = Duration::ZERO;
            fleet.settle();
            apply = apply.min(per_pod(fleet.spent, nodes));
            fleet.tell(Event::Set(Box::new(daemon_set("v2", 2, "10%"))));
            fleet.spent = Duration::ZERO;
            fleet.settle();
            update = update.min(per_pod(fleet.spent, nodes));
        }
        println!("{nodes} nodes: apply {apply:.2} us a pod, rolling update {update:.2} us a pod");
    }
}
