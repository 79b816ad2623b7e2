//! `status --watch`: follows a rollout by watching its DaemonSet and pods until it is done.

use std::{collections::BTreeMap, pin::Pin, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use kube::{
    api::WatchParams,
    core::{Request as Collection, WatchEvent},
};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    cluster::Cluster,
    command::print,
    failed::Failed,
    gather::{labels, now, pods_path, sets_path},
    status::{StatusReport, render_status, status},
    world::{Daemon, World},
};

/// How often a screen is drawn anew at most; times on it go on without events, too.
const REDRAW: Duration = Duration::from_millis(200);
const TICK: Duration = Duration::from_secs(5);
const WATCH_SECONDS: u32 = 290;
const RETRY: Duration = Duration::from_secs(1);

/// How progress is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// The whole state, drawn over the last one.
    Screen { colours: bool },
    /// A line for each change.
    Lines,
    /// An object a line for each change.
    Json,
}

/// What happened.
enum News {
    Set(Value),
    SetGone,
    Pod(Box<Daemon>),
    PodGone(Box<Daemon>),
    /// A watch ended: read everything anew.
    Again,
    /// A watch failed.
    Broken(kube::Error),
}

/// Follows a rollout until it is done.
pub(crate) async fn run(
    cluster: &Cluster,
    name: &str,
    form: Form,
    timeout: Duration,
) -> Result<(), Failed> {
    let following = follow(cluster, name, form);
    if timeout.is_zero() {
        return following.await;
    }
    match tokio::time::timeout(timeout, following).await {
        Ok(done) => done,
        Err(_) => Err(Failed::new("error: timed out waiting for the condition")),
    }
}

/// Follows a rollout, with a line for each change, until it is done; for no longer than `timeout`, unless
/// that is zero.
///
/// # Errors
/// With kubectl's words.
pub async fn follow_rollout(
    cluster: &Cluster,
    name: &str,
    timeout: Duration,
) -> Result<(), Failed> {
    run(cluster, name, Form::Lines, timeout).await
}

async fn follow(cluster: &Cluster, name: &str, form: Form) -> Result<(), Failed> {
    let mut canvas = Canvas::new(form);
    let mut first = true;
    loop {
        match watch_once(cluster, name, &mut canvas, first).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            // Only the first reading may fail: later the server may be away for a while.
            Err(failed) if first || failed.message.contains("(NotFound)") => return Err(failed),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
        first = false;
    }
}

/// Reads, and watches until a watch ends; whether the rollout is done.
async fn watch_once(
    cluster: &Cluster,
    name: &str,
    canvas: &mut Canvas,
    first: bool,
) -> Result<bool, Failed> {
    let namespace = &cluster.namespace;
    let set = cluster.set(namespace, name).await?;
    let (set_version, selector) = (version(&set), set["spec"]["selector"].clone());
    let (mut world, pods_version) = cluster.daemons(set).await?;
    let mut pods: BTreeMap<String, Daemon> = std::mem::take(&mut world.pods)
        .into_iter()
        .map(|pod| (pod.view.uid.to_string(), pod))
        .collect();
    let only = format!("metadata.name={name}");
    let path = sets_path(namespace);
    let sets = watch(cluster, &path, ("", &only), &set_version, set_news);
    let path = pods_path(namespace);
    let labels = labels(&world.set);
    let daemons = watch(cluster, &path, (&labels, ""), &pods_version, pod_news);
    let mut news = stream::select(sets, daemons);
    loop {
        world.pods = pods.values().cloned().collect();
        world.now = now();
        if canvas.show(&world)? {
            return Ok(true);
        }
        let wait = tokio::time::timeout(TICK, news.next()).await;
        let Ok(next) = wait else { continue };
        let mut batch = vec![next.unwrap_or(News::Again)];
        if matches!(canvas.form, Form::Screen { .. }) {
            // Lines and objects tell of every change; a screen only of the last.
            gather(&mut news, &mut batch).await;
        }
        for news in batch {
            match news {
                News::Set(set) if set["spec"]["selector"] != selector => return Ok(false),
                News::Set(set) => {
                    let template = world.set["spec"]["template"] == set["spec"]["template"];
                    let seen = |set: &Value| set["status"]["observedGeneration"].clone();
                    let same = template && seen(&world.set) == seen(&set);
                    world.set = set;
                    if !same {
                        // A new template has a new revision.
                        let set = world.set.clone();
                        world.revisions = cluster.daemons(set).await?.0.revisions;
                    }
                }
                News::SetGone => return Err(Failed::not_found("daemonsets.apps", name)),
                News::Pod(pod) => drop(pods.insert(pod.view.uid.to_string(), *pod)),
                News::PodGone(pod) => drop(pods.remove(&pod.view.uid.to_string())),
                News::Again => return Ok(false),
                News::Broken(error) if first => return Err(error.into()),
                News::Broken(_) => {
                    tokio::time::sleep(RETRY).await;
                    return Ok(false);
                }
            }
        }
    }
}

