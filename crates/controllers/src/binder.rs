//! The binder: gives pods a node. What upstream calls the scheduler, for the profile `default-scheduler`.
//!
//! Observe: nodes and pods, as running sums per node ([`cluster`]) and a queue by priority ([`waiting`]). Plan:
//! [`decide`] (which node, or why none) and [`preempt`] (who must go). Act: [`act`].
//!
//! A pod that is pinned to one node (every daemon pod) costs one look at that node, however many nodes there are.

pub mod act;
pub mod cluster;
pub mod decide;
pub mod preempt;
pub mod report;
pub mod waiting;

use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use pandaemon_runtime::Shutdown;
use tokio::time::Instant;

use self::{
    act::Actor,
    cluster::Cluster,
    decide::{Decision, decide},
    waiting::{Blocked, Waiting},
};
use crate::views::{Node, Pod, Shared};
use pandaemon_client::{list_watch::Delta, object_meta::Key};

/// The scheduler whose pods are ours.
pub const SCHEDULER: &str = "default-scheduler";
/// Bindings at the same time. Each is one write, and the server gathers writes into one commit.
const WORKERS: usize = 64;

/// What became of a request.
enum Done {
    /// A binding: whether it was made.
    Bound(Key, bool),
    /// A report or a preemption.
    Told(Key),
}

type Running = FuturesUnordered<BoxFuture<'static, Done>>;

struct Binder {
    actor: Arc<Actor>,
    cluster: Cluster,
    waiting: Waiting,
    running: Running,
    /// Pods whose status is being written; true if they are to be tried again then. A report that arrived after a
    /// binding would take it back in words.
    telling: BTreeMap<Key, bool>,
    synced: (bool, bool),
}

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(client: Client, shared: Shared, stop: Shutdown) -> anyhow::Result<()> {
    let (mut nodes, mut pods) = (shared.nodes.subscribe(), shared.pods.subscribe());
    let mut binder = Binder {
        actor: Arc::new(Actor::new(client, &stop)),
        cluster: Cluster::default(),
        waiting: Waiting::default(),
        running: FuturesUnordered::new(),
        telling: BTreeMap::new(),
        synced: (false, false),
    };
    loop {
        let free = binder.synced == (true, true) && binder.running.len() < WORKERS;
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            Some(done) = binder.running.next() => binder.settle(done),
            delta = nodes.next() => binder.nodes(delta),
            delta = pods.next() => binder.pods(delta),
            key = binder.waiting.next(), if free => binder.attempt(&key),
        }
    }
}

impl Binder {
    fn nodes(&mut self, delta: Delta<Arc<Node>>) {
        match delta {
            Delta::Listed(items) => {
                let there = items.iter().map(|node| node.meta.name.clone()).collect();
                for name in self.cluster.retain_nodes(&there) {
                    self.waiting.node_changed(&name);
                }
                items.iter().for_each(|node| self.node(node));
                self.synced.0 = true;
            }
            Delta::Applied(node) => self.node(&node),
            Delta::Deleted(node) => {
                self.cluster.remove_node(&node.meta.name);
                self.waiting.node_changed(&node.meta.name);
            }
        }
    }

    fn node(&mut self, node: &Node) {
        // A heartbeat compares equal and wakes nobody.
        if self.cluster.set_node(node) {
            self.waiting.node_changed(&node.meta.name);
        }
    }

    fn pods(&mut self, delta: Delta<Arc<Pod>>) {
        match delta {
            Delta::Listed(items) => {
                let there = items.iter().map(|pod| pod.meta.key()).collect();
                self.cluster.retain_pods(&there);
                self.waiting.retain(&there);
                items.into_iter().for_each(|pod| self.pod(pod));
                self.synced.1 = true;
            }
            Delta::Applied(pod) => self.pod(pod),
            Delta::Deleted(pod) => {
                let key = pod.meta.key();
                self.waiting.remove(&key);
                if let Some(node) = self.cluster.release(&key) {
                    self.waiting.node_changed(&node);
                }
            }
        }
    }

    fn pod(&mut self, pod: Arc<Pod>) {
        let key = pod.meta.key();
        if pod.holds_node() {
            self.waiting.remove(&key);
            self.cluster.hold(&pod, &pod.node);
            return;
        }
        if !pod.node.is_empty() || pod.phase.is_terminal() || pod.meta.is_deleting() {
            self.waiting.remove(&key);
            if let Some(node) = self.cluster.release(&key) {
                self.waiting.node_changed(&node);
            }
            return;
        }
        if is_ours(&pod) && !self.cluster.is_assumed(&pod) {
            self.waiting.add(pod);
        }
    }

    fn attempt(&mut self, key: &Key) {
        if let Some(again) = self.telling.get_mut(key) {
            *again = true;
            return;
        }
        let Some(pod) = self.waiting.pod(key) else {
            return;
        };
        let (actor, now) = (self.actor.clone(), Instant::now());
        match decide(&pod, &self.cluster) {
            Decision::Bind(node) => {
                self.waiting.remove(key);
                self.cluster.assume(&pod, &node);
                let key = key.clone();
                self.running.push(
                    async move {
                        let bound = actor.bind(&pod, &node).await;
                        Done::Bound(key, bound)
                    }
                    .boxed(),
                );
            }
            Decision::Preempt {
                node,
                victims,
                message,
            } => {
                self.cluster.nominate(&pod, &node);
                self.waiting
                    .block(&pod, Blocked::on(&pod, Some(&node)), now);
                self.tell(key, async move {
                    actor.preempt(&pod, &node, &victims, &message).await;
                });
            }
            Decision::No { message } => {
                self.waiting.block(&pod, Blocked::on(&pod, None), now);
                self.tell(key, async move {
                    actor.unschedulable(&pod, &message, None).await;
                });
            }
        }
    }

    fn tell(&mut self, key: &Key, report: impl Future<Output = ()> + Send + 'static) {
        self.telling.insert(key.clone(), false);
        let key = key.clone();
        self.running.push(report.map(|()| Done::Told(key)).boxed());
    }

    fn settle(&mut self, done: Done) {
        match done {
            Done::Bound(_, true) => (),
            Done::Bound(key, false) => {
                let Some((pod, node)) = self.cluster.forget_assumed(&key) else {
                    return;
                };
                self.waiting.node_changed(&node);
                // It is tried again after its back-off, unless its deletion is on the way.
                self.waiting.add(pod.clone());
                self.waiting
                    .block(&pod, Blocked::on(&pod, None), Instant::now());
            }
            Done::Told(key) => {
                if self.telling.remove(&key) == Some(true) {
                    self.waiting.again(&key);
                }
            }
        }
    }
}

fn is_ours(pod: &Pod) -> bool {
    pod.pending
        .as_ref()
        .is_some_and(|pending| pending.scheduler == SCHEDULER && !pending.gated)
}
