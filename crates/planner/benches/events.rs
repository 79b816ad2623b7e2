//! The cost of one event at 100, 10,000 and 100,000 nodes: it should not depend on their number.
//!
//! `cargo bench -p pandaemon-planner`
#![expect(clippy::unwrap_used, reason = "a bench fails as a test does")]

#[path = "support/bench_cluster.rs"]
mod bench_cluster;

use divan::{Bencher, counter::ItemsCount};
use pandaemon_planner::Event;

use crate::bench_cluster::{BenchCluster, NOW, daemon_set, node};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [100, 10_000, 100_000];

impl BenchCluster {
    /// A cluster where the daemon runs on every node.
    fn settled(nodes: usize) -> Self {
        let mut cluster = Self::new(nodes);
        cluster.tell(Event::Set(Box::new(daemon_set("v1", 1, "10%"))));
        cluster.settle();
        cluster
    }

    /// Observes one event and plans; the actions are kept in `last`.
    fn tell_and_plan(&mut self, event: Event) -> usize {
        self.tell(event);
        self.last = self.plan();
        self.last.len()
    }

    /// Carries out the actions that were kept in `last`.
    fn perform_last(&mut self) {
        for action in std::mem::take(&mut self.last) {
            self.carry_out(action);
        }
    }

    /// Toggles the readiness of a pod.
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
    let mut cluster = BenchCluster::settled(nodes);
    bencher
        .with_inputs(|| Event::Node(node(nodes / 2, "ssd")))
        .bench_local_values(move |event| {
            cluster.tell(event);
            cluster.plan().len()
        });
}

/// A label of a node changes that no DaemonSet asks for.
#[divan::bench(args = SIZES)]
fn node_label_changes(bencher: Bencher<'_, '_>, nodes: usize) {
    let mut cluster = BenchCluster::settled(nodes);
    let mut turn = 0_usize;
    bencher
        .with_inputs(move || {
            turn += 1;
            let disk = if turn.is_multiple_of(2) { "ssd" } else { "hdd" };
            Event::Node(node(nodes / 2, disk))
        })
        .bench_local_values(move |event| {
            cluster.tell(event);
            cluster.plan().len()
        });
}

/// A node joins: the plan makes its pod.
#[divan::bench(args = SIZES)]
fn node_joins(bencher: Bencher<'_, '_>, nodes: usize) {
    let cluster = std::cell::RefCell::new(BenchCluster::settled(nodes));
    let mut next = nodes;
    bencher
        .with_inputs(|| {
            // Carrying out the previous plan is not measured.
            let mut cluster = cluster.borrow_mut();
            cluster.perform_last();
            cluster.settle();
            next += 1;
            Event::Node(node(next, "ssd"))
        })
        .bench_local_values(|event| cluster.borrow_mut().tell_and_plan(event));
}

/// A pod becomes ready or stops being so, and the status with it.
#[divan::bench(args = SIZES)]
fn pod_becomes_ready(bencher: Bencher<'_, '_>, nodes: usize) {
    let cluster = std::cell::RefCell::new(BenchCluster::settled(nodes));
    bencher
        .with_inputs(|| {
            let mut cluster = cluster.borrow_mut();
            cluster.perform_last();
            cluster.settle();
            cluster.flip(nodes / 2)
        })
        .bench_local_values(|event| cluster.borrow_mut().tell_and_plan(event));
}

/// A pod is gone: the plan makes another.
#[divan::bench(args = SIZES)]
fn pod_deleted(bencher: Bencher<'_, '_>, nodes: usize) {
    let cluster = std::cell::RefCell::new(BenchCluster::settled(nodes));
    bencher
        .with_inputs(|| {
            let mut cluster = cluster.borrow_mut();
            cluster.perform_last();
            cluster.settle();
            cluster.end_newest()
        })
        .bench_local_values(|event| cluster.borrow_mut().tell_and_plan(event));
}

/// The template changes: every node is looked at again. Per node.
#[divan::bench(args = SIZES, sample_count = 10)]
fn template_edit_per_node(bencher: Bencher<'_, '_>, nodes: usize) {
    let cluster = std::cell::RefCell::new(BenchCluster::settled(nodes));
    let mut generation = 1;
    bencher
        .counter(ItemsCount::new(nodes))
        .with_inputs(|| {
            cluster.borrow_mut().settle();
            generation += 1;
            let image = format!("v{generation}");
            Event::Set(Box::new(daemon_set(&image, generation, "1%")))
        })
        .bench_local_values(|event| {
            let mut cluster = cluster.borrow_mut();
            cluster.tell(event);
            // The first plan writes the revision, the second begins to update.
            cluster.step();
            cluster.step()
        });
}

/// Every pod is observed again unchanged, as after a relist.
#[divan::bench(args = SIZES, sample_count = 3)]
fn relist_per_pod(bencher: Bencher<'_, '_>, nodes: usize) {
    let mut cluster = BenchCluster::settled(nodes);
    bencher
        .counter(ItemsCount::new(nodes))
        .with_inputs(|| cluster.pods.clone())
        .bench_local_values(|pods| {
            for pod in pods {
                cluster.planner.observe(Event::Pod(Box::new(pod)), NOW);
            }
            cluster.planner.plan(NOW).actions.len()
        });
}
