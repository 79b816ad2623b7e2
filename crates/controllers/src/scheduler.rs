//! The scheduler: binds pods to nodes, for the profile `default-scheduler` (upstream's
//! kube-scheduler).
//!
//! Observe: nodes and pods, as resource totals per node ([`cache`]) and a queue by priority
//! ([`scheduling_queue`]). Plan: [`mod@schedule_one`] (which node, or why none) and [`preemption`]
//! (which pods must leave). Act: [`execute`].
//!
//! A pod whose affinity names one node (every daemon pod) is tested against that node alone.

pub mod cache;
pub mod diagnosis;
pub mod execute;
pub mod preemption;
pub mod schedule_one;
pub mod scheduling_queue;
pub mod shared_cache;

use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use pandaemon_client::{list_watch::Delta, object_meta::Key};
use pandaemon_runtime::Shutdown;
use tokio::time::Instant;

use self::{
    execute::{Executor, SCHEDULER_NAME},
    schedule_one::{Decision, schedule_one},
    scheduling_queue::{SchedulingQueue, WaitsFor},
    shared_cache::SharedCache,
};
use crate::views::{Node, Pod, SharedInformers};

/// Requests under way at once. A binding is one write, and the server commits writes in batches.
const WORKERS: usize = 64;

/// A request that has ended.
enum Completed {
    /// A binding, and whether it succeeded.
    Bound(Key, bool),
    /// A status write or a preemption.
    StatusWritten(Key),
}

type Running = FuturesUnordered<BoxFuture<'static, Completed>>;

struct Scheduler {
    executor: Arc<Executor>,
    cache: SharedCache,
    queue: SchedulingQueue,
    running: Running,
    /// Pods whose status is being written; true if they are to be scheduled again afterwards. A
    /// status written after the binding would say that the pod is unschedulable.
    status_writes: BTreeMap<Key, bool>,
    synced: (bool, bool),
}

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(
    client: Client,
    shared: SharedInformers,
    cache: SharedCache,
    stop: Shutdown,
) -> anyhow::Result<()> {
    // What an earlier run knew may be out of date.
    cache.lock().reset();
    let (mut nodes, mut pods) = (shared.nodes.subscribe(), shared.pods.subscribe());
    let mut scheduler = Scheduler {
        executor: Arc::new(Executor::new(client, &stop)),
        cache: cache.clone(),
        queue: SchedulingQueue::default(),
        running: FuturesUnordered::new(),
        status_writes: BTreeMap::new(),
        synced: (false, false),
    };
    loop {
        let free = scheduler.synced == (true, true) && scheduler.running.len() < WORKERS;
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            Some(completed) = scheduler.running.next() => scheduler.complete(completed),
            released = cache.released() => {
                released.iter().for_each(|node| scheduler.queue.node_changed(node));
            }
            delta = nodes.next() => scheduler.observe_nodes(delta),
            delta = pods.next() => scheduler.observe_pods(delta),
            key = scheduler.queue.next(), if free => scheduler.schedule(&key),
        }
    }
}

impl Scheduler {
    fn observe_nodes(&mut self, delta: Delta<Arc<Node>>) {
        match delta {
            Delta::Listed(items) => {
                let present = items.iter().map(|node| node.meta.name.clone()).collect();
                let gone = self.cache.lock().retain_nodes(&present);
                for name in gone {
                    self.queue.node_changed(&name);
                }
                items.iter().for_each(|node| self.observe_node(node));
                self.synced.0 = true;
            }
            Delta::Applied(node) => self.observe_node(&node),
            Delta::Deleted(node) => {
                self.cache.lock().remove_node(&node.meta.name);
                self.queue.node_changed(&node.meta.name);
            }
        }
    }

    fn observe_node(&mut self, node: &Node) {
        // A heartbeat changes nothing that placement reads, so it wakes no pod.
        if self.cache.lock().update_node(node) {
            self.queue.node_changed(&node.meta.name);
        }
    }

