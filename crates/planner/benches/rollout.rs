//! The processor's time for each pod of a whole rollout: plans, replies, the watch's events, status; the
//! little that the pretended cluster costs included.
//!
//! `cargo bench -p pandaemon-planner --bench rollout`
#![expect(clippy::unwrap_used, reason = "a bench fails as a test does")]
#![expect(clippy::print_stdout, reason = "a bench is read")]
#![expect(dead_code, reason = "what the other benches ask of a fleet")]

#[path = "support/fleet.rs"]
mod fleet;

use pandaemon_planner::Event;

use crate::fleet::{Fleet, daemon_set};

/// The nanoseconds that this thread has run: others on the machine do not count.
fn ran() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse().unwrap()
}

/// Microseconds a pod, until the template has reached every node.
fn roll_out(fleet: &mut Fleet, generation: i64, nodes: usize) -> f64 {
    let image = format!("v{generation}");
    let begin = ran();
    fleet.tell(Event::Set(Box::new(daemon_set(&image, generation, "10%"))));
    fleet.settle();
    let spent = f64::from(u32::try_from((ran() - begin) / 1000).unwrap());
    spent / f64::from(u32::try_from(nodes).unwrap())
}

fn main() {
    for nodes in [1_000, 5_000, 100_000] {
        let (mut apply, mut update) = (f64::MAX, f64::MAX);
        for _ in 0..3 {
            let mut fleet = Fleet::new(nodes);
            apply = apply.min(roll_out(&mut fleet, 1, nodes));
            update = update.min(roll_out(&mut fleet, 2, nodes));
        }
        println!("{nodes} nodes: apply {apply:.2} us a pod, rolling update {update:.2} us a pod");
    }
}
