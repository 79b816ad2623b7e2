//! Deletes what no longer has an owner, in the three ways of upstream: background, foreground and orphan.
//!
//! Observe: the metadata of every object of every deletable kind, as a graph ([`graph`]). Plan: [`decide`], what one
//! object needs, given which of its owners are there. Act: deletes and finalizer patches, one object at a time.
//!
//! The graph only says where to look. Before an owner counts as gone, it is looked for live, with its uid, as its kind's
//! watch may lag behind. Deletes carry the uid and the resource version that were decided upon.

pub mod act;
pub mod decide;
pub mod graph;
mod monitors;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use pandaemon_runtime::Shutdown;

use self::{
    act::{Actor, Outcome},
    graph::Graph,
    monitors::Monitors,
};
use crate::views::Shared;
use pandaemon_client::{
    backoff::Backoff,
    discovery::{ApiResources, discover},
    rest::Rest,
    work_queue::WorkQueue,
};

/// Objects that are worked on at the same time; upstream's default is 20. Ours share a process with the server.
const WORKERS: usize = 64;
/// How often new kinds are looked for, as upstream.
const REDISCOVER: Duration = Duration::from_secs(30);
/// An object whose owner was looked for and never seen stays this long: whoever made it can read it once,
/// as upstream's collector, which hears of it over a slower way, lets them.
const NEVER_SEEN: Duration = Duration::from_secs(1);
/// Uids that are known to be gone. A uid never comes back, so this only bounds memory.
const ABSENT: usize = 16_384;

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(client: Client, shared: Shared, stop: Shutdown) -> anyhow::Result<()> {
    let mut kinds = Arc::new(ApiResources::default());
    let (mut monitors, mut arrivals) = Monitors::new(client.clone(), shared, stop.clone());
    let mut collector = Collector::new(Rest::new(client.clone()));
    let mut running: FuturesUnordered<BoxFuture<'static, (String, Outcome)>> =
        FuturesUnordered::new();
    let mut rediscover = tokio::time::interval(REDISCOVER);
    loop {
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            _ = rediscover.tick() => match discover(&client).await {
                Ok(found) => {
                    for kind in monitors.follow(&found) {
                        collector.graph.forget_kind(&kind);
                    }
                    kinds = Arc::new(found);
                }
                Err(error) => {
                    tracing::debug!(%error, "discovery failed");
                    rediscover.reset_after(Duration::from_secs(1));
                }
            },
            Some((kind, delta)) = arrivals.recv() => {
                monitors.arrived(&kind, &delta);
                collector.observe(kind, delta, monitors.all_listed());
            }
            uid = collector.queue.next(), if running.len() < WORKERS && monitors.all_listed() => {
                running.push(collector.work(uid, &kinds));
            }
            Some((uid, outcome)) = running.next() => collector.settle(uid, outcome),
        }
    }
}

struct Collector {
    api: Rest,
    graph: Graph,
    queue: WorkQueue<String>,
    absent: BTreeSet<String>,
    absent_order: std::collections::VecDeque<String>,
    was_listed: bool,
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
            was_listed: false,
        }
    }

    fn observe(&mut self, kind: monitors::KindRef, delta: monitors::Arrival, all_listed: bool) {
        let touched = self.graph.observe(&kind, delta);
        for uid in touched.gone {
            self.remember_absent(uid);
        }
        for uid in touched.attempt {
            self.queue.add(uid);
        }
        // Before every kind is known, an owner that is not in the graph means nothing.
        if all_listed && !self.was_listed {
            for uid in self.graph.suspects() {
                self.queue.add(uid);
            }
        }
        self.was_listed |= all_listed;
    }

    fn remember_absent(&mut self, uid: String) {
        if self.absent.insert(uid.clone()) {
            self.absent_order.push_back(uid);
        }
        if self.absent_order.len() > ABSENT
            && let Some(oldest) = self.absent_order.pop_front()
        {
            self.absent.remove(&oldest);
        }
    }

    fn work(
        &self,
        uid: String,
        kinds: &Arc<ApiResources>,
    ) -> BoxFuture<'static, (String, Outcome)> {
        let Some(case) = self.graph.case(&uid, &self.absent) else {
            return async move { (uid, Outcome::Done) }.boxed();
        };
        let actor = Actor {
            api: self.api.clone(),
            kinds: kinds.clone(),
        };
        async move {
            let outcome = actor.handle(case).await;
            (uid, outcome)
        }
        .boxed()
    }

    fn settle(&mut self, uid: String, outcome: Outcome) {
        let ok = !matches!(outcome, Outcome::Retry);
        match outcome {
            Outcome::Done | Outcome::Retry => (),
            Outcome::Absent(owners) => {
                owners
                    .into_iter()
                    .for_each(|owner| self.remember_absent(owner));
                self.queue.add_after(uid.clone(), NEVER_SEEN);
            }
            Outcome::Attempt(others) => others.into_iter().for_each(|other| self.queue.add(other)),
            Outcome::Vanished => {
                let touched = self.graph.remove(&uid);
                touched
                    .attempt
                    .into_iter()
                    .for_each(|other| self.queue.add(other));
            }
        }
        self.queue.finish(uid, ok);
    }
}
