//! Watches the pods of all nodes with one watch, and carries out what the machine says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _, stream::FuturesUnordered};
use http::Method;
use jiff::Timestamp;
use kube::{Client, core::WatchEvent};
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    api::{self, Body},
    follow::{self, Events},
    machine::{Action, Machine, Outcome, Task},
    pod::Pod,
};

/// Pods that are bound to some node.
const BOUND: &str = "/api/v1/pods?fieldSelector=spec.nodeName%21%3D&";

/// What the nodes have done, for the summary.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) started: AtomicU64,
    pub(crate) finished: AtomicU64,
}

/// Serves the pods for ever.
pub(crate) async fn run(client: Client, machine: Machine, parallel: usize, counts: Arc<Counts>) {
    let mut nodes = Nodes {
        client,
        machine,
        parallel,
        counts,
        start: Instant::now(),
        writes: FuturesUnordered::new(),
    };
    loop {
        if let Err(error) = nodes.list_and_watch().await {
            tracing::warn!(%error, "lost sight of the pods; listing them again");
        }
        sleep(Duration::from_millis(200)).await;
    }
}

type Ended = (Arc<str>, Outcome);

struct Nodes {
    client: Client,
    machine: Machine,
    parallel: usize,
    counts: Arc<Counts>,
    start: Instant,
    writes: FuturesUnordered<futures::future::BoxFuture<'static, Ended>>,
}

impl Nodes {
    /// Returns when the history that the watch needs is gone, or the server cannot be reached.
    async fn list_and_watch(&mut self) -> kube::Result<()> {
        let (pods, mut version) = follow::list(&self.client, BOUND).await?;
        self.machine.replace(self.start.elapsed(), pods);
        loop {
            let events = follow::watch(&self.client, BOUND, &version).await?;
            if !self.serve(events, &mut version).await? {
                return Ok(());
            }
        }
    }

    /// Serves one watch request. Returns whether another one may follow where it ended.
    async fn serve(&mut self, mut events: Events<Pod>, version: &mut String) -> kube::Result<bool> {
        loop {
            self.begin();
            let due = self
                .machine
                .due()
                .map_or(Duration::from_secs(60), |due| due);
            let wake = sleep_until(self.start + due);
            tokio::select! {
                event = events.try_next() => match event {
                    Ok(Some(WatchEvent::Error(status))) => {
                        tracing::debug!(code = status.code, message = status.message, "watch ended");
                        return Ok(false);
                    }
                    Ok(Some(event)) => self.see(event, version),
                    Ok(None) => return Ok(true),
                    Err(error) => return Err(error),
                },
                Some((uid, outcome)) = self.writes.next() => {
                    self.machine.ended(self.start.elapsed(), &uid, outcome);
                }
                () = wake, if self.machine.due().is_some() => (),
            }
        }
    }

    fn see(&mut self, event: WatchEvent<Pod>, version: &mut String) {
        match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                (*version).replace_range(.., &pod.metadata.resource_version);
                self.machine.seen(self.start.elapsed(), pod);
            }
            WatchEvent::Deleted(pod) => {
                (*version).replace_range(.., &pod.metadata.resource_version);
                self.machine.gone(&pod.metadata.uid);
            }
            WatchEvent::Bookmark(bookmark) => *version = bookmark.metadata.resource_version,
            WatchEvent::Error(_) => (),
        }
    }

    /// Begins as many actions as may be under way.
    fn begin(&mut self) {
        let now = self.start.elapsed();
        while self.writes.len() < self.parallel {
            let Some(action) = self.machine.next(now) else {
                return;
            };
            let (client, counts) = (self.client.clone(), Arc::clone(&self.counts));
            self.writes.push(Box::pin(act(client, action, counts)));
        }
    }
}

async fn act(client: Client, action: Action, counts: Arc<Counts>) -> Ended {
    let Action {
        uid,
        namespace,
        name,
        node,
        task,
    } = action;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let (result, count) = match task {
        Task::Start {
            pod,
            crash,
            restarts,
        } => {
            let patch = pod.started(node, crash, restarts, Timestamp::now());
            let path = format!("{path}/status");
            let body = Body::StrategicPatch;
            (
                api::tell(&client, Method::PATCH, &path, body, &patch).await,
                &counts.started,
            )
        }
        Task::Finish => {
            let options = json!({
                "apiVersion": "v1", "kind": "DeleteOptions",
                "gracePeriodSeconds": 0, "preconditions": {"uid": uid},
            });
            let deleted = api::tell(&client, Method::DELETE, &path, Body::Json, &options).await;
            (deleted, &counts.finished)
        }
    };
    let outcome = match result {
        Ok(()) => {
            count.fetch_add(1, Ordering::Relaxed);
            Outcome::Done
        }
        Err(error) if api::code(&error) == Some(404) => Outcome::Gone,
        Err(error) if api::is_transient(&error) => Outcome::Failed,
        Err(error) => {
            tracing::warn!(%namespace, %name, %error, "the server refuses the pod's status");
            Outcome::Failed
        }
    };
    (uid, outcome)
}