    fn observe_pods(&mut self, delta: Delta<Arc<Pod>>) {
        match delta {
            Delta::Listed(items) => {
                let present = items.iter().map(|pod| pod.meta.key()).collect();
                self.cache.lock().retain_pods(&present);
                self.queue.retain(&present);
                items.into_iter().for_each(|pod| self.observe_pod(pod));
                self.synced.1 = true;
            }
            Delta::Applied(pod) => self.observe_pod(pod),
            Delta::Deleted(pod) => {
                let key = pod.meta.key();
                self.queue.remove(&key);
                let left = self.cache.lock().remove_pod(&key);
                if let Some(node) = left {
                    self.queue.node_changed(&node);
                }
            }
        }
    }

    fn observe_pod(&mut self, pod: Arc<Pod>) {
        let key = pod.meta.key();
        if pod.holds_node() {
            self.queue.remove(&key);
            self.cache.lock().add_pod(&pod, &pod.node);
            return;
        }
        if !pod.node.is_empty() || pod.phase.is_terminal() || pod.meta.is_deleting() {
            self.queue.remove(&key);
            let left = self.cache.lock().remove_pod(&key);
            if let Some(node) = left {
                self.queue.node_changed(&node);
            }
            return;
        }
        if is_schedulable(&pod) && !self.cache.lock().is_assumed_pod(&pod) {
            self.queue.add(pod);
        }
    }

    fn schedule(&mut self, key: &Key) {
        if let Some(again) = self.status_writes.get_mut(key) {
            *again = true;
            return;
        }
        let Some(pod) = self.queue.pod(key) else {
            return;
        };
        let (executor, now) = (self.executor.clone(), Instant::now());
        let decision = schedule_one(&pod, &self.cache.lock());
        match decision {
            Decision::Bind(node) => {
                self.queue.remove(key);
                self.cache.lock().assume_pod(&pod, &node);
                let key = key.clone();
                self.running.push(
                    async move {
                        let bound = executor.bind(&pod, &node).await;
                        Completed::Bound(key, bound)
                    }
                    .boxed(),
                );
            }
            Decision::Preempt {
                node,
                victims,
                message,
            } => {
                self.cache.lock().nominate(&pod, &node);
                self.queue
                    .mark_unschedulable(&pod, WaitsFor::of(&pod, Some(&node)), now);
                self.write_status(key, async move {
                    executor.preempt(&pod, &node, &victims, &message).await;
                });
            }
            Decision::Unschedulable { message } => {
                self.queue
                    .mark_unschedulable(&pod, WaitsFor::of(&pod, None), now);
                self.write_status(key, async move {
                    executor.unschedulable(&pod, &message, None).await;
                });
            }
        }
    }

    fn write_status(&mut self, key: &Key, write: impl Future<Output = ()> + Send + 'static) {
        self.status_writes.insert(key.clone(), false);
        let key = key.clone();
        self.running
            .push(write.map(|()| Completed::StatusWritten(key)).boxed());
    }

    fn complete(&mut self, completed: Completed) {
        match completed {
            Completed::Bound(_, true) => (),
            Completed::Bound(key, false) => {
                let Some((pod, node)) = self.cache.lock().forget_pod(&key) else {
                    return;
                };
                self.queue.node_changed(&node);
                // Back into the queue with a back-off; if the pod is being deleted, its event
                // removes it.
                self.queue.add(pod.clone());
                self.queue
                    .mark_unschedulable(&pod, WaitsFor::of(&pod, None), Instant::now());
            }
            Completed::StatusWritten(key) => {
                if self.status_writes.remove(&key) == Some(true) {
                    self.queue.activate(&key);
                }
            }
        }
    }
}

fn is_schedulable(pod: &Pod) -> bool {
    pod.pending
        .as_ref()
        .is_some_and(|pending| pending.scheduler == SCHEDULER_NAME && !pending.gated)
}
