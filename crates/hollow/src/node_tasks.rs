//! The tasks behind all hollow nodes: one for pods, one for leases, one for the node conditions.

use std::{
    ops::Range,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use kube::Client;
use pandaemon_client::{rest::Rest, supervise::supervise};
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

/// The running tasks of hollow nodes. One that panics starts again.
pub(crate) struct NodeTasks {
    rest: Rest,
    nodes: Arc<HollowNodes>,
    uids: NodeUids,
    parallel: usize,
    counts: Arc<PodCounts>,
    renewals: Shutdown,
    tasks: Vec<JoinHandle<Option<()>>>,
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
        let rest = Rest::new(client);
        let renewals = work.child();
        let tasks = vec![
            spawn("hollow-pods", {
                let (rest, behaviour) = (rest.clone(), behaviour.clone());
                let (nodes, counts) = (Arc::clone(&nodes), Arc::clone(&counts));
                supervise("hollow-pods", work.clone(), move |stop| {
                    let lifecycle = PodLifecycle::new(Arc::clone(&nodes), (&behaviour).into());
                    let (rest, counts) = (rest.clone(), Arc::clone(&counts));
                    pod_loop::run(rest, lifecycle, parallel, counts, observer.clone(), stop)
                })
            }),
            spawn("hollow-ready", {
                let (rest, nodes) = (rest.clone(), Arc::clone(&nodes));
                supervise("hollow-ready", work.clone(), move |stop| {
                    node_ready::run(rest.clone(), Arc::clone(&nodes), parallel, stop)
                })
            }),
            spawn("hollow-leases", {
                let (rest, nodes) = (rest.clone(), Arc::clone(&nodes));
                let uids = Arc::clone(&uids);
                supervise("hollow-leases", renewals.clone(), move |stop| {
                    let (nodes, uids) = (Arc::clone(&nodes), Arc::clone(&uids));
                    leases::run(rest.clone(), nodes, uids, parallel, stop)
                })
            }),
        ];
        Self {
            rest,
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
        let (rest, uids) = (&self.rest, &self.uids);
        register::register(rest, &self.nodes, uids, self.parallel, nodes, each).await
    }

    /// Deletes the nodes with these numbers and ends all lease renewals. Returns how many existed.
    pub(crate) async fn delete(&self, nodes: Range<u32>, each: impl Fn()) -> usize {
        self.renewals.trigger();
        register::delete(&self.rest, &self.nodes, self.parallel, nodes, each).await
    }

    /// Waits until all tasks have ended.
    pub(crate) async fn ended(&mut self) {
        futures::future::join_all(self.tasks.drain(..)).await;
    }
}
