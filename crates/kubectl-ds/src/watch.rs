//! `status --watch`: follows a rollout until it is done.

use std::{io::Write, time::Duration};

use pandaemon_client::list_watch::Delta;
use pandaemon_explain::RolloutTracker;
use pandaemon_types::{Timestamp, Uid};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    cluster::Cluster,
    error::CommandError,
    read_cluster::{now, pods_path, revisions_path},
    status_printer::{OutputForm, StatusPrinter},
    updates::{Update, Updates, Watched},
};

/// Least time between two redraws of a terminal.
const REDRAW: Duration = Duration::from_millis(200);
/// Redraw interval without events: ages on the screen grow.
const TICK: Duration = Duration::from_secs(5);
/// The wait before everything is read again after an error.
const RETRY: Duration = Duration::from_secs(1);

/// Follows a rollout until it is done. A `timeout` of zero waits for ever.
pub(crate) async fn run(
    cluster: &Cluster,
    name: &str,
    timeout: Duration,
    form: OutputForm,
    out: &mut (impl Write + Send),
) -> Result<(), CommandError> {
    let following = follow(cluster, name, StatusPrinter::new(form, out));
    if timeout.is_zero() {
        return following.await;
    }
    match tokio::time::timeout(timeout, following).await {
        Ok(done) => done,
        Err(_) => Err(CommandError::new(
            "error: timed out waiting for the condition",
        )),
    }
}

/// Follows a rollout until it is done, for no longer than `timeout`, unless that is zero. Writes a
/// line for each change.
///
/// # Errors
/// With kubectl's message and exit status.
pub async fn follow_rollout(
    cluster: &Cluster,
    name: &str,
    timeout: Duration,
    out: &mut (impl Write + Send),
) -> Result<(), CommandError> {
    run(cluster, name, timeout, OutputForm::Lines, out).await
}

async fn follow(
    cluster: &Cluster,
    name: &str,
    mut printer: StatusPrinter<'_, impl Write>,
) -> Result<(), CommandError> {
    let mut first = true;
    loop {
        match follow_set(cluster, name, &mut printer).await {
            Ok(Next::Done) => return Ok(()),
            Ok(Next::Again) => {}
            // The first read must succeed; later the server may be unavailable for a while.
            Err(failed) if first || failed.message.contains("(NotFound)") => return Err(failed),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
        first = false;
    }
}

/// Why the watches of a DaemonSet ended.
enum Next {
    /// The rollout is done.
    Done,
    /// The DaemonSet was created again with another selector: everything has to be read again.
    Again,
}

/// Follows a DaemonSet with one selector.
async fn follow_set(
    cluster: &Cluster,
    name: &str,
    printer: &mut StatusPrinter<'_, impl Write>,
) -> Result<Next, CommandError> {
    let namespace = &cluster.namespace;
    let set = cluster.set(namespace, name).await?;
    // A list-watch repeats what fails. Whether it may list at all is found out before.
    let (pods, revisions) = (pods_path(namespace), revisions_path(namespace));
    futures::try_join!(cluster.probe_list(&pods), cluster.probe_list(&revisions))?;
    let mut updates = Updates::start(cluster.client(), namespace, name, &set);
    let mut rollout = Rollout::new(name, &set)?;
    loop {
        let now = now();
        if rollout.is_complete() && printer.show(&rollout.tracker.report(now), now)? {
            return Ok(Next::Done);
        }
        let Ok(update) = tokio::time::timeout(TICK, updates.next()).await else {
            continue;
        };
        let mut batch = Vec::from_iter(update);
        if printer.is_screen() {
            // Lines and objects are printed for every change, a screen only for the last of a
            // batch.
            collect_batch(&mut updates, &mut batch).await;
        }
        if batch.is_empty() {
            return Ok(Next::Again);
        }
        for update in batch {
            if !rollout.apply(update, now)? {
                return Ok(Next::Again);
            }
        }
    }
}

/// Collects the updates of the next [`REDRAW`].
async fn collect_batch(updates: &mut Updates, batch: &mut Vec<Update>) {
    let until = Instant::now() + REDRAW;
    while let Ok(Some(more)) = tokio::time::timeout_at(until, updates.next()).await {
        batch.push(more);
    }
}

/// A rollout as the watches have shown it.
struct Rollout<'a> {
    name: &'a str,
    selector: Value,
    tracker: RolloutTracker,
    has_revisions: bool,
    has_pods: bool,
}

