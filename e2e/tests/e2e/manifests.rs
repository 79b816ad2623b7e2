//! The six situations of the seed documents, with manifests of our own; and the documents' manifests, unchanged, where
//! this checkout has them beside it.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::world::{NODES, World, fetch, manifest, name_of, shared};

/// A DaemonSet in a manifest.
#[derive(Clone, Copy)]
struct Daemon {
    namespace: &'static str,
    name: &'static str,
    /// Selects its pods.
    selector: &'static str,
}

const fn daemon(namespace: &'static str, name: &'static str, selector: &'static str) -> Daemon {
    Daemon {
        namespace,
        name,
        selector,
    }
}

/// Rolls out our manifest and the document's, one after the other, and checks each while it runs on every node.
fn each(
    world: &World,
    ours: (&str, Daemon),
    document: (&str, Daemon),
    check: impl Fn(&World, Daemon) -> Result<()>,
) -> Result<()> {
    let seeds = [
        (Some(manifest(&format!("seeds/{}", ours.0))), ours.1),
        (shared(document.0), document.1),
    ];
    for (path, daemon) in seeds {
        let Some(path) = path else { continue };
        roll_out(world, &path, daemon).with_context(|| path.display().to_string())?;
        check(world, daemon).with_context(|| path.display().to_string())?;
        let Daemon {
            namespace, name, ..
        } = daemon;
        let kubectl = world.kubectl()?;
        kubectl.run(&format!("-n {namespace} delete ds {name}"))?;
        kubectl.run(&format!(
            "-n {namespace} wait pods -l {} --for=delete --timeout=120s",
            daemon.selector
        ))?;
    }
    Ok(())
}

/// Applies a manifest and waits until its DaemonSet runs on every node.
fn roll_out(world: &World, path: &Path, daemon: Daemon) -> Result<()> {
    make_namespaces(world)?;
    let kubectl = world.kubectl()?;
    kubectl.words(&["apply".as_ref(), "-f".as_ref(), path.as_os_str()])?;
    world.ready_on(daemon.namespace, daemon.selector, &NODES)
}

/// The namespaces that the documents' manifests take for granted.
fn make_namespaces(world: &World) -> Result<()> {
    if let Some(file) = shared("companions/00-namespaces.yaml") {
        world
            .kubectl()?
            .words(&["apply".as_ref(), "-f".as_ref(), file.as_os_str()])?;
    }
    Ok(())
}

pub(crate) fn nginx(world: &World) -> Result<()> {
    each(
        world,
        ("two-containers.yaml", daemon("default", "page", "app=page")),
        (
            "000-nginx-daemonset.yaml",
            daemon("default", "nginx-daemonset", "app=nginx"),
        ),
        |world, daemon| {
            let pod = world.pod_on(daemon.selector, "node1")?;
            let ip = pod["status"]["podIP"]
                .as_str()
                .context("a pod without an address")?;
            let page = fetch(&format!("http://{ip}/"))?;
            ensure!(
                page.contains("20"),
                "the page that the other container writes: {page}"
            );
            Ok(())
        },
    )
}

pub(crate) fn node_exporter_001(world: &World) -> Result<()> {
    each(
        world,
        (
            "exporter-on-the-host.yaml",
            daemon("default", "exporter", "app=exporter"),
        ),
        (
            "001-node-exporter.yaml",
            daemon("default", "daemonset-node-exporter", "app=prometheus"),
        ),
        metrics_on_every_node,
    )
}

pub(crate) fn node_exporter_004(world: &World) -> Result<()> {
    each(
        world,
        (
            "exporter-with-few-rights.yaml",
            daemon("metrics", "exporter", "app=exporter"),
        ),
        (
            "004-node-exporter.yaml",
            daemon("monitoring", "node-exporter", "app=node-exporter"),
        ),
        metrics_on_every_node,
    )
}

