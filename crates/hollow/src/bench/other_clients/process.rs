//! The process of the other clients: it reads a [`Spec`] from its standard input, sends requests
//! until that ends, and writes [`Counts`].

use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures::future::join_all;
use http::Method;
use kube::config::AuthInfo;
use pandaemon_client::{
    connect, errors,
    rest::{JSON, Rest},
};
use pandaemon_runtime::{Shutdown, spawn};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    time::{Instant, sleep},
};

/// How long a client waits that was refused: the server's usual `Retry-After`.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The size of a created object.
const OBJECT_BYTES: usize = 1_000;

/// Who does what.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) namespace: String,
    /// The tokens of those that list pods.
    pub(super) listers: Vec<String>,
    /// The tokens of those that create ConfigMaps.
    pub(super) creators: Vec<String>,
}

/// What the clients did.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) seconds: f64,
    pub(super) lists: u64,
    pub(super) creations: u64,
    /// Requests that priority and fairness refused.
    pub(super) refused: u64,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    lists: AtomicU64,
    creations: AtomicU64,
    refused: AtomicU64,
    errors: AtomicU64,
    first_error: Mutex<Option<String>>,
}

/// Sends requests until the input ends.
///
/// # Errors
/// When the input cannot be read, or the cluster cannot be used.
pub async fn run(config: kube::Config, out: &mut (impl Write + Send)) -> Result<()> {
    let mut input = BufReader::new(tokio::io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).await?;
    let spec: Spec = serde_json::from_str(&line).context("read what the clients are to do")?;
    let (shared, stop) = (Arc::new(Shared::default()), Shutdown::default());
    let began = Instant::now();
    let mut tasks = Vec::new();
    for token in &spec.listers {
        let path = format!("/api/v1/namespaces/{}/pods", spec.namespace);
        let (rest, shared) = (client(&config, token)?, Arc::clone(&shared));
        tasks.push(start(&stop, async move {
            loop {
                let sent = rest.send_only(Method::GET, &path, JSON, Vec::new());
                shared.note(&shared.lists, sent.await).await;
            }
        }));
    }
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "bench-"},
        "data": {"text": "x".repeat(OBJECT_BYTES)},
    });
    let object = serde_json::to_vec(&object)?;
    for token in &spec.creators {
        let path = format!("/api/v1/namespaces/{}/configmaps", spec.namespace);
        let (rest, shared) = (client(&config, token)?, Arc::clone(&shared));
        let object = object.clone();
        tasks.push(start(&stop, async move {
            loop {
                let sent = rest.send_only(Method::POST, &path, JSON, object.clone());
                shared.note(&shared.creations, sent.await).await;
            }
        }));
    }
    line.clear();
    while input.read_line(&mut line).await? > 0 {
        line.clear();
    }
    let seconds = began.elapsed().as_secs_f64();
    stop.trigger();
    join_all(tasks).await;
    let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let counts = Counts {
        seconds,
        lists: read(&shared.lists),
        creations: read(&shared.creations),
        refused: read(&shared.refused),
        errors: read(&shared.errors),
        first_error: shared.first_error.lock().take(),
    };
    serde_json::to_writer(out, &counts).context("write what the clients did")
}

/// A client of its own connection, as the account with this token.
fn client(config: &kube::Config, token: &str) -> Result<Rest> {
    let mut config = config.clone();
    config.auth_info = AuthInfo {
        token: Some(token.to_owned().into()),
        ..AuthInfo::default()
    };
    Ok(Rest::new(connect::direct(config)?))
}

fn start(
    stop: &Shutdown,
    work: impl Future<Output = ()> + Send + 'static,
) -> tokio::task::JoinHandle<Option<()>> {
    let stop = stop.clone();
    spawn("other-client", async move {
        stop.guard(work).await;
    })
}

impl Shared {
    async fn note(&self, done: &AtomicU64, sent: kube::Result<()>) {
        match sent {
            Ok(()) => {
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                if errors::code(&error) == Some(429) {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                } else {
                    self.errors.fetch_add(1, Ordering::Relaxed);
                    let mut first = self.first_error.lock();
                    first.get_or_insert_with(|| error.to_string());
                }
                sleep(RETRY_AFTER).await;
            }
        }
    }
}
