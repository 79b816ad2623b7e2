//! The tasks that make nodes look alive: one for all pods, one for all leases, one for their health.

use std::{
    ops::Range,
    sync::{Arc, OnceLock, atomic::Ordering},
};

use kube::Client;
use pandaemon_runtime::{Shutdown, spawn};
use tokio::task::JoinHandle;

use crate::{
    args::Behaviour,
    health, leases,
    machine::Machine,
    node::Fleet,
    pods::{self, Counts, Tap},
    register::{self, Uids},
};

/// Pretend nodes at work.
pub(crate) struct Crew {
    client: Client,
    fleet: Arc<Fleet>,
    uids: Uids,
    parallel: usize,
    counts: Arc<Counts>,
    renewals: Shutdown,
    tasks: Vec<JoinHandle<Option<Option<()>>>>,
}

impl Crew {
    /// Starts the tasks; they end with `work`. Nodes exist once they are registered.
    pub(crate) fn start(
        client: Client,
        behaviour: &Behaviour,
        fleet: Arc<Fleet>,
        tap: Option<Tap>,
        work: &Shutdown,
    ) -> Self {
        let parallel = usize::try_from(behaviour.parallel.get()).unwrap_or(usize::MAX);
        let uids: Uids = (0..fleet.count).map(|_| OnceLock::new()).collect();
        let counts = Arc::new(Counts::default());
        let machine = Machine::new(Arc::clone(&fleet), behaviour.into());
        let renewals = work.child();
        let tasks = vec![
            spawn("hollow-pods", {
                let (client, work, counts) = (client.clone(), work.clone(), Arc::clone(&counts));
                async move {
                    let pods = pods::run(client, machine, parallel, counts, tap);
                    work.guard(pods).await
                }
            }),
            spawn("hollow-health", {
                let (client, work, fleet) = (client.clone(), work.clone(), Arc::clone(&fleet));
                async move { work.guard(health::run(client, &fleet, parallel)).await }
            }),
            spawn("hollow-leases", {
                let (client, work, uids) = (client.clone(), renewals.clone(), Arc::clone(&uids));
                let fleet = Arc::clone(&fleet);
                async move {
                    let leases = leases::run(client, &fleet, uids, parallel);
                    work.guard(leases).await
                }
            }),
        ];
        Self {
            client,
            fleet,
            uids,
            parallel,
            counts,
            renewals,
            tasks,
        }
    }

    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Pods that were started and finished so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let Counts { started, finished } = &*self.counts;
        (
            started.load(Ordering::Relaxed),
            finished.load(Ordering::Relaxed),
        )
    }

    /// Registers some of the nodes; `each` is called after every one.
    pub(crate) async fn register(&self, nodes: Range<u32>, each: impl Fn()) -> anyhow::Result<()> {
        let Self {
            client,
            fleet,
            uids,
            parallel,
            ..
        } = self;
        register::register(client, fleet, uids, *parallel, nodes, each).await
    }

    /// Deletes some of the nodes, and ends the renewals of all leases. Returns how many there were.
    pub(crate) async fn delete(&self, nodes: Range<u32>, each: impl Fn()) -> usize {
        self.renewals.trigger();
        register::delete(&self.client, &self.fleet, self.parallel, nodes, each).await
    }

    /// Waits until all tasks have ended.
    pub(crate) async fn ended(&mut self) {
        futures::future::join_all(self.tasks.drain(..)).await;
    }
}