fn metrics_on_every_node(world: &World, _daemon: Daemon) -> Result<()> {
    for node in NODES {
        let text = fetch(&format!("http://{}:9100/metrics", world.node_ip(node)?))?;
        ensure!(text.contains("node_cpu_seconds_total"), "metrics of {node}");
    }
    Ok(())
}

pub(crate) fn cadvisor(world: &World) -> Result<()> {
    each(
        world,
        (
            "container-monitor.yaml",
            daemon("monitor", "monitor", "name=monitor"),
        ),
        (
            "001-cadvisor.yaml",
            daemon("cadvisor", "cadvisor", "name=cadvisor"),
        ),
        |world, _daemon| {
            for node in NODES {
                fetch(&format!("http://{}:8080/healthz", world.node_ip(node)?))?;
            }
            Ok(())
        },
    )
}

pub(crate) fn fluentd(world: &World) -> Result<()> {
    each(
        world,
        (
            "log-collector.yaml",
            daemon("kube-system", "collector", "app=collector"),
        ),
        (
            "003-fluentd.yaml",
            daemon("kube-system", "fluentd", "app=fluentd"),
        ),
        |world, daemon| {
            let pods = world.pods(daemon.namespace, daemon.selector)?;
            let name = name_of(pods.first().context("a pod of the collector")?)?;
            let said = world.kubectl()?.run(&format!(
                "-n kube-system exec {name} -- sh -c 'echo $FLUENTD_SYSTEMD_CONF'"
            ))?;
            ensure!(said.trim() == "disable", "its environment: {said}");
            Ok(())
        },
    )
}

pub(crate) fn monitoring_agent(world: &World) -> Result<()> {
    each(
        world,
        (
            "agent-to-update.yaml",
            daemon("default", "fleet-agent", "app=fleet-agent"),
        ),
        (
            "003-monitoring-agent.yaml",
            daemon("default", "monitoring-agent", "app=monitoring-agent"),
        ),
        |world, Daemon { name, .. }| {
            let kubectl = world.kubectl()?;
            kubectl.run(&format!("set image ds/{name} agent=monitoring-agent:v3.0"))?;
            kubectl.run(&format!("rollout status ds/{name} --timeout=120s"))?;
            Ok(())
        },
    )
}

/// What our broken manifests must make kubectl say: the errors of the documents' broken manifests.
const BROKEN: [(&str, &[&str]); 7] = [
    (
        "tabs.yaml",
        &["found character that cannot start any token"],
    ),
    ("indentation.yaml", &["did not find expected"]),
    (
        "field-of-the-pod-in-a-container.yaml",
        &["strict decoding error: unknown field \"spec.template.spec.containers[0].tolerations\""],
    ),
    (
        "restart-policy-of-a-container.yaml",
        &[
            "spec.template.spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers",
        ],
    ),
    (
        "no-selector-no-image.yaml",
        &[
            "`selector` does not match template `labels`",
            "containers[0].image: Required value",
        ],
    ),
    (
        "labels-that-the-selector-does-not-select.yaml",
        &["`selector` does not match template `labels`"],
    ),
    ("no-object.yaml", &["apiVersion not set", "kind not set"]),
];

/// What the documents' broken manifests must make kubectl say.
const BROKEN_DOCUMENTS: [(&str, &[&str]); 12] = [
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
        refused(world, &manifest(&format!("broken/{file}")), words)?;
    }
    for (file, words) in BROKEN_DOCUMENTS {
        if let Some(path) = shared(&format!("broken/{file}")) {
            refused(world, &path, words)?;
        }
    }
    Ok(())
}

/// kubectl refuses a manifest and says why.
fn refused(world: &World, path: &Path, words: &[&str]) -> Result<()> {
    let file = path.display().to_string();
    let output = world
        .kubectl()?
        .try_words(&["apply", "--dry-run=server", "-f", &file])?;
    ensure!(output.code == 1, "{file}: exit status {}", output.code);
    for word in words {
        ensure!(
            output.stderr.contains(word),
            "{file}: `{}` lacks `{word}`",
            output.stderr
        );
    }
    Ok(())
}
