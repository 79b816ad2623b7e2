//! The garbage collector: deletes objects whose owners are gone, and carries out foreground and
//! orphan deletion.
//!
//! Observe: the metadata of every object of every deletable kind, as a graph of owners ([`graph`]).
//! Plan: [`attempt_to_delete`], what one object needs. Act: [`execute`], deletes and finalizer
//! patches of one object.
//!
//! The watch of a kind may lag behind, so an owner counts as deleted only after a live GET by uid.
//! Deletes carry the uid and the resource version that were decided upon.

pub mod attempt_to_delete;
pub mod execute;
pub mod graph;
mod monitors;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use pandaemon_client::{
    backoff::Backoff,
    discovery::{ApiResources, discover},
    rest::Rest,
    work_queue::WorkQueue,
};
use pandaemon_runtime::Shutdown;
use tokio::time::Instant;

use self::{
    execute::{Executor, Outcome},
    graph::Graph,
    monitors::Monitors,
};
use crate::views::SharedInformers;

/// Objects that are worked on at the same time; upstream's default is 20, over the network.
const WORKERS: usize = 64;
/// How often discovery looks for new kinds, as upstream.
const DISCOVERY_PERIOD: Duration = Duration::from_secs(30);
/// How long the collector waits for the first list of every kind, as upstream. A kind that cannot
/// be listed must not keep all others from being collected.
const INITIAL_SYNC_TIMEOUT: Duration = Duration::from_secs(30);
/// An object whose owner never existed is deleted after this delay, so that its creator can read it
/// once, as with upstream's slower collector.
const UNSEEN_OWNER_DELAY: Duration = Duration::from_secs(1);
/// Owners remembered as absent (upstream's absentOwnerCache). A uid never comes back; this bounds
/// memory.
const ABSENT_OWNERS: usize = 16_384;

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(client: Client, shared: SharedInformers, stop: Shutdown) -> anyhow::Result<()> {
    let mut kinds = Arc::new(ApiResources::default());
    let (mut monitors, mut deltas) = Monitors::new(client.clone(), shared, stop.clone());
    let mut collector = Collector::new(Rest::new(client.clone()));
    let mut running: FuturesUnordered<BoxFuture<'static, (String, Outcome)>> =
        FuturesUnordered::new();
    let mut discovery = tokio::time::interval(DISCOVERY_PERIOD);
    // At most one: a server that does not answer holds up nothing else.
    let mut discovering = FuturesUnordered::new();
    let mut sync_timeout = pin!(tokio::time::sleep(INITIAL_SYNC_TIMEOUT));
    loop {
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            _ = discovery.tick(), if discovering.is_empty() => discovering.push(discover(&client)),
            Some(found) = discovering.next() => match found {
                Ok(found) => {
                    if kinds.iter().next().is_none() {
                        // Nothing could be listed before.
                        let timeout = Instant::now() + INITIAL_SYNC_TIMEOUT;
                        sync_timeout.as_mut().reset(timeout);
                    }
                    for kind in monitors.set_kinds(&found) {
                        collector.graph.forget_kind(&kind);
                    }
                    kinds = Arc::new(found);
                }
                Err(error) => {
                    tracing::debug!(%error, "discovery failed");
                    discovery.reset_after(Duration::from_secs(1));
                }
            },
            Some((kind, delta)) = deltas.recv() => {
                monitors.note_listed(&kind, &delta);
                collector.observe(&kind, delta);
                if monitors.all_listed() {
                    collector.start_collecting();
                }
            }
            () = &mut sync_timeout, if !collector.is_collecting && !monitors.is_empty() => {
                let missing = monitors.unlisted();
                tracing::warn!(missing, "not all kinds could be listed: collecting the others");
                collector.start_collecting();
            }
            uid = collector.queue.next(), if running.len() < WORKERS && collector.is_collecting => {
                running.push(collector.start(uid, &kinds));
            }
            Some((uid, outcome)) = running.next() => collector.complete(uid, outcome),
        }
    }
}

struct Collector {
    api: Rest,
    graph: Graph,
    queue: WorkQueue<String>,
    absent: BTreeSet<String>,
    absent_order: std::collections::VecDeque<String>,
    /// Every kind was listed once, or the wait for that is over. An owner that is not in the graph
    /// may still exist; a live GET tells.
    is_collecting: bool,
}

impl Collector {
    fn new(api: Rest) -> Self {
        Self {
            api,
            graph: Graph::default(),
            queue: WorkQueue::new(Backoff {
                min: Duration::from_millis(10),
                max: Duration::from_secs(30),
            }),
            absent: BTreeSet::new(),
            absent_order: std::collections::VecDeque::new(),
            is_collecting: false,
        }
    }

    fn observe(&mut self, kind: &monitors::KindRef, delta: monitors::MetaDelta) {
        let changes = self.graph.observe(kind, delta);
        for uid in changes.gone {
            self.add_absent_owner(uid);
        }
        for uid in changes.attempt {
            self.queue.add(uid);
        }
    }

    fn start_collecting(&mut self) {
        if self.is_collecting {
            return;
        }
        self.is_collecting = true;
        for uid in self.graph.objects_to_check() {
            self.queue.add(uid);
        }
    }

    fn add_absent_owner(&mut self, uid: String) {
        if self.absent.insert(uid.clone()) {
            self.absent_order.push_back(uid);
        }
        if self.absent_order.len() > ABSENT_OWNERS
            && let Some(oldest) = self.absent_order.pop_front()
        {
            self.absent.remove(&oldest);
        }
    }

    fn start(
        &self,
        uid: String,
        kinds: &Arc<ApiResources>,
    ) -> BoxFuture<'static, (String, Outcome)> {
        let Some(attempt) = self.graph.deletion_attempt(&uid, &self.absent) else {
            return async move { (uid, Outcome::Done) }.boxed();
        };
        let executor = Executor {
            api: self.api.clone(),
            kinds: kinds.clone(),
        };
        async move {
            let outcome = executor.handle(attempt).await;
            (uid, outcome)
        }
        .boxed()
    }

    fn complete(&mut self, uid: String, outcome: Outcome) {
        let ok = !matches!(outcome, Outcome::Retry);
        match outcome {
            Outcome::Done | Outcome::Retry => (),
            Outcome::Absent(owners) => {
                owners
                    .into_iter()
                    .for_each(|owner| self.add_absent_owner(owner));
                self.queue.add_after(uid.clone(), UNSEEN_OWNER_DELAY);
            }
            Outcome::Attempt(others) => others.into_iter().for_each(|other| self.queue.add(other)),
            Outcome::Gone => {
                let changes = self.graph.remove(&uid);
                changes
                    .attempt
                    .into_iter()
                    .for_each(|other| self.queue.add(other));
            }
        }
        self.queue.finish(uid, ok);
    }
}
