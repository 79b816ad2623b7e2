//! `status --watch`: watches a DaemonSet and its pods until the rollout is done.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    api::WatchParams,
    core::{Request as Collection, WatchEvent},
};
use pandaemon_explain::{DaemonPod, RolloutTracker, StatusReport, render_status};
use pandaemon_types::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    cluster::Cluster,
    error::CommandError,
    output::print,
    read_cluster::{labels, now, pods_path, sets_path},
};

/// Least time between two redraws of a terminal.
const REDRAW: Duration = Duration::from_millis(200);
/// Redraw interval without events: ages on the screen grow.
const TICK: Duration = Duration::from_secs(5);
const WATCH_SECONDS: u32 = 290;
const RETRY: Duration = Duration::from_secs(1);

/// How the state is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OutputForm {
    /// The whole state, drawn over the previous one.
    Screen { colours: bool },
    /// A line for each change.
    Lines,
    /// An object a line for each change.
    Json,
}

/// A change that a watch delivered.
enum Update {
    Set(Value),
    SetDeleted,
    Pod(Box<DaemonPod>),
    PodDeleted(Box<DaemonPod>),
    /// A watch ended: everything is read again.
    Relist,
    /// A watch failed.
    WatchFailed(kube::Error),
}

/// Follows a rollout until it is done.
pub(crate) async fn run(
    cluster: &Cluster,
    name: &str,
    form: OutputForm,
    timeout: Duration,
) -> Result<(), CommandError> {
    let following = follow(cluster, name, form);
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

/// Follows a rollout, with a line for each change, until it is done; for no longer than `timeout`, unless
/// that is zero.
///
/// # Errors
/// With kubectl's message and exit status.
pub async fn follow_rollout(
    cluster: &Cluster,
    name: &str,
    timeout: Duration,
) -> Result<(), CommandError> {
    run(cluster, name, OutputForm::Lines, timeout).await
}

async fn follow(cluster: &Cluster, name: &str, form: OutputForm) -> Result<(), CommandError> {
    let mut printer = StatusPrinter::new(form);
    let mut first = true;
    loop {
        match watch_once(cluster, name, &mut printer, first).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // The first read must succeed; later the server may be unavailable for a while.
            Err(failed) if first || failed.message.contains("(NotFound)") => return Err(failed),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
        first = false;
    }
}

/// Reads everything and watches until a watch ends. Returns whether the rollout is done.
async fn watch_once(
    cluster: &Cluster,
    name: &str,
    printer: &mut StatusPrinter,
    first: bool,
) -> Result<bool, CommandError> {
    let namespace = &cluster.namespace;
    let set = cluster.set(namespace, name).await?;
    let (set_version, selector) = (version(&set), set["spec"]["selector"].clone());
    let (snapshot, pods_version) = cluster.daemons(set).await?;
    let mut tracker = RolloutTracker::of(&snapshot)?;
    let labels = labels(&snapshot.set);
    let mut set = snapshot.set;
    let only = format!("metadata.name={name}");
    let path = sets_path(namespace);
    let sets = watch(cluster, &path, ("", &only), &set_version, set_update);
    let path = pods_path(namespace);
    let daemons = watch(cluster, &path, (&labels, ""), &pods_version, pod_update);
    let mut update = stream::select(sets, daemons);
    loop {
        let now = now();
        if printer.show(&tracker.report(now), now)? {
            return Ok(true);
        }
        let wait = tokio::time::timeout(TICK, update.next()).await;
        let Ok(next) = wait else { continue };
        let mut batch = vec![next.unwrap_or(Update::Relist)];
        if matches!(printer.form, OutputForm::Screen { .. }) {
            // Lines and objects are printed for every change, a screen only for the last of a batch.
            collect_batch(&mut update, &mut batch).await;
        }
        for update in batch {
            match update {
                Update::Set(next) if next["spec"]["selector"] != selector => return Ok(false),
                Update::Set(next) => {
                    tracker.apply_set(&next, now)?;
                    let seen = |set: &Value| set["status"]["observedGeneration"].clone();
                    let template = |set: &Value| set["spec"]["template"].clone();
                    if template(&set) != template(&next) || seen(&set) != seen(&next) {
                        // A new template gets a new revision.
                        let revisions = cluster.revisions(&next).await?;
                        tracker.replace_revisions(revisions, now);
                    }
                    set = next;
                }
                Update::SetDeleted => return Err(CommandError::not_found("daemonsets.apps", name)),
                Update::Pod(pod) => tracker.apply_pod(*pod),
                Update::PodDeleted(pod) => tracker.remove_pod(&pod.view.uid),
                Update::Relist => return Ok(false),
                Update::WatchFailed(error) if first => return Err(error.into()),
                Update::WatchFailed(_) => {
                    tokio::time::sleep(RETRY).await;
                    return Ok(false);
                }
            }
        }
    }
}

/// Collects the updates of the next [`REDRAW`].
async fn collect_batch(update: &mut (impl Stream<Item = Update> + Unpin), batch: &mut Vec<Update>) {
    let until = Instant::now() + REDRAW;
    while let Ok(Some(more)) = tokio::time::timeout_at(until, update.next()).await {
        batch.push(more);
    }
}

fn version(object: &Value) -> String {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.unwrap_or_default().to_owned()
}

type UpdateStream = Pin<Box<dyn Stream<Item = Update> + Send>>;

fn watch(
    cluster: &Cluster,
    path: &str,
    (labels, fields): (&str, &str),
    version: &str,
    read: fn(Value, bool) -> Option<Update>,
) -> UpdateStream {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let params = WatchParams {
        label_selector: some(labels),
        field_selector: some(fields),
        timeout: Some(WATCH_SECONDS),
        bookmarks: true,
        ..WatchParams::default()
    };
    let request = Collection::new(path).watch(&params, version);
    let client = cluster.client().clone();
    let events = async move {
        let request = request.map_err(kube::Error::BuildRequest)?;
        client.request_events::<Value>(request).await
    };
    let opened = stream::once(events).flat_map(|opened| match opened {
        Ok(events) => events.left_stream(),
        Err(error) => stream::once(std::future::ready(Err(error))).right_stream(),
    });
    let update = opened.filter_map(move |event| {
        let update = match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => read(object, false),
            Ok(WatchEvent::Deleted(object)) => read(object, true),
            Ok(WatchEvent::Bookmark(_)) => None,
            Ok(WatchEvent::Error(_)) => Some(Update::Relist),
            Err(error) => Some(Update::WatchFailed(error)),
        };
        std::future::ready(update)
    });
    Box::pin(update.chain(stream::once(std::future::ready(Update::Relist))))
}

