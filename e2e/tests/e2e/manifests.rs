//! The manifests of the seed documents, unchanged, where this checkout has them beside it.

use anyhow::{Context as _, Result, ensure};

use crate::world::{NODES, World, fetch, name_of, shared};

/// Applies a seed's manifest and waits until it runs on every node; `None` where it is not there.
fn roll_out(world: &World, file: &str, namespace: &str, selector: &str) -> Result<Option<()>> {
    let Some(path) = shared(file) else {
        return Ok(None);
    };
    let kubectl = world.kubectl()?;
    make_namespaces(world)?;
    kubectl.words(&["apply".as_ref(), "-f".as_ref(), path.as_os_str()])?;
    world.ready_on(namespace, selector, &NODES)?;
    Ok(Some(()))
}

/// The namespaces that the manifests take for granted.
fn make_namespaces(world: &World) -> Result<()> {
    if let Some(file) = shared("companions/00-namespaces.yaml") {
        world
            .kubectl()?
            .words(&["apply".as_ref(), "-f".as_ref(), file.as_os_str()])?;
    }
    Ok(())
}

fn delete(world: &World, namespace: &str, name: &str) -> Result<()> {
    world
        .kubectl()?
        .run(&format!("-n {namespace} delete ds {name}"))?;
    Ok(())
}

pub(crate) fn nginx(world: &World) -> Result<()> {
    let Some(()) = roll_out(world, "000-nginx-daemonset.yaml", "default", "app=nginx")? else {
        return Ok(());
    };
    let pod = world.pod_on("app=nginx", "node1")?;
    let ip = pod["status"]["podIP"]
        .as_str()
        .context("a pod without an address")?;
    let page = fetch(&format!("http://{ip}/"))?;
    ensure!(
        page.contains("20"),
        "the page that the other container writes: {page}"
    );
    delete(world, "default", "nginx-daemonset")
}

pub(crate) fn node_exporter_001(world: &World) -> Result<()> {
    let found = roll_out(world, "001-node-exporter.yaml", "default", "app=prometheus")?;
    let Some(()) = found else { return Ok(()) };
    metrics_on_every_node(world)?;
    delete(world, "default", "daemonset-node-exporter")
}

pub(crate) fn node_exporter_004(world: &World) -> Result<()> {
    let found = roll_out(
        world,
        "004-node-exporter.yaml",
        "monitoring",
        "app=node-exporter",
    )?;
    let Some(()) = found else { return Ok(()) };
    metrics_on_every_node(world)?;
    delete(world, "monitoring", "node-exporter")
}

fn metrics_on_every_node(world: &World) -> Result<()> {
    for node in NODES {
        let text = fetch(&format!("http://{}:9100/metrics", world.node_ip(node)?))?;
        ensure!(text.contains("node_cpu_seconds_total"), "metrics of {node}");
    }
    Ok(())
}

pub(crate) fn cadvisor(world: &World) -> Result<()> {
    let found = roll_out(world, "001-cadvisor.yaml", "cadvisor", "name=cadvisor")?;
    let Some(()) = found else { return Ok(()) };
    for node in NODES {
        fetch(&format!("http://{}:8080/healthz", world.node_ip(node)?))?;
    }
    delete(world, "cadvisor", "cadvisor")
}

pub(crate) fn fluentd(world: &World) -> Result<()> {
    let found = roll_out(world, "003-fluentd.yaml", "kube-system", "app=fluentd")?;
    let Some(()) = found else { return Ok(()) };
    let kubectl = world.kubectl()?;
    let pods = world.pods("kube-system", "app=fluentd")?;
    let name = name_of(pods.first().context("a pod of fluentd")?)?;
    let said = kubectl.run(&format!(
        "-n kube-system exec {name} -- sh -c 'echo $FLUENTD_SYSTEMD_CONF'"
    ))?;
    ensure!(said.trim() == "disable", "its environment: {said}");
    delete(world, "kube-system", "fluentd")
}

pub(crate) fn monitoring_agent(world: &World) -> Result<()> {
    let selector = "app=monitoring-agent";
    let found = roll_out(world, "003-monitoring-agent.yaml", "default", selector)?;
    let Some(()) = found else { return Ok(()) };
    let kubectl = world.kubectl()?;
    kubectl.run("set image ds/monitoring-agent agent=monitoring-agent:v3.0")?;
    kubectl.run("rollout status ds/monitoring-agent --timeout=120s")?;
    delete(world, "default", "monitoring-agent")
}

/// What a manifest of `broken/` must make kubectl say.
const BROKEN: [(&str, &[&str]); 12] = [
    (
        "002-ssd-monitor-tabs.yaml",
        &["found character that cannot start any token"],
    ),
    ("003-fluentd-flattened.yaml", &["did not find expected key"]),
    (
        "003-fluentd-tolerations-in-container.yaml",
        &["strict decoding error: unknown field \"spec.template.spec.containers[0].tolerations\""],
    ),
    (
        "003-ha-agent-container-restartpolicy.yaml",
        &[
            "spec.template.spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers",
        ],
    ),
    (
        "004-cost-optimized-no-selector-no-image.yaml",
        &[
            "`selector` does not match template `labels`",
            "containers[0].image: Required value",
        ],
    ),
    (
        "004-gpu-monitor-no-template-labels.yaml",
        &["`selector` does not match template `labels`"],
    ),
    (
        "004-secure-daemonset-if-needed.yaml",
        &["did not find expected key"],
    ),
    ("001-explain-skeleton.yaml", &["did not find expected key"]),
    (
        "003-filebeat-flattened.yaml",
        &["did not find expected key"],
    ),
    (
        "004-grafana-dashboard-not-an-object.yaml",
        &["apiVersion not set", "kind not set"],
    ),
    (
        "004-optimized-daemonset-no-selector-no-image.yaml",
        &[
            "`selector` does not match template `labels`",
            "containers[0].image: Required value",
        ],
    ),
    (
        "004-secure-daemonset-no-selector.yaml",
        &["`selector` does not match template `labels`"],
    ),
];

pub(crate) fn broken(world: &World) -> Result<()> {
    make_namespaces(world)?;
    for (file, words) in BROKEN {
        let Some(path) = shared(&format!("broken/{file}")) else {
            return Ok(());
        };
        let path = path.display().to_string();
        let output = world
            .kubectl()?
            .try_words(&["apply", "--dry-run=server", "-f", &path])?;
        ensure!(output.code == 1, "{file}: exit status {}", output.code);
        for word in words {
            ensure!(
                output.stderr.contains(word),
                "{file}: `{}` lacks `{word}`",
                output.stderr
            );
        }
    }
    Ok(())
}
