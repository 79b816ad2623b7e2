//! The machine's containerd as the agent's child: configured below the data directory, started,
//! watched, started again when it dies, and left running when only the agent ends.
//!
//! It runs in a process group of its own, so the signals of a terminal or a supervisor do not
//! reach it, and a new agent finds it by its pid file and socket. Containers do not depend on it:
//! each has a shim that outlives it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pandaemon_cri::{CriClient, Runtime as _};
use pandaemon_runtime::Shutdown;
use tokio::{process::Command, time::sleep};

use super::{Machine, cni, find};
use crate::{
    config::{Lacking, Paths},
    images::PAUSE_IMAGE,
};

/// What to type where the runtime is missing.
const INSTALL: &str = "apt-get install -y containerd containernetworking-plugins iptables";
/// A log of the child larger than this starts over with the next start.
const MAX_LOG: u64 = 8 << 20;
const FIRST_RESTART: Duration = Duration::from_millis(500);
const LAST_RESTART: Duration = Duration::from_secs(30);
/// How long a fresh containerd may take to answer.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A containerd that belongs to this agent.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    binary: PathBuf,
    config: PathBuf,
    pid_file: PathBuf,
    log: PathBuf,
    /// Where it listens.
    pub socket: PathBuf,
}

impl Child {
    /// What must be installed: containerd itself, and the folder of the network plugins.
    ///
    /// # Errors
    /// What is missing, and the line that installs it.
    pub(crate) fn programs() -> Result<(PathBuf, &'static Path), Lacking> {
        let Some(binary) = find("containerd") else {
            return Err(Lacking(format!(
                "containerd was not found; install it: {INSTALL}"
            )));
        };
        if find("runc").is_none() {
            return Err(Lacking(
                "runc was not found; install it: apt-get install -y runc".to_owned(),
            ));
        }
        let plugins = cni::plugin_dir().ok_or_else(|| {
            Lacking(format!(
                "the network plugins bridge, host-local, loopback and portmap were not found in \
                 /opt/cni/bin or /usr/lib/cni; install them: {INSTALL}"
            ))
        })?;
        Ok((binary, plugins))
    }

    /// Writes the configuration for a containerd of this agent.
    ///
    /// # Errors
    /// When containerd or its network plugins are not installed, or a file cannot be written.
    pub(crate) fn prepare(
        paths: &Paths,
        machine: &Machine,
        pod_cidr: &str,
    ) -> anyhow::Result<Self> {
        let (binary, plugins) = Self::programs()?;
        let dir = paths.containerd();
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        cni::write_config(paths, pod_cidr, machine.iptables).context("configure pod networking")?;
        let socket = paths.socket("containerd.sock");
        if let Some(parent) = socket.parent() {
            fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        }
        let child = Self {
            binary,
            config: dir.join("config.toml"),
            pid_file: dir.join("containerd.pid"),
            log: dir.join("containerd.log"),
            socket,
        };
        let text = configuration(&dir, &child.socket, paths, machine, plugins);
        fs::write(&child.config, text)
            .with_context(|| format!("write {}", child.config.display()))?;
        Ok(child)
    }

    /// Adopts the containerd of an agent before this one, or starts one, and keeps it running
    /// until shutdown. Returns when it answers.
    ///
    /// # Errors
    /// When it does not answer in time; the text ends with what it logged last.
    pub(crate) async fn keep(&self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let running = self.running();
        match running {
            Some(pid) => {
                tracing::info!(pid, "adopted the running containerd");
                warn_of_other_namespaces(pid);
            }
            None => tracing::info!(socket = %self.socket.display(), "starting containerd"),
        }
        let (this, stop) = (self.clone(), shutdown.clone());
        pandaemon_runtime::spawn("containerd", async move {
            stop.guard(this.supervise(running)).await;
        });
        self.wait_ready().await
    }

    /// Asks containerd to end, and waits for it. The containers go on.
    pub(crate) async fn stop(&self) {
        let Some(pid) = self.running() else { return };
        let target = Pid::from_raw(pid);
        let _ = kill(target, Signal::SIGTERM);
        for round in 0..100_u32 {
            if !alive(pid) {
                break;
            }
            if round == 80 {
                let _ = kill(target, Signal::SIGKILL);
            }
            sleep(Duration::from_millis(50)).await;
        }
        let _ = fs::remove_file(&self.pid_file);
    }

