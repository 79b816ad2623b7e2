//! `containerLogs`: a container's log, with `follow` also what is appended later.

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
use pandaemon_runtime::connections::Pace;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{HttpError, HttpResponse, ServerState, find, is_set, query};
use crate::{
    context::Context,
    logs::{
        follow::LogFollower,
        read::{LogOptions, LogPrinter},
    },
    pod::{
        PodRef,
        sandbox::{CONTAINER_NAME, POD_UID},
    },
};

/// Chunks that wait for a slow client.
const QUEUE: usize = 16;
/// The approximate size of a chunk in bytes.
const CHUNK: usize = 32 << 10;
/// How often a followed log is read.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

type Chunk = Result<Frame<Bytes>, std::io::Error>;

pub(super) fn serve(
    state: &ServerState,
    request: &Request<Incoming>,
    namespace: &str,
    name: &str,
    container: &str,
) -> Result<HttpResponse, HttpError> {
    let pod = find(state, namespace, name, container)?;
    let options = options(request.uri())?;
    let path = file(&state.context, &pod, container, options.previous)?;
    let log_request = LogRequest {
        context: Arc::clone(&state.context),
        pod,
        container: container.to_owned(),
        path,
    };
    let (sender, receiver) = mpsc::channel(QUEUE);
    pandaemon_runtime::spawn("log", async move {
        if let Err(error) = log_request.send(options, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    });
    let body = StreamBody::new(ReceiverStream::new(receiver)).boxed();
    let mut response = Response::new(body);
    let plain = http::HeaderValue::from_static("text/plain");
    response.headers_mut().insert("Content-Type", plain);
    // A person may be reading it page by page.
    response.extensions_mut().insert(Pace::Unbounded);
    Ok(response)
}

fn options(uri: &http::Uri) -> Result<LogOptions, HttpError> {
    let wrong = |name: &str| (StatusCode::BAD_REQUEST, format!("invalid value for {name}"));
    let number = |name: &'static str| -> Result<Option<u64>, HttpError> {
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
    Ok(LogOptions {
        follow: is_set(uri, "follow"),
        tail: number("tailLines")?,
        since,
        timestamps: is_set(uri, "timestamps"),
        limit: number("limitBytes")?,
        previous: is_set(uri, "previous"),
    })
}

/// The log file of the container's newest start or, with `previous`, of the one before.
fn file(
    context: &Context,
    pod: &PodRef,
    container: &str,
    previous: bool,
) -> Result<PathBuf, HttpError> {
    let dir = context
        .paths
        .pod_logs(&pod.namespace, &pod.name, &pod.uid)
        .join(container);
    let mut attempts: Vec<u32> = attempts(&dir);
    attempts.sort_unstable();
    // While a container waits for its next start, its newest log is that of the previous start.
    let skip_newest = previous && waiting(pod, container).is_none();
    let chosen = attempts.iter().rev().nth(usize::from(skip_newest));
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

/// The reason of the container's waiting state, if it is waiting.
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

struct LogRequest {
    context: Arc<Context>,
    pod: Arc<PodRef>,
    container: String,
    path: PathBuf,
}

impl LogRequest {
    async fn send(self, options: LogOptions, sender: &mpsc::Sender<Chunk>) -> std::io::Result<()> {
        let follow = options.follow;
        let mut log = LogFollower::new(&self.path, options.tail)?;
        let mut printer = LogPrinter::new(options);
        let (mut line, mut out) = (Vec::new(), Vec::new());
        let mut ending = false;
        loop {
            while !printer.is_exhausted() && log.next(&mut line)? {
                printer.print(&line, &mut out);
                line.clear();
                if CHUNK < out.len() && !send(sender, &mut out).await {
                    return Ok(());
                }
            }
            if !send(sender, &mut out).await || !follow || printer.is_exhausted() || ending {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => (),
                () = sender.closed() => return Ok(()),
            }
            // Read once more after the container has exited: it may have written since the last
            // read.
            ending = !log.check_rotation()? && !self.is_running().await;
        }
    }

    async fn is_running(&self) -> bool {
        let labels = [
            (POD_UID, self.pod.uid.clone()),
            (CONTAINER_NAME, self.container.clone()),
        ];
        let labels = labels.map(|(key, value)| (key.to_owned(), value));
        let Ok(listed) = self.context.runtime.list_containers(labels.into()).await else {
            return true; // The runtime does not respond; the container may run.
        };
        let own_attempt = self
            .path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned());
        listed.iter().any(|one| {
            let attempt = one.metadata.as_ref().map(|meta| meta.attempt.to_string());
            one.state() != pb::ContainerState::ContainerExited && attempt == own_attempt
        })
    }
}

/// Sends the collected output; false if the client has disconnected.
async fn send(sender: &mpsc::Sender<Chunk>, out: &mut Vec<u8>) -> bool {
    if out.is_empty() {
        return true;
    }
    let chunk = Bytes::from(std::mem::take(out));
    sender.send(Ok(Frame::data(chunk))).await.is_ok()
}
