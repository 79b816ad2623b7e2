//! The node lifecycle controller, with upstream's taint eviction and pod garbage collection:
//! unresponsive nodes become Unknown, conditions become taints, NoExecute taints evict pods, and
//! pods of nodes that are gone are deleted.
//!
//! Observe: nodes, their leases and pods ([`node_monitor`]). Plan: [`conditions_and_taints`],
//! [`taint_eviction`], and [`node_health`], which node is unresponsive. Act: [`execute`].

pub mod conditions_and_taints;
pub mod execute;
pub mod lease;
pub mod node_health;
pub mod node_monitor;
pub mod taint_eviction;
pub mod timing;

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use kube::Client;
use pandaemon_client::{
    list_watch::{ListWatch, watch},
    work_queue::WorkQueue,
};
use pandaemon_runtime::Shutdown;
use tokio::time::Instant;

use self::{
    execute::Executor,
    lease::Lease,
    node_monitor::{NodeMonitor, Task},
    timing::Timing,
};
use crate::views::SharedInformers;

/// Tasks at the same time: many nodes may change at once, and each is one or two writes.
const WORKERS: usize = 32;

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(
    client: Client,
    shared: SharedInformers,
    timing: Timing,
    stop: Shutdown,
) -> anyhow::Result<()> {
    let leases = ListWatch::all("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases");
    let mut leases = watch::<Lease>(client.clone(), leases, stop.clone());
    let (mut nodes, mut pods) = (shared.nodes.subscribe(), shared.pods.subscribe());
    let executor = Arc::new(Executor::new(client, &stop));
    let mut monitor = NodeMonitor::new(timing);
    let mut queue: WorkQueue<Task> = WorkQueue::default();
    let mut running: FuturesUnordered<BoxFuture<'static, (Task, bool)>> = FuturesUnordered::new();
    let mut period = tokio::time::interval(timing.monitor_period());
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            delta = nodes.next() => monitor.observe_nodes(delta, &mut queue, Instant::now()),
            delta = pods.next() => monitor.observe_pods(delta, &mut queue, Instant::now()),
            Some(delta) = leases.recv() => monitor.observe_leases(delta, &mut queue, Instant::now()),
            _ = period.tick() => monitor.tick(&mut queue, Instant::now()),
            task = queue.next(), if running.len() < WORKERS => {
                running.push(start(&mut monitor, &executor, task));
            }
            Some((task, ok)) = running.next() => queue.finish(task, ok),
        }
    }
}

fn start(
    monitor: &mut NodeMonitor,
    executor: &Arc<Executor>,
    task: Task,
) -> BoxFuture<'static, (Task, bool)> {
    let (now, executor) = (Instant::now(), executor.clone());
    let at = Timestamp::now();
    match &task {
        Task::Node(name) => {
            let Some(node) = monitor.node(name) else {
                return done(task);
            };
            let unresponsive = monitor.is_unresponsive(name, now);
            let conditions = if unresponsive {
                conditions_and_taints::unknown_conditions(&node, at)
            } else {
                Vec::new()
            };
            // Conditions are written first; their event adds the node again for its taints.
            let taints = if conditions.is_empty() {
                conditions_and_taints::taints(&node, monitor.may_evict(), at)
            } else {
                None
            };
            if monitor.take_not_ready_event(name) {
                executor.record_node_not_ready(&node);
            }
            async move {
                let ok = executor.write_node(&node, conditions, taints).await;
                (task, ok)
            }
            .boxed()
        }
        Task::MarkNotReady(key) => {
            let Some(pod) = monitor.pod_to_mark(key) else {
                return done(task);
            };
            async move {
                let ok = executor.mark_pod_not_ready(&pod).await;
                (task, ok)
            }
            .boxed()
        }
        Task::Evict(key) => {
            let Some(pod) = monitor.pod(key).filter(|_| monitor.is_due(key, now)) else {
                return done(task);
            };
            async move {
                let ok = executor.evict(&pod).await;
                (task, ok)
            }
            .boxed()
        }
        Task::DeleteOrphans(node) => {
            let pods = monitor.orphaned_pods(node);
            if pods.is_empty() {
                return done(task);
            }
            let node = node.clone();
            async move {
                let ok = executor.delete_orphans(&node, pods).await;
                (task, ok)
            }
            .boxed()
        }
    }
}

fn done(task: Task) -> BoxFuture<'static, (Task, bool)> {
    std::future::ready((task, true)).boxed()
}
