//! Keeps the agent of one node running inside the node's namespaces.

use std::{
    ffi::OsString,
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pandaemon_runtime::Shutdown;
use tokio::process::{Child, Command};

/// An agent that lived this long was not failing at start: the back-off begins anew.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// The longest pause between two starts.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long an agent may take to stop its containers before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(25);

/// How to start the agent of a node.
#[derive(Debug, Clone)]
pub struct AgentCommand {
    /// The `pandaemon` program.
    pub program: PathBuf,
    /// Arguments after `agent`.
    pub arguments: Vec<OsString>,
    /// The join token; goes through the environment, so that `ps` does not show it.
    pub token: String,
    /// Where its output goes.
    pub log: PathBuf,
    /// Where its process id is written; `nsenter` becomes the agent, so the id stays.
    pub pid_file: PathBuf,
}

/// Runs the agent until `shutdown`, starting it again when it dies.
pub async fn supervise(node: String, holder: u32, command: AgentCommand, shutdown: Shutdown) {
    let mut pause = Duration::from_millis(200);
    while !shutdown.is_triggered() {
        let started = tokio::time::Instant::now();
        match start(holder, &command) {
            Ok(child) => {
                if until_end(&node, child, &shutdown).await {
                    return;
                }
            }
            Err(error) => tracing::error!(node, %error, "cannot start the agent"),
        }
        if started.elapsed() > STABLE_AFTER {
            pause = Duration::from_millis(200);
        }
        tracing::warn!(node, ?pause, log = %command.log.display(), "the agent ended; it is started again");
        if shutdown.guard(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Waits for the end of the agent, or ends it on shutdown; true if it was the shutdown.
async fn until_end(node: &str, mut child: Child, shutdown: &Shutdown) -> bool {
    tokio::select! {
        status = child.wait() => {
            tracing::warn!(node, ?status, "the agent ended");
            false
        }
        () = shutdown.triggered() => {
            stop(&mut child).await;
            true
        }
    }
}

async fn stop(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended by itself a moment ago.
        let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if tokio::time::timeout(STOP_PATIENCE, child.wait())
        .await
        .is_err()
    {
        let _gone = child.kill().await;
    }
}

fn start(holder: u32, command: &AgentCommand) -> std::io::Result<Child> {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&command.log)?;
    let child = Command::new("nsenter")
        .args(["--target", &holder.to_string(), "--net", "--mount", "--uts"])
        .arg("--")
        .arg(&command.program)
        .arg("agent")
        .args(&command.arguments)
        .env("PANDAEMON_TOKEN", &command.token)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    std::fs::write(
        &command.pid_file,
        child.id().unwrap_or_default().to_string(),
    )?;
    Ok(child)
}

/// The program that runs now, also when its file has been replaced since.
#[must_use]
pub fn own_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| Path::new("/proc/self/exe").to_owned())
}
