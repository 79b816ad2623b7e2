//! A cluster of real nodes, run by `pandaemon up` as a user runs it.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use crate::{Kubectl, wait};

/// How long all nodes may take from start to Ready on a slow machine.
const READY_TIMEOUT: Duration = Duration::from_secs(120);

/// A running `pandaemon up`.
#[derive(Debug)]
pub struct Cluster {
    program: PathBuf,
    dir: tempfile::TempDir,
    images: PathBuf,
    nodes: usize,
    port: u16,
    child: Option<Child>,
}

impl Cluster {
    /// Starts `pandaemon up` with `nodes` nodes and waits until all are Ready.
    ///
    /// # Errors
    /// When the process ends or the nodes do not become Ready. The error contains the end of its
    /// log.
    pub fn up(program: &Path, nodes: usize, images: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("pandaemon-").tempdir()?;
        let mut cluster = Self {
            program: program.to_owned(),
            dir,
            images: images.to_owned(),
            nodes,
            port: free_port()?,
            child: None,
        };
        cluster.start()?;
        Ok(cluster)
    }

    /// Starts the process (again) and waits for the nodes.
    ///
    /// # Errors
    /// As [`Cluster::up`].
    pub fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        // When the test process dies, the kernel sends SIGTERM and the cluster removes itself.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(&self.program)
            .args(["up", "--log", "info", "--nodes", &self.nodes.to_string()])
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(["--listen", &format!("127.0.0.1:{}", self.port)])
            .arg("--write-kubeconfig")
            .arg(self.kubeconfig())
            .arg("--images")
            .arg(&self.images)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        self.child = Some(child);
        self.wait_ready()
    }

    fn wait_ready(&mut self) -> anyhow::Result<()> {
        let expected = self.nodes;
        let kubectl = self.kubectl();
        let kubeconfig = self.kubeconfig();
        let child = self.child.as_mut().context("the cluster is not running")?;
        let waited = wait::until("nodes Ready", READY_TIMEOUT, || {
            if let Ok(Some(status)) = child.try_wait() {
                return Ok(Err(status));
            }
            if !kubeconfig.exists() {
                return Err("no kubeconfig yet".to_owned());
            }
            let nodes = kubectl
                .json("get nodes")
                .map_err(|error| error.to_string())?;
            let ready = nodes["items"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|n| is_ready(n));
            match ready.count() {
                count if count == expected => Ok(Ok(())),
                count => Err(format!("{count} of {expected} nodes")),
            }
        });
        match waited {
            Ok(Ok(())) => Ok(()),
            Ok(Err(status)) => bail!("pandaemon up ended ({status})\n{}", self.log_tail()),
            Err(error) => bail!("{error}\n{}", self.log_tail()),
        }
    }

    /// kubectl for this cluster.
    #[must_use]
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::new(&self.kubeconfig(), &self.dir.path().join("kubectl-cache"))
    }

    /// Path of the administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    /// Path of the data directory (`--data-dir`).
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The process id of `pandaemon up`; `None` while it does not run.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The process id of a node's agent, from its pid file.
    ///
    /// # Errors
    /// When the pid file does not exist or holds no number.
    pub fn agent_pid(&self, node: &str) -> anyhow::Result<i32> {
        let file = self.data_dir().join("nodes").join(node).join("agent.pid");
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        text.trim()
            .parse()
            .with_context(|| format!("process id in {}", file.display()))
    }

    /// The id in the names of everything that this cluster creates on the machine, read from the
    /// name of the network namespace of its first node. Other clusters have other ids.
    ///
    /// # Errors
    /// If the first node has no agent in a named network namespace.
    pub fn id(&self) -> anyhow::Result<String> {
        let own = format!("/proc/{}/ns/net", self.agent_pid("node1")?);
        let own = fs::metadata(&own)
            .with_context(|| format!("look at {own}"))?
            .ino();
        let namespaces = fs::read_dir("/run/netns")?.filter_map(Result::ok);
        let mut names = namespaces
            .filter(|entry| fs::metadata(entry.path()).is_ok_and(|meta| meta.ino() == own))
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        let id = names.find_map(|name| {
            let id = name.strip_prefix("pandaemon-")?.strip_suffix("-node1")?;
            Some(id.to_owned())
        });
        id.context("node1 has no network namespace pandaemon-ID-node1")
    }

    /// Kills the process with SIGKILL. Nodes and containers keep running.
    ///
    /// # Errors
    /// When it is not running.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the cluster is not running")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Stops the process with SIGTERM and waits until it has removed its nodes. Does nothing if it
    /// does not run.
    ///
    /// # Errors
    /// When it does not end within 90 seconds, or ends with an error status.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        kill(Pid::from_raw(i32::try_from(child.id())?), Signal::SIGTERM)?;
        let status = wait::until("pandaemon up ends", Duration::from_secs(90), || match child
            .try_wait()
        {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("still running".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        let Ok(status) = status else {
            child.kill()?;
            child.wait()?;
            bail!("pandaemon up did not stop\n{}", self.log_tail());
        };
        anyhow::ensure!(
            status.success(),
            "pandaemon up: {status}\n{}",
            self.log_tail()
        );
        Ok(())
    }

    /// The last 40 lines of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("up.log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            // A destructor cannot return the error.
            let _unwritable =
                std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error:#}\n"));
        }
    }
}

/// Whether a Node or Pod object has the condition `Ready` with status `True`.
#[must_use]
pub fn is_ready(object: &Value) -> bool {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?.port())
}
