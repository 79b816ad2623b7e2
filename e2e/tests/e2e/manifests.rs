//! The six situations of the seed documents, with manifests of our own; and with the documents' own
//! manifests, where they lie beside this checkout.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::test_env::{NODES, TestEnv, document_manifest, http_get, manifest, name_of};

/// A DaemonSet in a manifest.
#[derive(Clone, Copy)]
struct Daemon {
    namespace: &'static str,
    name: &'static str,
    /// The label selector of its pods.
    selector: &'static str,
}

const fn daemon(namespace: &'static str, name: &'static str, selector: &'static str) -> Daemon {
    Daemon {
        namespace,
        name,
        selector,
    }
}

/// Rolls out our manifest and then the document's, and calls `check` while the pods of each run on
/// every node.
fn each(
    env: &TestEnv,
    ours: (&str, Daemon),
    document: (&str, Daemon),
    check: impl Fn(&TestEnv, Daemon) -> Result<()>,
) -> Result<()> {
    let seeds = [
        (Some(manifest(&format!("seeds/{}", ours.0))), ours.1),
        (document_manifest(document.0), document.1),
    ];
    for (path, daemon) in seeds {
        let Some(path) = path else { continue };
        roll_out(env, &path, daemon).with_context(|| path.display().to_string())?;
        check(env, daemon).with_context(|| path.display().to_string())?;
        let Daemon {
            namespace, name, ..
        } = daemon;
        let kubectl = env.kubectl()?;
        kubectl.run(&format!("-n {namespace} delete ds {name}"))?;
        kubectl.run(&format!(
            "-n {namespace} wait pods -l {} --for=delete --timeout=120s",
            daemon.selector
        ))?;
    }
    Ok(())
}

/// Applies a manifest and waits until its DaemonSet runs on every node.
fn roll_out(env: &TestEnv, path: &Path, daemon: Daemon) -> Result<()> {
    create_namespaces(env)?;
    let kubectl = env.kubectl()?;
    kubectl.words(&["apply".as_ref(), "-f".as_ref(), path.as_os_str()])?;
    env.wait_until_ready_on(daemon.namespace, daemon.selector, &NODES)
}

/// Creates the namespaces that the documents' manifests expect.
fn create_namespaces(env: &TestEnv) -> Result<()> {
    if let Some(file) = document_manifest("companions/00-namespaces.yaml") {
        env.kubectl()?
            .words(&["apply".as_ref(), "-f".as_ref(), file.as_os_str()])?;
    }
    Ok(())
}

pub(crate) fn nginx(env: &TestEnv) -> Result<()> {
    each(
        env,
        ("two-containers.yaml", daemon("default", "page", "app=page")),
        (
            "000-nginx-daemonset.yaml",
            daemon("default", "nginx-daemonset", "app=nginx"),
        ),
        |env, daemon| {
            let pod = env.pod_on(daemon.selector, "node1")?;
            let ip = pod["status"]["podIP"]
                .as_str()
                .context("a pod without an address")?;
            let page = http_get(&format!("http://{ip}/"))?;
            ensure!(
                page.contains("20"),
                "the page that the other container writes: {page}"
            );
            Ok(())
        },
    )
}

pub(crate) fn node_exporter_001(env: &TestEnv) -> Result<()> {
    each(
        env,
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

pub(crate) fn node_exporter_004(env: &TestEnv) -> Result<()> {
    each(
        env,
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

fn metrics_on_every_node(env: &TestEnv, _daemon: Daemon) -> Result<()> {
    for node in NODES {
        let text = http_get(&format!("http://{}:9100/metrics", env.node_ip(node)?))?;
        ensure!(text.contains("node_cpu_seconds_total"), "metrics of {node}");
    }
    Ok(())
}

pub(crate) fn cadvisor(env: &TestEnv) -> Result<()> {
    each(
        env,
        (
            "container-monitor.yaml",
            daemon("monitor", "monitor", "name=monitor"),
        ),
        (
            "001-cadvisor.yaml",
            daemon("cadvisor", "cadvisor", "name=cadvisor"),
        ),
        |env, _daemon| {
            for node in NODES {
                http_get(&format!("http://{}:8080/healthz", env.node_ip(node)?))?;
            }
            Ok(())
        },
    )
}

pub(crate) fn fluentd(env: &TestEnv) -> Result<()> {
    each(
        env,
        (
            "log-collector.yaml",
            daemon("kube-system", "collector", "app=collector"),
        ),
        (
            "003-fluentd.yaml",
            daemon("kube-system", "fluentd", "app=fluentd"),
        ),
        |env, daemon| {
            let pods = env.pods(daemon.namespace, daemon.selector)?;
            let name = name_of(pods.first().context("a pod of the collector")?)?;
            let said = env.kubectl()?.run(&format!(
                "-n kube-system exec {name} -- sh -c 'echo $FLUENTD_SYSTEMD_CONF'"
            ))?;
            ensure!(said.trim() == "disable", "its environment: {said}");
            Ok(())
        },
    )
}

pub(crate) fn monitoring_agent(env: &TestEnv) -> Result<()> {
    each(
        env,
        (
            "agent-to-update.yaml",
            daemon("default", "fleet-agent", "app=fleet-agent"),
        ),
        (
            "003-monitoring-agent.yaml",
            daemon("default", "monitoring-agent", "app=monitoring-agent"),
        ),
        |env, Daemon { name, .. }| {
            let kubectl = env.kubectl()?;
            kubectl.run(&format!("set image ds/{name} agent=monitoring-agent:v3.0"))?;
            kubectl.run(&format!("rollout status ds/{name} --timeout=120s"))?;
            Ok(())
        },
    )
}

/// Our broken manifests, and what kubectl must print for each: the errors of the documents'
/// manifests.
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

/// The documents' broken manifests, and what kubectl must print for each.
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

pub(crate) fn broken(env: &TestEnv) -> Result<()> {
    create_namespaces(env)?;
    for (file, words) in BROKEN {
        assert_refused(env, &manifest(&format!("broken/{file}")), words)?;
    }
    for (file, words) in BROKEN_DOCUMENTS {
        if let Some(path) = document_manifest(&format!("broken/{file}")) {
            assert_refused(env, &path, words)?;
        }
    }
    Ok(())
}

/// Checks that kubectl refuses a manifest with an error that has these texts.
fn assert_refused(env: &TestEnv, path: &Path, words: &[&str]) -> Result<()> {
    let file = path.display().to_string();
    let output = env
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
