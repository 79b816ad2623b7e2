//! Watches the pods of all nodes with one watch, and carries out what the machine says.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use http::Method;
use jiff::Timestamp;
use kube::Client;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    api::{self, Body},
    follow::{self, Change, Source, follow},
    machine::{Action, Machine, Outcome, Task},
    pod::Pod,
};

/// Pods that are bound to some node.
const BOUND: &str = "/api/v1/pods?fieldSelector=spec.nodeName%21%3D&";
/// All pods.
const ALL: &str = "/api/v1/pods?";

/// What the nodes have done, for the summary.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) started: AtomicU64,
    pub(crate) finished: AtomicU64,
}

/// Somebody who looks on at all pods, those without a node included.
pub(crate) type Tap = Arc<dyn Fn(&Change<Pod>) + Send + Sync>;

/// Serves the pods for ever.
pub(crate) async fn run(
    client: Client,
    machine: Machine,
    parallel: usize,
    counts: Arc<Counts>,
    tap: Option<Tap>,
) {
    let (send, changes) = mpsc::channel(follow::QUEUE);
    let path = if tap.is_some() { ALL } else { BOUND };
    let source = Source {
        path: path.to_owned(),
        from_now: false,
    };
    let nodes = Nodes {
        client: client.clone(),
        machine,
        parallel,
        counts,
        tap,
        start: Instant::now(),
        writes: FuturesUnordered::new(),
    };
    futures::join!(follow::<Pod>(client, source, send), nodes.serve(changes));
}

type Ended = (Arc<str>, Outcome);

struct Nodes {
    client: Client,
    machine: Machine,
    parallel: usize,
    counts: Arc<Counts>,
    tap: Option<Tap>,
    start: Instant,
    writes: FuturesUnordered<BoxFuture<'static, Ended>>,
}

impl Nodes {
    async fn serve(mut self, mut changes: mpsc::Receiver<Vec<Change<Pod>>>) {
        loop {
            self.begin();
            let due = self.machine.due();
            let wake = sleep_until(self.start + due.unwrap_or(Duration::from_secs(60)));
            tokio::select! {
                batch = changes.recv() => match batch {
                    Some(batch) => batch.into_iter().for_each(|change| self.see(change)),
                    None => return,
                },
                Some((uid, outcome)) = self.writes.next() => {
                    self.machine.ended(self.start.elapsed(), &uid, outcome);
                }
                () = wake, if due.is_some() => (),
            }
        }
    }

    fn see(&mut self, change: Change<Pod>) {
        if let Some(tap) = &self.tap {
            tap(&change);
        }
        let now = self.start.elapsed();
        match change {
            Change::All(pods) => self.machine.replace(now, pods),
            Change::Put(pod) => self.machine.seen(now, pod),
            Change::Gone(pod) => self.machine.gone(&pod.metadata.uid),
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
        task,
    } = action;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let (result, count) = match task {
        Task::Start { pod, run } => {
            let patch = pod.started(run, Timestamp::now());
            let path = format!("{path}/status");
            let sent = match patch {
                Ok(patch) => {
                    api::tell(&client, Method::PATCH, &path, Body::StrategicPatch, patch).await
                }
                Err(error) => Err(kube::Error::SerdeError(error)),
            };
            (sent, &counts.started)
        }
        Task::Finish => {
            let options = format!(
                r#"{{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0,"preconditions":{{"uid":"{uid}"}}}}"#
            );
            let options = options.into_bytes();
            let deleted = api::tell(&client, Method::DELETE, &path, Body::Json, options).await;
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
