//! The cluster that all scenarios share, and helpers to change and inspect it.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use pandaemon_testkit::{Cluster, Kubectl, cluster::is_ready, images::standins, skipped, wait};
use parking_lot::Mutex;
use serde_json::Value;

/// Longest wait for one condition, on a slow and busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(120);

/// The three nodes of `pandaemon up --nodes 3`.
pub(crate) const NODES: [&str; 3] = ["node1", "node2", "node3"];

/// The shared cluster. It starts when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct TestEnv {
    cluster: Mutex<Option<Cluster>>,
}

impl TestEnv {
    /// The environment of this process.
    pub(crate) fn get() -> &'static Self {
        static ENV: OnceLock<TestEnv> = OnceLock::new();
        ENV.get_or_init(Self::default)
    }

    /// Calls `run` with the cluster, which is started first if it does not run.
    pub(crate) fn with_cluster<T>(&self, run: impl FnOnce(&mut Cluster) -> Result<T>) -> Result<T> {
        let mut slot = self.cluster.lock();
        if slot.is_none() {
            *slot = Some(Cluster::up(&program()?, NODES.len(), &images()?)?);
        }
        run(slot.as_mut().context("the cluster has been started")?)
    }

    /// kubectl for the cluster.
    pub(crate) fn kubectl(&self) -> Result<Kubectl> {
        self.with_cluster(|cluster| Ok(cluster.kubectl()))
    }

    /// The `InternalIP` of a node.
    pub(crate) fn node_ip(&self, node: &str) -> Result<String> {
        let path = "jsonpath={.status.addresses[?(@.type==\"InternalIP\")].address}";
        self.kubectl()?.words(&["get", "node", node, "-o", path])
    }

    /// Applies a file of `e2e/manifests`.
    pub(crate) fn apply(&self, manifest: &str) -> Result<()> {
        let path = self::manifest(manifest);
        self.kubectl()?
            .words(&["apply".as_ref(), "-f".as_ref(), path.as_os_str()])?;
        Ok(())
    }

    /// The pods that a label selector selects, without those that are being deleted.
    pub(crate) fn pods(&self, namespace: &str, selector: &str) -> Result<Vec<Value>> {
        let list = self
            .kubectl()?
            .json(&format!("-n {namespace} get pods -l {selector}"))?;
        let pods = list["items"].as_array().cloned().unwrap_or_default();
        Ok(pods
            .into_iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .collect())
    }

    /// Waits until each of these nodes has one pod of the selector, Ready, and no other node has
    /// one.
    pub(crate) fn wait_until_ready_on(
        &self,
        namespace: &str,
        selector: &str,
        nodes: &[&str],
    ) -> Result<()> {
        wait::until(&format!("{selector} ready on {nodes:?}"), TIMEOUT, || {
            let pods = self
                .pods(namespace, selector)
                .map_err(|error| format!("{error:#}"))?;
            let mut ready: Vec<String> = pods.iter().filter(|p| is_ready(p)).map(node_of).collect();
            ready.sort();
            if ready == nodes && pods.len() == nodes.len() {
                return Ok(());
            }
            Err(format!("{} pods, ready on {ready:?}", pods.len()))
        })
    }

    /// The pod of a selector on a node.
    pub(crate) fn pod_on(&self, selector: &str, node: &str) -> Result<Value> {
        let pods = self.pods("default", selector)?;
        let pod = pods.into_iter().find(|pod| node_of(pod) == node);
        pod.with_context(|| format!("no pod of {selector} on {node}"))
    }

    /// Applies `agent.yaml` and waits until its pod is Ready on every node.
    pub(crate) fn run_agents(&self) -> Result<()> {
        self.apply("agent.yaml")?;
        self.wait_until_ready_on("default", "app=agent", &NODES)
    }

    /// Deletes the objects that scenarios apply, and uncordons the nodes.
    pub(crate) fn clean_up(&self) {
        if self.cluster.lock().is_none() {
            return;
        }
        let Ok(kubectl) = self.kubectl() else { return };
        for line in [
            "delete ds --all --timeout=60s",
            "delete cm/agent-settings secret/agent-key --ignore-not-found",
            "delete rolebinding/in-cluster --ignore-not-found",
            "-n kube-system delete ds --all --timeout=60s",
            "delete pods --all --timeout=60s",
        ] {
            // A scenario may have removed it already, or broken the cluster: its own result counts.
            let _output = kubectl.try_run(line);
        }
        for node in NODES {
            let _output = kubectl.try_run(&format!("uncordon {node}"));
        }
    }

    /// Prints nodes, pods, events and the end of the log, for a failed scenario.
    pub(crate) fn print_diagnostics(&self) {
        let mut out = std::io::stderr();
        if self.cluster.lock().is_none() {
            return;
        }
        let lines = [
            "get nodes",
            "get ds,pods -A -o wide",
            "get events -A --sort-by=.lastTimestamp",
        ];
        for line in lines {
            let text = self.kubectl().and_then(|kubectl| kubectl.try_run(line));
            let text = text.map_or_else(|e| e.to_string(), |o| o.stdout + &o.stderr);
            let tail: Vec<&str> = text.lines().collect();
            let tail = tail[tail.len().saturating_sub(30)..].join("\n");
            let _closed = writeln!(out, "$ kubectl {line}\n{tail}");
        }
        let log = self
            .cluster
            .lock()
            .as_ref()
            .map(Cluster::log_tail)
            .unwrap_or_default();
        let _closed = writeln!(out, "--- end of the log\n{log}");
    }

    /// Stops the cluster, if it runs.
    pub(crate) fn shut_down(&self) {
        drop(self.cluster.lock().take());
    }

    /// Stops the cluster; an error if it did not stop cleanly.
    pub(crate) fn stop(&self) -> Result<()> {
        self.cluster
            .lock()
            .take()
            .map_or(Ok(()), |mut cluster| cluster.stop())
    }
}

