//! Watches the pods of all nodes with one watch, and sends the writes that [`PodLifecycle`] returns.

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
    pod::Pod,
    pod_lifecycle::{PodLifecycle, PodWrite, Write, WriteOutcome},
};

/// Pods that are bound to a node.
const BOUND: &str = "/api/v1/pods?fieldSelector=spec.nodeName%21%3D&";
/// The path of the pods of all namespaces.
const ALL: &str = "/api/v1/pods?";

/// Successful writes, for the summary.
#[derive(Debug, Default)]
pub(crate) struct PodCounts {
    pub(crate) started: AtomicU64,
    pub(crate) deleted: AtomicU64,
}

/// Called with each change of any pod, of those without a node too.
pub(crate) type PodObserver = Arc<dyn Fn(&Change<Pod>) + Send + Sync>;

/// Runs until it is dropped.
pub(crate) async fn run(
    client: Client,
    lifecycle: PodLifecycle,
    parallel: usize,
    counts: Arc<PodCounts>,
    observer: Option<PodObserver>,
) {
    let (send, changes) = mpsc::channel(follow::QUEUE);
    let path = if observer.is_some() { ALL } else { BOUND };
    let source = Source {
        path: path.to_owned(),
        from_now: false,
    };
    let pod_loop = PodLoop {
        client: client.clone(),
        lifecycle,
        parallel,
        counts,
        observer,
        start: Instant::now(),
        writes: FuturesUnordered::new(),
    };
    futures::join!(follow::<Pod>(client, source, send), pod_loop.serve(changes));
}

/// The uid of the pod that a write was about, and what became of the write.
type Ended = (Arc<str>, WriteOutcome);

struct PodLoop {
    client: Client,
    lifecycle: PodLifecycle,
    /// Most writes under way at the same time.
    parallel: usize,
    counts: Arc<PodCounts>,
    observer: Option<PodObserver>,
    start: Instant,
    writes: FuturesUnordered<BoxFuture<'static, Ended>>,
}

impl PodLoop {
    async fn serve(mut self, mut changes: mpsc::Receiver<Vec<Change<Pod>>>) {
        loop {
            self.start_writes();
            let due = self.lifecycle.next_due();
            let wake = sleep_until(self.start + due.unwrap_or(Duration::from_secs(60)));
            tokio::select! {
                batch = changes.recv() => match batch {
                    Some(batch) => batch.into_iter().for_each(|change| self.observe(change)),
                    None => return,
                },
                Some((uid, outcome)) = self.writes.next() => {
                    self.lifecycle.write_ended(self.start.elapsed(), &uid, outcome);
                }
                () = wake, if due.is_some() => (),
            }
        }
    }

    fn observe(&mut self, change: Change<Pod>) {
        if let Some(observer) = &self.observer {
            observer(&change);
        }
        let now = self.start.elapsed();
        match change {
            Change::All(pods) => self.lifecycle.replace(now, pods),
            Change::Put(pod) => self.lifecycle.observe(now, pod),
            Change::Gone(pod) => self.lifecycle.remove(&pod.metadata.uid),
        }
    }

    fn start_writes(&mut self) {
        let now = self.start.elapsed();
        while self.writes.len() < self.parallel {
            let Some(write) = self.lifecycle.next(now) else {
                return;
            };
            let (client, counts) = (self.client.clone(), Arc::clone(&self.counts));
            self.writes.push(Box::pin(send(client, write, counts)));
        }
    }
}

async fn send(client: Client, write: PodWrite, counts: Arc<PodCounts>) -> Ended {
    let PodWrite {
        uid,
        namespace,
        name,
        write,
    } = write;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let (result, count) = match write {
        Write::Status { pod, attempt } => {
            let patch = pod.status_patch(attempt, Timestamp::now());
            let path = format!("{path}/status");
            let sent = match patch {
                Ok(patch) => {
                    api::tell(&client, Method::PATCH, &path, Body::StrategicPatch, patch).await
                }
                Err(error) => Err(kube::Error::SerdeError(error)),
            };
            (sent, &counts.started)
        }
        Write::Delete => {
            let options = format!(
                r#"{{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0,"preconditions":{{"uid":"{uid}"}}}}"#
            );
            let options = options.into_bytes();
            let deleted = api::tell(&client, Method::DELETE, &path, Body::Json, options).await;
            (deleted, &counts.deleted)
        }
    };
    let outcome = match result {
        Ok(()) => {
            count.fetch_add(1, Ordering::Relaxed);
            WriteOutcome::Done
        }
        Err(error) if api::code(&error) == Some(404) => WriteOutcome::NotFound,
        Err(error) if api::is_transient(&error) => WriteOutcome::Failed,
        Err(error) => {
            tracing::warn!(%namespace, %name, %error, "the server refuses the write; it is sent again");
            WriteOutcome::Failed
        }
    };
    (uid, outcome)
}
