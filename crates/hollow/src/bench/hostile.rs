//! `pandaemon bench hostile`: sends requests that are made to cost as much as possible, one after
//! the other, and measures what each takes of the server and how another client is served
//! meanwhile. [`requests`] has the list.

pub mod requests;

use std::{
    fs,
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use http::{Request, header};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use self::requests::{Call, NAMESPACE, Plan, REQUESTS, USER};
use super::process::{Usage, usage};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The object that the other client reads and writes.
const OTHERS: &str = "/api/v1/namespaces/default/configmaps/other-client";

/// The options of `pandaemon bench hostile`.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct HostileArgs {
    /// The process of the server, on this machine; its peak memory is reset before each request
    #[arg(long, value_name = "PID")]
    pub pid: u32,
    /// Send only the requests whose names contain this text
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
}

/// What a hostile request took.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The name of the request.
    pub name: &'static str,
    /// Size of its body, in bytes.
    pub sent: usize,
    /// The HTTP status; 0 without an answer.
    pub code: u16,
    /// Size of the answer's body, in bytes.
    pub answered: usize,
    /// Processor time of the server, that for the other client included.
    pub cpu: Duration,
    /// The highest memory of the server since the request, beyond what it had when it was idle
    /// before the first one, in bytes.
    pub memory: u64,
    /// The slowest answer that the other client got meanwhile.
    pub slowest: Duration,
}

/// The line above the outcomes.
pub const HEADER: &str = "| request | MB sent | answer | KB | core s | MB | other client |\n\
                          | --- | --- | --- | --- | --- | --- | --- |";

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "| {} | {:.1} | {} | {} | {:.2} | {} | {} ms |",
            self.name,
            self.sent as f64 / 1e6,
            self.code,
            self.answered.div_ceil(1000),
            self.cpu.as_secs_f64(),
            self.memory / 1_000_000,
            self.slowest.as_millis()
        )
    }
}

/// Runs the benchmark and prints its table.
///
/// # Errors
/// When the server cannot be used or ends.
pub async fn hostile(client: Client, args: HostileArgs, out: &mut impl Write) -> Result<()> {
    writeln!(out, "{HEADER}")?;
    measure(&client, &args, |outcome| {
        writeln!(out, "{outcome}").context("write the result")
    })
    .await
}

/// Sends the requests and reports the outcome of each. The client is the administrator.
///
/// # Errors
/// When the server cannot be prepared or is gone, and those of `report`.
pub async fn measure(
    client: &Client,
    args: &HostileArgs,
    mut report: impl FnMut(Outcome) -> Result<()>,
) -> Result<()> {
    prepare(client).await?;
    let idle = usage(args.pid)?;
    let wanted = args.only.as_deref().unwrap_or_default();
    for (name, plan) in REQUESTS.iter().filter(|(name, _)| name.contains(wanted)) {
        let measured = one(client, args.pid, &idle, name, plan()).await;
        report(measured.with_context(|| format!("request `{name}`"))?)?;
    }
    Ok(())
}

/// Creates the namespace, the object of the other client, and the rights of the user without the
/// administrator's.
async fn prepare(client: &Client) -> Result<()> {
    let map = json!({"metadata": {"name": "other-client"}});
    let role = json!({"metadata": {"name": USER}, "rules": [
        {"apiGroups": ["*"], "resources": ["roles", "clusterroles"], "verbs": ["get", "create", "update", "patch"]},
    ]});
    let subjects = json!([{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": USER}]);
    let binding = json!({"metadata": {"name": USER}, "subjects": subjects,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": USER}});
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    for (path, object) in [
        (
            "/api/v1/namespaces",
            json!({"metadata": {"name": NAMESPACE}}),
        ),
        ("/api/v1/namespaces/default/configmaps", map),
        (&*format!("{rbac}/clusterroles"), role),
        (&*format!("{rbac}/clusterrolebindings"), binding),
    ] {
        let (code, answer) = send(client, &Call::post(path, object.to_string())).await?;
        ensure!(
            matches!(code, 201 | 409),
            "POST {path}: {code} {}",
            String::from_utf8_lossy(&answer)
        );
    }
    Ok(())
}

async fn one(
    client: &Client,
    pid: u32,
    idle: &Usage,
    name: &'static str,
    plan: Plan,
) -> Result<Outcome> {
    for call in &plan.setup {
        let (code, answer) = send(client, call).await?;
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(500)]);
        ensure!(code < 300, "{} {}: {code} {shown}", call.method, call.path);
    }
    // What the preparation left is freed meanwhile.
    sleep(Duration::from_millis(100)).await;
    reset_peak(pid)?;
    let before = usage(pid)?;
    let other = OtherClient::start(client);
    let answer = send(client, &plan.call).await;
    let slowest = other.stop().await?;
    let after = usage(pid)?;
    let (code, answer) = answer.unwrap_or_default();
    for path in &plan.created {
        send(
            client,
            &Call::new("DELETE", *path, "application/json", DELETION),
        )
        .await?;
    }
    Ok(Outcome {
        name,
        sent: plan.call.body.len(),
        code,
        answered: answer.len(),
        cpu: after.cpu.saturating_sub(before.cpu),
        memory: after.peak.saturating_sub(idle.resident),
        slowest,
    })
}

/// The body of the requests that clean up.
const DELETION: &str = r#"{"gracePeriodSeconds":0}"#;

/// Sets the highest memory of a process to what it has now (`man 5 proc`, `clear_refs`).
fn reset_peak(pid: u32) -> Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    fs::write(&path, "5").with_context(|| format!("write {path}"))
}

/// Sends a request. Returns status and body of the answer.
async fn send(client: &Client, call: &Call) -> Result<(u16, Vec<u8>)> {
    let mut request = Request::builder().method(call.method).uri(&call.path);
    if !call.body.is_empty() {
        request = request.header(header::CONTENT_TYPE, call.content_type);
    }
    if call.as_user {
        request = request.header("impersonate-user", USER);
    }
    let request = request.body(Body::from(call.body.clone()))?;
    let answer = async {
        let response = client.send(request).await?;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((code, body.to_vec()))
    };
    timeout(TIMEOUT, answer)
        .await
        .context("no answer in time")?
}

/// Another client, which reads and writes a small object all the time.
struct OtherClient {
    ended: Arc<AtomicBool>,
    task: JoinHandle<Option<Result<Duration>>>,
}

impl OtherClient {
    fn start(client: &Client) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (client, flag) = (client.clone(), Arc::clone(&ended));
        let task = pandaemon_runtime::spawn("other-client", async move {
            let mut slowest = Duration::ZERO;
            for at in 0_u64.. {
                let text = json!({"data": {"at": at.to_string()}}).to_string();
                let patch = Call::new("PATCH", OTHERS, "application/merge-patch+json", text);
                for call in [Call::get(OTHERS), patch] {
                    let since = Instant::now();
                    let (code, _) = send(&client, &call).await?;
                    ensure!(code == 200, "the other client got {code}");
                    slowest = slowest.max(since.elapsed());
                }
                if flag.load(Ordering::Relaxed) {
                    break;
                }
                sleep(Duration::from_millis(5)).await;
            }
            Ok(slowest)
        });
        Self { ended, task }
    }

    /// Ends it. Returns its slowest answer.
    async fn stop(self) -> Result<Duration> {
        self.ended.store(true, Ordering::Relaxed);
        let slowest = self.task.await?.context("the other client panicked")?;
        slowest.context("the other client")
    }
}