fn set_update(object: Value, gone: bool) -> Option<Update> {
    Some(if gone {
        Update::SetDeleted
    } else {
        Update::Set(object)
    })
}

fn pod_update(object: Value, gone: bool) -> Option<Update> {
    let pod = Box::new(DaemonPod::deserialize(object).ok()?);
    Some(if gone {
        Update::PodDeleted(pod)
    } else {
        Update::Pod(pod)
    })
}

struct StatusPrinter {
    form: OutputForm,
    last: String,
    /// Lines of the last drawing, which the next one overwrites.
    drawn: usize,
}

impl StatusPrinter {
    const fn new(form: OutputForm) -> Self {
        Self {
            form,
            last: String::new(),
            drawn: 0,
        }
    }

    /// Prints the state if it changed. Returns whether the rollout is done.
    fn show(&mut self, report: &StatusReport, now: Timestamp) -> Result<bool, CommandError> {
        let text = match self.form {
            OutputForm::Screen { colours } => render_status(report, now, colours),
            OutputForm::Lines => line(report),
            OutputForm::Json => format!("{}\n", serde_json::to_string(report)?),
        };
        if text != self.last {
            match self.form {
                OutputForm::Screen { .. } => {
                    let up = match self.drawn {
                        0 => String::new(),
                        lines => format!("\u{1b}[{lines}A\u{1b}[J"),
                    };
                    self.drawn = text.lines().count();
                    print(&format!("{up}{text}"))?;
                }
                OutputForm::Lines | OutputForm::Json => print(&text)?,
            }
            self.last = text;
        }
        Ok(report.done)
    }
}

/// kubectl's message, with the slowest node.
fn line(report: &StatusReport) -> String {
    if report.done {
        return format!("{}\n", report.message);
    }
    let mut text = report.message.clone();
    if let Some(slow) = report.slowest.first() {
        // The group key, because the message changes with the time.
        let why = slow.reasons.first().map(|reason| &*reason.group_key);
        let why = why.unwrap_or("not ready");
        text += &format!(" (slowest: {}: {why})", slow.node);
    }
    format!("{text}\n")
}
