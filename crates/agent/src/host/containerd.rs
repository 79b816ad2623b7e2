//! The agent's own containerd: configured below the data directory, started, restarted when it
//! ends, and left running when only the agent ends.
//!
//! It has a process group of its own, so that signals to the agent's group do not reach it. A new
//! agent finds it by its pid file and adopts it. Containers do not depend on it: each has a shim
//! that outlives it.

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
    config::{MissingRequirement, Paths},
    images::PAUSE_IMAGE,
    supervise::spawn_loop,
};

/// The command that installs containerd and the CNI plugins.
const INSTALL: &str = "apt-get install -y containerd containernetworking-plugins iptables";
/// A containerd log larger than this many bytes is deleted at the next start.
const MAX_LOG: u64 = 8 << 20;
/// The first delay before a restart; it doubles with each exit.
const FIRST_DELAY: Duration = Duration::from_millis(500);
/// The longest delay before a restart. After containerd has run this long, the delay is reset.
const MAX_DELAY: Duration = Duration::from_secs(30);
/// How long containerd may take to respond after its start.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// The containerd of this agent.
#[derive(Debug, Clone)]
pub(crate) struct ManagedContainerd {
    binary: PathBuf,
    config: PathBuf,
    pid_file: PathBuf,
    log: PathBuf,
    pub socket: PathBuf,
}

impl ManagedContainerd {
    /// The paths of containerd and of the directory with the CNI plugins.
    ///
    /// # Errors
    /// What is missing, and the command that installs it.
    pub(crate) fn find_programs() -> Result<(PathBuf, &'static Path), MissingRequirement> {
        let Some(binary) = find("containerd") else {
            return Err(MissingRequirement(format!(
                "containerd was not found; install it: {INSTALL}"
            )));
        };
        if find("runc").is_none() {
            return Err(MissingRequirement(
                "runc was not found; install it: apt-get install -y runc".to_owned(),
            ));
        }
        let plugins = cni::plugin_dir().ok_or_else(|| {
            MissingRequirement(format!(
                "the CNI plugins bridge, host-local, loopback and portmap were not found in \
                 /opt/cni/bin or /usr/lib/cni; install them: {INSTALL}"
            ))
        })?;
        Ok((binary, plugins))
    }

    /// Writes the configuration of containerd and of CNI.
    ///
    /// # Errors
    /// If containerd or a CNI plugin is not installed, or a file cannot be written.
    pub(crate) fn prepare(
        paths: &Paths,
        machine: &Machine,
        pod_cidr: &str,
    ) -> anyhow::Result<Self> {
        let (binary, plugins) = Self::find_programs()?;
        let dir = paths.containerd();
        fs::create_dir_all(&dir).with_context(|| format!("create {}", dir.display()))?;
        cni::write_config(paths, pod_cidr, machine.iptables).context("configure pod networking")?;
        let socket = paths.socket("containerd.sock");
        if let Some(parent) = socket.parent() {
            fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        }
        let containerd = Self {
            binary,
            config: dir.join("config.toml"),
            pid_file: dir.join("containerd.pid"),
            log: dir.join("containerd.log"),
            socket,
        };
        let text = configuration(&dir, &containerd.socket, paths, machine, plugins);
        fs::write(&containerd.config, text)
            .with_context(|| format!("write {}", containerd.config.display()))?;
        Ok(containerd)
    }

    /// Adopts the containerd of an earlier agent or starts one, and supervises it until shutdown.
    /// Returns when it responds.
    ///
    /// # Errors
    /// If it does not respond in time, with the last line of its log.
    pub(crate) async fn start_and_supervise(&self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let running = self.running();
        match running {
            Some(pid) => {
                tracing::info!(pid, "adopted the running containerd");
                warn_of_other_namespaces(pid);
            }
            None => tracing::info!(socket = %self.socket.display(), "starting containerd"),
        }
        let this = self.clone();
        let supervise = move || {
            let this = this.clone();
            async move { this.supervise(this.running()).await }
        };
        spawn_loop("containerd", shutdown, supervise);
        self.wait_ready().await
    }

    /// Stops containerd and waits for its end. Containers go on.
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
        let mut delay = FIRST_DELAY;
        loop {
            let began = tokio::time::Instant::now();
            match running.take() {
                Some(pid) => wait_for_adopted(pid).await,
                None => match self.start() {
                    Ok(mut child) => {
                        let status = child.wait().await;
                        tracing::error!(?status, log = %self.log.display(), "containerd ended; restarting it");
                    }
                    Err(error) => tracing::error!(%error, "cannot start containerd; trying again"),
                },
            }
            if began.elapsed() > MAX_DELAY {
                delay = FIRST_DELAY;
            }
            sleep(delay).await;
            delay = (delay * 2).min(MAX_DELAY);
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

    /// The process id of a running containerd with this configuration file.
    fn running(&self) -> Option<i32> {
        let pid: i32 = fs::read_to_string(&self.pid_file)
            .ok()?
            .trim()
            .parse()
            .ok()?;
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let config = self.config.to_string_lossy();
        let is_ours = command
            .split(|&byte| byte == 0)
            .any(|word| word == config.as_bytes());
        (is_ours && alive(pid)).then_some(pid)
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
        let client = CriClient::new(&self.socket)?;
        let deadline = tokio::time::Instant::now() + READY_TIMEOUT;
        loop {
            let reason = match self.socket.exists() {
                false => "its socket does not exist".to_owned(),
                true => match client.version().await {
                    Ok(_version) => return Ok(()),
                    Err(error) => error.to_string(),
                },
            };
            if deadline < tokio::time::Instant::now() {
                bail!(
                    "containerd does not respond: {reason}; the last line of its log: {}",
                    self.last_log_line()
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn last_log_line(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.lines().next_back().unwrap_or("(empty)").to_owned()
    }
}

/// Warns if the adopted containerd is in other namespaces than the agent.
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

/// Waits for the end of the adopted containerd, which is not a child process of this agent.
async fn wait_for_adopted(pid: i32) {
    while alive(pid) {
        sleep(Duration::from_millis(500)).await;
    }
    tracing::error!(pid, "the adopted containerd ended; starting another");
}

/// Whether a process exists and is no zombie.
fn alive(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the command name, which is in parentheses.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Plugins that the agent does not use; each costs start time and memory.
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
        r#"# Written by the agent at every start.
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