    async fn supervise(&self, mut running: Option<i32>) {
        let mut pause = FIRST_RESTART;
        loop {
            let began = tokio::time::Instant::now();
            match running.take() {
                Some(pid) => wait_for_stranger(pid).await,
                None => match self.start() {
                    Ok(mut child) => {
                        let status = child.wait().await;
                        tracing::error!(?status, log = %self.log.display(), "containerd ended");
                    }
                    Err(error) => tracing::error!(%error, "start containerd"),
                },
            }
            if began.elapsed() > LAST_RESTART {
                pause = FIRST_RESTART;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_RESTART);
        }
    }

    fn start(&self) -> std::io::Result<tokio::process::Child> {
        let _ = fs::remove_file(&self.socket);
        let fresh = fs::metadata(&self.log).is_ok_and(|meta| meta.len() > MAX_LOG);
        let mut options = File::options();
        options.create(true).append(true);
        if fresh {
            let _ = fs::remove_file(&self.log);
        }
        let log = options.open(&self.log)?;
        let child = Command::new(&self.binary)
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .process_group(0)
            .kill_on_drop(false)
            .spawn()?;
        if let Some(pid) = child.id() {
            fs::write(&self.pid_file, pid.to_string())?;
        }
        Ok(child)
    }

    /// The pid of a running containerd that was started with our configuration.
    fn running(&self) -> Option<i32> {
        let pid: i32 = fs::read_to_string(&self.pid_file)
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let config = self.config.to_string_lossy();
        let ours = command
            .split(|&byte| byte == 0)
            .any(|word| word == config.as_bytes());
        (ours && alive(pid)).then_some(pid)
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
        let client = CriClient::new(&self.socket)?;
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        loop {
            let reason = match self.socket.exists() {
                false => "its socket has not appeared".to_owned(),
                true => match client.version().await {
                    Ok(_version) => return Ok(()),
                    Err(error) => error.to_string(),
                },
            };
            if deadline < tokio::time::Instant::now() {
                bail!(
                    "containerd does not answer: {reason}; its log says: {}",
                    self.last_words()
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().next_back().unwrap_or("nothing").to_owned()
    }
}

/// An agent that was started into other namespaces than its containerd cannot work fully.
fn warn_of_other_namespaces(pid: i32) {
    for kind in ["mnt", "net"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
        if of("self") != of(&pid.to_string()) {
            tracing::warn!(
                pid,
                kind,
                "the running containerd is in another namespace: mounts or addresses that the \
                 agent makes do not reach its containers"
            );
        }
    }
}

/// Waits for a process that is not our child.
async fn wait_for_stranger(pid: i32) {
    while alive(pid) {
        sleep(Duration::from_millis(500)).await;
    }
    tracing::error!(pid, "the adopted containerd ended");
}

/// Whether a process exists and is not only waiting to be collected.
fn alive(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the name, which is in parentheses.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Plugins that nothing here uses; each costs start time and memory.
const DISABLED: [&str; 8] = [
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.grpc.v1.healthcheck",
];

fn configuration(
    dir: &Path,
    socket: &Path,
    paths: &Paths,
    machine: &Machine,
    plugins: &Path,
) -> String {
    let snapshotter = if machine.overlay {
        "overlayfs"
    } else {
        "native"
    };
    let cni = cni::config_dir(paths);
    let disabled: Vec<_> = DISABLED
        .iter()
        .map(|plugin| format!("{plugin:?}"))
        .collect();
    format!(
        r#"# Written at every start of the agent.
version = 2
root = {root:?}
state = {state:?}
disabled_plugins = [{disabled}]

[grpc]
  address = {socket:?}

[ttrpc]
  address = "{ttrpc}.ttrpc"

[debug]
  level = "warn"
  address = ""

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {pause:?}
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  restrict_oom_score_adj = {restrict}
  netns_mounts_under_state_dir = true
  tolerate_missing_hugetlb_controller = true

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {plugins:?}
    conf_dir = {cni:?}
    max_conf_num = 1
"#,
        root = dir.join("root"),
        state = dir.join("state"),
        disabled = disabled.join(", "),
        ttrpc = socket.display(),
        pause = PAUSE_IMAGE,
        restrict = !machine.may_lower_oom_score,
    )
}
