//! The loop of a controller that does something with each request that is due.

use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use pandaemon_client::{
    list_watch::{Delta, ListWatch, watch},
    work_queue::WorkQueue,
};
use pandaemon_runtime::Shutdown;

use super::request::{REQUESTS, Request};

/// Requests that are worked on at the same time.
const WORKERS: usize = 8;

/// Watches requests, and does `act` with those that are due until a stop is asked for. What fails
/// is tried again, later each time.
pub(super) async fn run<A>(
    client: Client,
    stop: Shutdown,
    is_due: fn(&Request) -> bool,
    act: A,
) -> anyhow::Result<()>
where
    A: Fn(Arc<Request>) -> BoxFuture<'static, anyhow::Result<()>>,
{
    let mut requests = watch::<Request>(client, ListWatch::all(REQUESTS), stop.clone());
    let mut due: BTreeMap<String, Arc<Request>> = BTreeMap::new();
    let mut queue: WorkQueue<String> = WorkQueue::default();
    let mut running: FuturesUnordered<BoxFuture<'_, (String, bool)>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            Some(delta) = requests.recv() => {
                for name in observe(&mut due, is_due, delta) {
                    queue.add(name);
                }
            }
            name = queue.next(), if running.len() < WORKERS => {
                let work = due.get(&name).map(|request| act(Arc::clone(request)));
                running.push(finished(name, work).boxed());
            }
            Some((name, ok)) = running.next() => queue.finish(name, ok),
            else => return Ok(()),
        }
    }
}

/// Does the work, if the request is due still. Returns whether it succeeded.
async fn finished(
    name: String,
    work: Option<BoxFuture<'static, anyhow::Result<()>>>,
) -> (String, bool) {
    let Some(work) = work else {
        return (name, true);
    };
    let done = work.await;
    if let Err(error) = &done {
        tracing::warn!(
            request = name,
            "certificate request: {error:#}; trying again"
        );
    }
    (name, done.is_ok())
}

/// Takes a change over. Returns the names of the requests that are due.
fn observe(
    due: &mut BTreeMap<String, Arc<Request>>,
    is_due: fn(&Request) -> bool,
    delta: Delta<Request>,
) -> Vec<String> {
    let items = match delta {
        Delta::Listed(items) => {
            due.clear();
            items
        }
        Delta::Applied(item) => vec![item],
        Delta::Deleted(item) => {
            due.remove(&item.metadata.name);
            return Vec::new();
        }
    };
    let mut names = Vec::new();
    for item in items {
        let name = item.metadata.name.clone();
        if is_due(&item) && !item.metadata.is_deleting() {
            due.insert(name.clone(), Arc::new(item));
            names.push(name);
        } else {
            due.remove(&name);
        }
    }
    names
}
