//! What one event costs at 100, 10,000 and 100,000 nodes: it should not depend on their number.
//!
//! `cargo bench -p pandaemon-planner`
#![expect(clippy::unwrap_used, reason = "a bench fails as a test does")]

#[path = "support/fleet.rs"]
mod fleet;

use divan::{Bencher, counter::ItemsCount};
use pandaemon_planner::Event;

use crate::fleet::{Fleet, NOW, daemon_set, node};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [100, 10_000, 100_000];

impl Fleet {
    /// A fleet on every node of which the daemon runs.
    fn settled(nodes: usize) -> Self {
        let mut fleet = Self::new(nodes);
        fleet.tell(Event::Set(Box::new(daemon_set("v1", 1, "10%"))));
        fleet.settle();
        fleet
    }

    /// Takes in one event and plans; what is to be done is left for later.
    fn tell_and_plan(&mut self, event: Event) -> usize {
        self.tell(event);
        self.last = self.plan();
        self.last.len()
    }

    /// Carries out what was left for later.
    fn perform_last(&mut self) {
        for action in std::mem::take(&mut self.last) {
            self.carry_out(action);
        }
    }

    /// A pod that is ready stops being so, and the other way round.
    fn flip(&mut self, number: usize) -> Event {
        self.version += 1;
        let pod = self.pods.get_mut(number).unwrap();
        pod.resource_version = self.version;
        pod.ready = !pod.ready;
        pod.ready_since = pod.ready.then_some(NOW);
        Event::Pod(Box::new(pod.clone()))
    }

    /// The newest pod is gone.
    fn end_newest(&mut self) -> Event {
        self.version += 1;
        Event::PodGone {
            uid: self.pods.pop().unwrap().uid,
            resource_version: self.version,
        }
    }
}

/// A heartbeat: the node is as it was.
#[divan::bench(args = SIZES)]
fn heartbeat(bencher: Bencher<'_, '_>, nodes: usize) {
    let mut fleet = Fleet::settled(nodes);
    bencher
        .with_inputs(|| Event::Node(node(nodes / 2, "ssd")))
        .bench_local_values(move |event| {
            fleet.tell(event);
            fleet.plan().len()
        });
}

/// A label of a node changes that no DaemonSet asks for.
#[divan::bench(args = SIZES)]
fn node_label_changes(bencher: Bencher<'_, '_>, nodes: usize) {
    let mut fleet = Fleet::settled(nodes);
    let mut turn = 0_usize;
    bencher
        .with_inputs(move || {
            turn += 1;
            let disk = if turn.is_multiple_of(2) { "ssd" } else { "hdd" };
            Event::Node(node(nodes / 2, disk))
        })
        .bench_local_values(move |event| {
            fleet.tell(event);
            fleet.plan().len()
        });
}

/// A node joins: the plan makes its pod.
#[divan::bench(args = SIZES)]
fn node_joins(bencher: Bencher<'_, '_>, nodes: usize) {
    let fleet = std::cell::RefCell::new(Fleet::settled(nodes));
    let mut next = nodes;
    bencher
        .with_inputs(|| {
            // What came of the last one is no part of this.
            let mut fleet = fleet.borrow_mut();
            fleet.perform_last();
            fleet.settle();
            next += 1;
            Event::Node(node(next, "ssd"))
        })
        .bench_local_values(|event| fleet.borrow_mut().tell_and_plan(event));
}

/// A pod becomes ready or stops being so, and the status with it.
#[divan::bench(args = SIZES)]
fn pod_becomes_ready(bencher: Bencher<'_, '_>, nodes: usize) {
    let fleet = std::cell::RefCell::new(Fleet::settled(nodes));
    bencher
        .with_inputs(|| {
            let mut fleet = fleet.borrow_mut();
            fleet.perform_last();
            fleet.settle();
            fleet.flip(nodes / 2)
        })
        .bench_local_values(|event| fleet.borrow_mut().tell_and_plan(event));
}

/// A pod is gone: the plan makes another.
#[divan::bench(args = SIZES)]
fn pod_deleted(bencher: Bencher<'_, '_>, nodes: usize) {
    let fleet = std::cell::RefCell::new(Fleet::settled(nodes));
    bencher
        .with_inputs(|| {
            let mut fleet = fleet.borrow_mut();
            fleet.perform_last();
            fleet.settle();
            fleet.end_newest()
        })
        .bench_local_values(|event| fleet.borrow_mut().tell_and_plan(event));
}

/// The template changes: every node is looked at again. Per node.
#[divan::bench(args = SIZES, sample_count = 10)]
fn template_edit_per_node(bencher: Bencher<'_, '_>, nodes: usize) {
    let fleet = std::cell::RefCell::new(Fleet::settled(nodes));
    let mut generation = 1;
    bencher
        .counter(ItemsCount::new(nodes))
        .with_inputs(|| {
            fleet.borrow_mut().settle();
            generation += 1;
            let image = format!("v{generation}");
            Event::Set(Box::new(daemon_set(&image, generation, "1%")))
        })
        .bench_local_values(|event| {
            let mut fleet = fleet.borrow_mut();
            fleet.tell(event);
            // The first plan writes the revision, the second begins to update.
            fleet.step();
            fleet.step()
        });
}

/// Every pod of the fleet is told of again, as after a new list: nothing is new.
#[divan::bench(args = SIZES, sample_count = 3)]
fn relist_per_pod(bencher: Bencher<'_, '_>, nodes: usize) {
    let mut fleet = Fleet::settled(nodes);
    bencher
        .counter(ItemsCount::new(nodes))
        .with_inputs(|| fleet.pods.clone())
        .bench_local_values(|pods| {
            for pod in pods {
                fleet.planner.observe(Event::Pod(Box::new(pod)), NOW);
            }
            fleet.planner.plan(NOW).actions.len()
        });
}
