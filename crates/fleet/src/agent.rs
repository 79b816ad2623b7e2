//! Supervises the agent of one node, which runs inside the node's namespaces.

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
use pandaemon_runtime::{
    Shutdown,
    files::{open_private, replace_private},
};
use pandaemon_types::Sensitive;
use tokio::process::{Child, Command};

/// After an agent has run this long, the restart delay is reset.
const STABLE_AFTER: Duration = Duration::from_secs(30);
/// The first delay before a restart; it doubles with each failure.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// The longest delay before a restart.
const MAX_DELAY: Duration = Duration::from_secs(10);
/// The exit status of an agent that the server has refused, such as when its Node was deleted.
const REFUSED: i32 = 5;
/// The delay before such an agent starts again, as a new node. The control plane has removed the
/// pods of the former one by then.
const REFUSED_DELAY: Duration = Duration::from_secs(15);
/// How long an agent may take to stop its containers before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(25);

/// How to start the agent of a node.
#[derive(Debug, Clone)]
pub struct AgentCommand {
    /// The `pandaemon` executable.
    pub program: PathBuf,
    /// Arguments after the subcommand `agent`.
    pub arguments: Vec<OsString>,
    /// The join token. It is passed in the environment, so that `ps` does not show it.
    pub token: Sensitive,
    /// The file that receives its standard output and error.
    pub log: PathBuf,
    /// The file that receives its process id: `nsenter` replaces itself by the agent, which keeps
    /// the id.
    pub pid_file: PathBuf,
}

/// Runs the agent until `shutdown` and restarts it whenever it ends. Each restart waits longer.
pub async fn supervise(node: String, holder: u32, command: AgentCommand, shutdown: Shutdown) {
    let mut delay = FIRST_DELAY;
    while !shutdown.is_triggered() {
        let started = tokio::time::Instant::now();
        let status = match start(holder, &command) {
            Ok(child) => match wait_or_stop(&node, child, &shutdown).await {
                Some(status) => status,
                None => return,
            },
            Err(error) => {
                tracing::error!(node, %error, "cannot start the agent of a node");
                None
            }
        };
        if started.elapsed() > STABLE_AFTER {
            delay = FIRST_DELAY;
        }
        if status == Some(REFUSED) {
            delay = REFUSED_DELAY;
        }
        tracing::warn!(node, ?delay, log = %command.log.display(), "the agent ended; restarting it after the delay");
        if shutdown.guard(tokio::time::sleep(delay)).await.is_none() {
            return;
        }
        delay = (delay * 2).min(MAX_DELAY);
    }
}

/// Waits until the agent ends, and returns its exit status. On shutdown it ends the agent and
/// returns `None`.
async fn wait_or_stop(node: &str, mut child: Child, shutdown: &Shutdown) -> Option<Option<i32>> {
    tokio::select! {
        status = child.wait() => {
            tracing::warn!(node, ?status, "the agent ended");
            Some(status.ok().and_then(|status| status.code()))
        }
        () = shutdown.triggered() => {
            stop(&mut child).await;
            None
        }
    }
}

async fn stop(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // An error means that it has just ended by itself.
        let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if tokio::time::timeout(STOP_TIMEOUT, child.wait())
        .await
        .is_err()
    {
        let _gone = child.kill().await;
    }
}

fn start(holder: u32, command: &AgentCommand) -> std::io::Result<Child> {
    let log = open_private(OpenOptions::new().create(true).append(true), &command.log)?;
    let child = Command::new("nsenter")
        .args(["--target", &holder.to_string(), "--net", "--mount", "--uts"])
        .arg("--")
        .arg(&command.program)
        .arg("agent")
        .args(&command.arguments)
        .env("PANDAEMON_TOKEN", &*command.token)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()?;
    let pid = child.id().unwrap_or_default().to_string();
    replace_private(&command.pid_file, pid.as_bytes())?;
    Ok(child)
}

/// The executable of this process, even if the file has been replaced since.
#[must_use]
pub fn own_program() -> PathBuf {
    std::env::current_exe().unwrap_or_else(|_| Path::new("/proc/self/exe").to_owned())
}
