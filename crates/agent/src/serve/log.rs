//! `containerLogs`: a container's log, also as it grows.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use pandaemon_cri::pb;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{Answer, Refusal, Scene, find, is_set, query};
use crate::{
    context::Context,
    logs::{
        follow::Follow,
        read::{Options, Printer},
    },
    pod::{
        PodRef,
        sandbox::{CONTAINER_NAME, POD_UID},
    },
};

/// Printed pieces that a slow reader may be behind.
const QUEUE: usize = 16;
/// Pieces are about this large.
const PIECE: usize = 32 << 10;
/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(100);

type Piece = Result<Frame<Bytes>, std::io::Error>;

pub(super) fn serve(
    scene: &Scene,
    request: &Request<Incoming>,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<Answer, Refusal> {
    let pod = find(scene, namespace, name, container)?;
    let options = options(request.uri())?;
    let path = file(&scene.context, &pod, container, options.previous)?;
    let follower = Follower {
        context: Arc::clone(&scene.context),
        pod,
        container: container.to_owned(),
        path,
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    pandaemon_runtime::spawn("log", async move {
        if let Err(error) = follower.send(options, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    let body = StreamBody::new(ReceiverStream::new(receiver)).boxed();
    let mut answer = Response::new(body);
    let plain = http::HeaderValue::from_static("text/plain");
    answer.headers_mut().insert("Content-Type", plain);
    Ok(answer)
}

fn options(uri: &http::Uri) -> Result<Options, Refusal> {
    let wrong = |name: &str| (StatusCode::BAD_REQUEST, format!("invalid value for {name}"));
    let number = |name: &'static str| -> Result<Option<u64>, Refusal> {
        let value = query(uri, name).next();
        value
            .map(|text| text.parse().map_err(|_| wrong(name)))
            .transpose()
    };
    let mut since = None;
    if let Some(seconds) = number("sinceSeconds")? {
        let span = jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX));
        since = jiff::Timestamp::now().checked_sub(span).ok();
    }
    if let Some(text) = query(uri, "sinceTime").next() {
        since = Some(text.parse().map_err(|_| wrong("sinceTime"))?);
    }
    Ok(Options {
        follow: is_set(uri, "follow"),
        tail: number("tailLines")?,
        since,
        timestamps: is_set(uri, "timestamps"),
        limit: number("limitBytes")?,
        previous: is_set(uri, "previous"),
    })
}

/// The log file of the container's newest start, or of the one before it.
fn file(
    context: &Context,
    pod: &PodRef,
    container: &str,
    previous: bool,
) -> Result<PathBuf, Refusal> {
    let dir = context
        .paths
        .pod_logs(&pod.namespace, &pod.name, &pod.uid)
        .join(container);
    let mut attempts: Vec<u32> = attempts(&dir);
    attempts.sort_unstable();
    // A container that waits for its next start has only former ones.
    let former = previous && waiting(pod, container).is_none();
    let chosen = attempts.iter().rev().nth(usize::from(former));
    match chosen {
        Some(attempt) => Ok(dir.join(format!("{attempt}.log"))),
        None if previous => Err((
            StatusCode::BAD_REQUEST,
            format!(
                "previous terminated container {container:?} in pod {:?} not found",
                pod.name
            ),
        )),
        None => Err((
            StatusCode::BAD_REQUEST,
            format!(
                "container {container:?} in pod {:?} is waiting to start: {}",
                pod.name,
                waiting_reason(pod, container)
            ),
        )),
    }
}

fn attempts(dir: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
        .collect()
}

/// Why a container waits for its start, if it does.
fn waiting<'a>(pod: &'a PodRef, container: &str) -> Option<&'a str> {
    let status = pod.object.status.as_ref()?;
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let mut statuses = lists.into_iter().flatten().flatten();
    let status = statuses.find(|one| one.name == container)?;
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    Some(waiting.reason.as_deref().unwrap_or("ContainerCreating"))
}

fn waiting_reason(pod: &PodRef, container: &str) -> String {
    match waiting(pod, container) {
        Some("ErrImagePull" | "ImagePullBackOff") => "trying and failing to pull image".to_owned(),
        Some(reason) => reason.to_owned(),
        None => "ContainerCreating".to_owned(),
    }
}

struct Follower {
    context: Arc<Context>,
    pod: Arc<PodRef>,
    container: String,
    path: PathBuf,
}

impl Follower {
    async fn send(self, options: Options, sender: &mpsc::Sender<Piece>) -> std::io::Result<()> {
        let follow = options.follow;
        let mut log = Follow::new(&self.path, options.tail)?;
        let mut printer = Printer::new(options);
        let (mut line, mut out) = (Vec::new(), Vec::new());
        let mut ending = false;
        loop {
            while !printer.is_exhausted() && log.next(&mut line)? {
                printer.print(&line, &mut out);
                line.clear();
                if PIECE < out.len() && !send(sender, &mut out).await {
                    return Ok(());
                }
            }
            if !send(sender, &mut out).await || !follow || printer.is_exhausted() || ending {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => (),
                () = sender.closed() => return Ok(()),
            }
            // Once more after the end, for what was written between the last look and it.
            ending = !log.look()? && !self.is_running().await;
        }
    }

    async fn is_running(&self) -> bool {
        let labels = [
            (POD_UID, self.pod.uid.clone()),
            (CONTAINER_NAME, self.container.clone()),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value));
        let Ok(listed) = self.context.runtime.list_containers(labels.into()).await else {
            return true; // the runtime is away, the container need not be
        };
        let mine = self
            .path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        listed.iter().any(|one| {
            let attempt = one.metadata.as_ref().map(|meta| meta.attempt.to_string());
            one.state() != pb::ContainerState::ContainerExited && attempt == mine
        })
    }
}

/// Sends what has been gathered; false when nobody reads any more.
async fn send(sender: &mpsc::Sender<Piece>, out: &mut Vec<u8>) -> bool {
    if out.is_empty() {
        return true;
    }
    let piece = Bytes::from(std::mem::take(out));
    sender.send(Ok(Frame::data(piece))).await.is_ok()
}
