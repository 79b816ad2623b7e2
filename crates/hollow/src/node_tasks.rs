//! The tasks behind all hollow nodes: one for pods, one for leases, one for the node conditions.

use std::{
    ops::Range,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use kube::Client;
use pandaemon_runtime::{Shutdown, spawn};
use tokio::task::JoinHandle;

use crate::{
    args::Behaviour,
    leases,
    node::HollowNodes,
    node_ready,
    pod_lifecycle::PodLifecycle,
    pod_loop::{self, PodCounts, PodObserver},
    register::{self, NodeUids},
};

/// The running tasks of hollow nodes.
pub(crate) struct NodeTasks {
    client: Client,
    nodes: Arc<HollowNodes>,
    uids: NodeUids,
    parallel: usize,
    counts: Arc<PodCounts>,
    renewals: Shutdown,
    tasks: Vec<JoinHandle<Option<Option<()>>>>,
}

impl NodeTasks {
    /// Starts the tasks; they end with `work`. Node objects exist once they are registered.
    pub(crate) fn start(
        client: Client,
        behaviour: &Behaviour,
        nodes: Arc<HollowNodes>,
        observer: Option<PodObserver>,
        work: &Shutdown,
    ) -> Self {
        let parallel = usize::try_from(behaviour.parallel.get()).unwrap_or(usize::MAX);
        let uids: NodeUids = (0..nodes.count).map(|_| OnceLock::new()).collect();
        let counts = Arc::new(PodCounts::default());
        let lifecycle = PodLifecycle::new(Arc::clone(&nodes), behaviour.into());
        let renewals = work.child();
        let tasks = vec![
            spawn("hollow-pods", {
                let (client, work, counts) = (client.clone(), work.clone(), Arc::clone(&counts));
                async move {
                    let pods = pod_loop::run(client, lifecycle, parallel, counts, observer);
                    work.guard(pods).await
                }
            }),
            spawn("hollow-ready", {
                let (client, work, nodes) = (client.clone(), work.clone(), Arc::clone(&nodes));
                async move {
                    let ready = node_ready::run(client, &nodes, parallel);
                    work.guard(ready).await
                }
            }),
            spawn("hollow-leases", {
                let (client, work, uids) = (client.clone(), renewals.clone(), Arc::clone(&uids));
                let nodes = Arc::clone(&nodes);
                async move {
                    let leases = leases::run(client, &nodes, uids, parallel);
                    work.guard(leases).await
                }
            }),
        ];
        Self {
            client,
            nodes,
            uids,
            parallel,
            counts,
            renewals,
            tasks,
        }
    }

    pub(crate) fn nodes(&self) -> &HollowNodes {
        &self.nodes
    }

    /// Pods reported as started and pods deleted so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let PodCounts { started, deleted } = &*self.counts;
        (
            started.load(Ordering::Relaxed),
            deleted.load(Ordering::Relaxed),
        )
    }

    /// Registers the nodes with these numbers; `each` is called after every one.
    pub(crate) async fn register(&self, nodes: Range<u32>, each: impl Fn()) -> anyhow::Result<()> {
        let (client, uids) = (&self.client, &self.uids);
        register::register(client, &self.nodes, uids, self.parallel, nodes, each).await
    }

    /// Deletes the nodes with these numbers and ends all lease renewals. Returns how many existed.
    pub(crate) async fn delete(&self, nodes: Range<u32>, each: impl Fn()) -> usize {
        self.renewals.trigger();
        register::delete(&self.client, &self.nodes, self.parallel, nodes, each).await
    }

    /// Waits until all tasks have ended.
    pub(crate) async fn ended(&mut self) {
        futures::future::join_all(self.tasks.drain(..)).await;
    }
}