impl<'a> Rollout<'a> {
    fn new(name: &'a str, set: &Value) -> Result<Self, CommandError> {
        Ok(Self {
            name,
            selector: selector(set).clone(),
            tracker: RolloutTracker::new(set, now())?,
            has_revisions: false,
            has_pods: false,
        })
    }

    /// Whether all lists were read.
    const fn is_complete(&self) -> bool {
        self.has_revisions && self.has_pods
    }

    /// Takes in an update. Returns false if the selector is another one now.
    fn apply(&mut self, update: Update, now: Timestamp) -> Result<bool, CommandError> {
        match update {
            Update::Set(delta) => return self.apply_set(delta, now),
            Update::Revision(Delta::Listed(all)) => {
                self.has_revisions = true;
                let revisions = all.into_iter().map(|revision| revision.object);
                self.tracker.replace_revisions(revisions, now);
            }
            Update::Revision(Delta::Applied(revision)) => {
                self.tracker.apply_revision(revision.object, now);
            }
            Update::Revision(Delta::Deleted(revision)) => {
                self.tracker.remove_revision(&revision.object.view, now);
            }
            Update::Pod(Delta::Listed(all)) => {
                self.has_pods = true;
                let pods = all.into_iter().map(|pod| pod.object);
                self.tracker.replace_pods(pods);
            }
            Update::Pod(Delta::Applied(pod)) => self.tracker.apply_pod(pod.object),
            Update::Pod(Delta::Deleted(pod)) => self.tracker.remove_pod(&pod.object.view.uid),
        }
        Ok(true)
    }

    fn apply_set(
        &mut self,
        delta: Delta<Watched<Value>>,
        now: Timestamp,
    ) -> Result<bool, CommandError> {
        let set = match delta {
            Delta::Listed(sets) => sets.into_iter().next(),
            Delta::Applied(set) => Some(set),
            // A later one of the name stays.
            Delta::Deleted(set) if !is_uid(&set.object, self.tracker.set_uid()) => return Ok(true),
            Delta::Deleted(_) => None,
        };
        let set = set.ok_or_else(|| CommandError::not_found("daemonsets.apps", self.name))?;
        if *selector(&set.object) != self.selector {
            return Ok(false);
        }
        self.tracker.apply_set(&set.object, now)?;
        Ok(true)
    }
}

fn is_uid(set: &Value, uid: &Uid) -> bool {
    let found = set["metadata"]["uid"].as_str();
    *uid == Uid::from(found.unwrap_or_default())
}

fn selector(set: &Value) -> &Value {
    &set["spec"]["selector"]
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_late_deletion_of_an_earlier_set_leaves_its_successor() {
        let set = |uid: &str| {
            let object = json!({ "metadata": { "name": "agent", "namespace": "ns", "uid": uid } });
            Watched::<Value>::deserialize(object).unwrap()
        };
        let mut rollout = Rollout::new("agent", &set("old").object).unwrap();
        for (delta, exists) in [
            (Delta::Applied(set("new")), true),
            (Delta::Deleted(set("old")), true),
            (Delta::Deleted(set("new")), false),
        ] {
            let text = format!("{delta:?}");
            let outcome = rollout.apply(Update::Set(delta), Timestamp(0));
            assert_eq!(outcome.is_ok(), exists, "{text}");
        }
    }
}