/// The node of a pod.
pub(crate) fn node_of(pod: &Value) -> String {
    pod["spec"]["nodeName"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The name of an object.
pub(crate) fn name_of(object: &Value) -> Result<&str> {
    object["metadata"]["name"]
        .as_str()
        .context("an object without a name")
}

/// The ID of a pod's first container, such as `containerd://...`.
pub(crate) fn container_id(pod: &Value) -> String {
    pod["status"]["containerStatuses"][0]["containerID"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// The program under test: `PANDAEMON_BIN`, or the one built beside the tests.
pub(crate) fn program() -> Result<PathBuf> {
    let built = std::env::current_exe()?;
    let beside = built
        .ancestors()
        .nth(2)
        .map(|folder| folder.join("pandaemon"));
    let named = std::env::vars_os().find(|(name, _)| name == "PANDAEMON_BIN");
    let path = named
        .map(|(_, path)| PathBuf::from(path))
        .or(beside)
        .context("no program")?;
    ensure!(
        path.is_file(),
        "{} is not there: cargo build --workspace --bins",
        path.display()
    );
    Ok(path)
}

/// The folder with all images; they are built if they are not there.
pub(crate) fn images() -> Result<PathBuf> {
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let folder = target.join("e2e-images");
    let cache = target.join("debian");
    standins::build_all(&folder, &cache)?;
    let client = Path::new(env!("CARGO_BIN_EXE_in-cluster-client"));
    standins::build_in_cluster_client(&folder, &cache, client)?;
    Ok(folder)
}

/// The path of a file in `e2e/manifests`.
pub(crate) fn manifest(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("manifests")
        .join(file)
}

/// The path of a manifest of the seed documents; `None`, noted as skipped, if they do not lie
/// beside this checkout.
pub(crate) fn document_manifest(file: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/manifests")
        .join(file);
    if !path.exists() {
        skipped(
            &format!("the document's manifest {file}"),
            "no ../shared/manifests",
        );
        return None;
    }
    path.canonicalize().ok()
}

/// The body of the response to an HTTP GET; an error for a status other than 2xx.
pub(crate) fn http_get(url: &str) -> Result<String> {
    let output = Command::new("curl")
        .args(["-sS", "-m", "10", "-f", url])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "curl {url}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
