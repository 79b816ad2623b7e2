//! Watches the pods of all nodes with one watch, and sends the writes that [`PodLifecycle`]
//! returns.

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
use pandaemon_client::{
    errors,
    list_watch::{Delta, ListWatch, watch},
    rest::{JSON, Patch, Rest},
};
use pandaemon_runtime::Shutdown;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    node::HollowNodes,
    pod::Pod,
    pod_lifecycle::{PodLifecycle, PodWrite, Write, WriteOutcome},
};

/// Changes of pods that are taken in before the next writes start.
const BATCH: usize = 256;

/// Successful writes, for the summary.
#[derive(Debug, Default)]
pub(crate) struct PodCounts {
    pub(crate) started: AtomicU64,
    pub(crate) deleted: AtomicU64,
}

/// Called with each change of any pod, of those without a node too.
pub(crate) type PodObserver = Arc<dyn Fn(&Delta<Pod>) + Send + Sync>;

/// Runs until a stop.
pub(crate) async fn run(
    rest: Rest,
    lifecycle: PodLifecycle,
    parallel: usize,
    counts: Arc<PodCounts>,
    observer: Option<PodObserver>,
    stop: Shutdown,
) -> anyhow::Result<()> {
    let all = ListWatch::all("/api/v1/pods");
    let source = match observer {
        Some(_) => all,
        None => all.fields("spec.nodeName!="),
    };
    let deltas = watch(rest.client().clone(), source, stop.clone());
    let pod_loop = PodLoop {
        rest,
        lifecycle,
        parallel,
        counts,
        observer,
        start: Instant::now(),
        writes: FuturesUnordered::new(),
    };
    stop.guard(pod_loop.run(deltas)).await;
    Ok(())
}

/// The uid of the pod that a write was about, and what became of the write.
type Ended = (Arc<str>, WriteOutcome);

struct PodLoop {
    rest: Rest,
    lifecycle: PodLifecycle,
    /// Most writes under way at the same time.
    parallel: usize,
    counts: Arc<PodCounts>,
    observer: Option<PodObserver>,
    start: Instant,
    writes: FuturesUnordered<BoxFuture<'static, Ended>>,
}

impl PodLoop {
    async fn run(mut self, mut deltas: mpsc::Receiver<Delta<Pod>>) {
        let mut batch = Vec::new();
        loop {
            self.start_writes();
            let due = self.lifecycle.next_due();
            let wake = sleep_until(self.start + due.unwrap_or(Duration::from_secs(60)));
            tokio::select! {
                received = deltas.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return;
                    }
                    batch.drain(..).for_each(|delta| self.observe(delta));
                }
                Some((uid, outcome)) = self.writes.next() => {
                    self.lifecycle.write_ended(self.start.elapsed(), &uid, outcome);
                }
                () = wake, if due.is_some() => (),
            }
        }
    }

    fn observe(&mut self, delta: Delta<Pod>) {
        if let Some(observer) = &self.observer {
            observer(&delta);
        }
        let now = self.start.elapsed();
        match delta {
            Delta::Listed(pods) => self.lifecycle.replace(now, pods),
            Delta::Applied(pod) => self.lifecycle.observe(now, pod),
            Delta::Deleted(pod) => self.lifecycle.remove(&pod.metadata.uid),
        }
    }

    fn start_writes(&mut self) {
        let now = self.start.elapsed();
        while self.writes.len() < self.parallel {
            let Some(write) = self.lifecycle.next(now) else {
                return;
            };
            let (rest, counts) = (self.rest.clone(), Arc::clone(&self.counts));
            let nodes = Arc::clone(self.lifecycle.nodes());
            self.writes.push(Box::pin(send(rest, nodes, write, counts)));
        }
    }
}

async fn send(
    rest: Rest,
    nodes: Arc<HollowNodes>,
    write: PodWrite,
    counts: Arc<PodCounts>,
) -> Ended {
    let PodWrite {
        uid,
        namespace,
        name,
        node,
        write,
    } = write;
    let count = match write {
        Write::Status { .. } => &counts.started,
        Write::Delete => &counts.deleted,
    };
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
    let sent = async {
        let rest = nodes.rest(&rest, node)?;
        match write {
            Write::Status { pod, attempt } => {
                let patch = pod.status_patch(attempt, Timestamp::now());
                let patch = patch.map_err(kube::Error::SerdeError)?;
                let (path, form) = (format!("{path}/status"), Patch::Strategic.media_type());
                rest.send_only(Method::PATCH, &path, form, patch).await
            }
            Write::Delete => {
                let options = format!(
                    r#"{{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0,"preconditions":{{"uid":"{uid}"}}}}"#
                );
                let options = options.into_bytes();
                rest.send_only(Method::DELETE, &path, JSON, options).await
            }
        }
    };
    let outcome = match sent.await {
        Ok(()) => {
            count.fetch_add(1, Ordering::Relaxed);
            WriteOutcome::Done
        }
        Err(error) if errors::is_not_found(&error) => WriteOutcome::NotFound,
        Err(error) if errors::is_transient(&error) => WriteOutcome::Failed,
        Err(error) => {
            tracing::warn!(%namespace, %name, %error, "the server refuses the write; it is sent again");
            WriteOutcome::Failed
        }
    };
    (uid, outcome)
}
