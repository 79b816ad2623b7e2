//! The life of nodes: silent nodes become Unknown, conditions become taints, taints evict pods, and pods of nodes that
//! are gone are removed.
//!
//! Observe: nodes, their leases and pods ([`state`]). Plan: [`plan`] (conditions and taints), [`evict`] (who must go
//! and when), [`health`] (who is silent, by our own clock). Act: [`act`].

pub mod act;
pub mod evict;
pub mod health;
pub mod plan;
pub mod state;

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use kube::Client;
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use tokio::time::Instant;

use self::{
    act::Actor,
    state::{State, Work},
};
use crate::views::{Pod, Shared};
use pandaemon_client::{
    list_watch::{ListWatch, watch},
    object_meta::{Object, ObjectMeta},
    work_queue::WorkQueue,
};

/// Requests at the same time: many nodes may change at once, and each is one or two writes.
const WORKERS: usize = 32;

/// How long things may take before they are acted upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Without a sign of life for so long, a node is not ready; upstream's `--node-monitor-grace-period`.
    pub grace: Duration,
    /// For so long a node may be missing before its pods are removed.
    pub missing: Duration,
    /// The same for a node whose deletion was seen.
    pub deleted: Duration,
}

impl Default for Timing {
    /// As upstream; a node whose deletion was seen needs no second look but that it has not come back.
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(40),
            missing: Duration::from_secs(40),
            deleted: Duration::from_secs(5),
        }
    }
}

impl Timing {
    fn period(&self) -> Duration {
        let shortest = self.grace.min(self.missing).min(self.deleted);
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(5))
    }
}

/// A node's lease.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Lease {
    metadata: ObjectMeta,
    spec: LeaseSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeaseSpec {
    renew_time: Option<String>,
}

impl Lease {
    fn renewed(&self) -> &str {
        self.spec.renew_time.as_deref().unwrap_or_default()
    }
}

impl Object for Lease {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(
    client: Client,
    shared: Shared,
    timing: Timing,
    stop: Shutdown,
) -> anyhow::Result<()> {
    let leases = ListWatch::all("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases");
    let mut leases = watch::<Lease>(client.clone(), leases, stop.clone());
    let (mut nodes, mut pods) = (shared.nodes.subscribe(), shared.pods.subscribe());
    let actor = Arc::new(Actor::new(client, &stop));
    let mut state = State::new(timing);
    let mut queue: WorkQueue<Work> = WorkQueue::default();
    let mut running: FuturesUnordered<BoxFuture<'static, (Work, bool)>> = FuturesUnordered::new();
    let mut period = tokio::time::interval(timing.period());
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            delta = nodes.next() => state.nodes(delta, &mut queue, Instant::now()),
            delta = pods.next() => state.pods(delta, &mut queue, Instant::now()),
            Some(delta) = leases.recv() => state.leases(delta, &mut queue, Instant::now()),
            _ = period.tick() => state.tick(&mut queue, Instant::now()),
            work = queue.next(), if running.len() < WORKERS => {
                running.push(perform(&mut state, &actor, work));
            }
            Some((work, ok)) = running.next() => queue.finish(work, ok),
        }
    }
}

fn perform(state: &mut State, actor: &Arc<Actor>, work: Work) -> BoxFuture<'static, (Work, bool)> {
    let (now, actor) = (Instant::now(), actor.clone());
    let at = Timestamp::now();
    match &work {
        Work::Node(name) => {
            let Some(node) = state.node(name) else {
                return done(work);
            };
            let silent = state.is_silent(name, now);
            let conditions = if silent {
                plan::silence(&node, at)
            } else {
                Vec::new()
            };
            // First the conditions; the change that they make brings the node back for its taints.
            let taints = if conditions.is_empty() {
                plan::taints(&node, state.may_evict(), at)
            } else {
                None
            };
            let unready: Vec<Arc<Pod>> = state.pods_to_mark(name);
            async move {
                let ok = actor.write_node(&node, conditions, taints).await
                    && actor.mark_pods(&node, unready).await;
                (work, ok)
            }
            .boxed()
        }
        Work::Evict(key) => {
            let Some(pod) = state.pod(key).filter(|_| state.is_due(key, now)) else {
                return done(work);
            };
            async move {
                let ok = actor.evict(&pod).await;
                (work, ok)
            }
            .boxed()
        }
        Work::Collect(node) => {
            let pods = state.stranded(node);
            if pods.is_empty() {
                return done(work);
            }
            let node = node.clone();
            async move {
                let ok = actor.collect(&node, pods).await;
                (work, ok)
            }
            .boxed()
        }
    }
}

fn done(work: Work) -> BoxFuture<'static, (Work, bool)> {
    std::future::ready((work, true)).boxed()
}