/// Takes in what else happens for a moment.
async fn gather(news: &mut (impl Stream<Item = News> + Unpin), batch: &mut Vec<News>) {
    let until = Instant::now() + REDRAW;
    while let Ok(Some(more)) = tokio::time::timeout_at(until, news.next()).await {
        batch.push(more);
    }
}

fn version(object: &Value) -> String {
    let version = object["metadata"]["resourceVersion"].as_str();
    version.unwrap_or_default().to_owned()
}

type NewsStream = Pin<Box<dyn Stream<Item = News> + Send>>;

fn watch(
    cluster: &Cluster,
    path: &str,
    (labels, fields): (&str, &str),
    version: &str,
    read: fn(Value, bool) -> Option<News>,
) -> NewsStream {
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
    let news = opened.filter_map(move |event| {
        let news = match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => read(object, false),
            Ok(WatchEvent::Deleted(object)) => read(object, true),
            Ok(WatchEvent::Bookmark(_)) => None,
            Ok(WatchEvent::Error(_)) => Some(News::Again),
            Err(error) => Some(News::Broken(error)),
        };
        std::future::ready(news)
    });
    Box::pin(news.chain(stream::once(std::future::ready(News::Again))))
}

fn set_news(object: Value, gone: bool) -> Option<News> {
    Some(if gone {
        News::SetGone
    } else {
        News::Set(object)
    })
}

fn pod_news(object: Value, gone: bool) -> Option<News> {
    let pod = Box::new(Daemon::deserialize(object).ok()?);
    Some(if gone {
        News::PodGone(pod)
    } else {
        News::Pod(pod)
    })
}

// === what is shown ===

struct Canvas {
    form: Form,
    last: String,
    /// Lines of the last drawing, to be drawn over.
    drawn: usize,
}

impl Canvas {
    const fn new(form: Form) -> Self {
        Self {
            form,
            last: String::new(),
            drawn: 0,
        }
    }

    /// Shows how it stands, if that is new; whether it is done.
    fn show(&mut self, world: &World) -> Result<bool, Failed> {
        let report = status(world)?;
        let text = match self.form {
            Form::Screen { colours } => render_status(&report, world.now, colours),
            Form::Lines => line(&report),
            Form::Json => format!("{}\n", serde_json::to_string(&report)?),
        };
        if text != self.last {
            match self.form {
                Form::Screen { .. } => {
                    let up = match self.drawn {
                        0 => String::new(),
                        lines => format!("\u{1b}[{lines}A\u{1b}[J"),
                    };
                    self.drawn = text.lines().count();
                    print(&format!("{up}{text}"))?;
                }
                Form::Lines | Form::Json => print(&text)?,
            }
            self.last = text;
        }
        Ok(report.done)
    }
}

/// kubectl's sentence, and the numbers behind it.
fn line(report: &StatusReport) -> String {
    if report.done {
        return format!("{}\n", report.message);
    }
    let mut text = report.message.clone();
    if let Some(slow) = report.slowest.first() {
        // What nodes have in common: the whole sentence changes with the time.
        let why = slow.reasons.first().map(|reason| &*reason.gist);
        let why = why.unwrap_or("not ready");
        text += &format!(" (slowest: {}: {why})", slow.node);
    }
    format!("{text}\n")
}
