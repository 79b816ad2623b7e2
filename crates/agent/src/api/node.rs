//! The node's object and its lease: registered, kept true, renewed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Node};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use pandaemon_cri::pb;
use serde_json::{Value, json};

use crate::{config::Config, context::Context};

/// How often the status is looked at; it is written when it changed.
const LOOK: Duration = Duration::from_secs(10);
/// How often it is written although nothing changed, in looks.
const ANYWAY: u32 = 30;
const LEASE_RENEWAL: Duration = Duration::from_secs(10);
const LEASE_SECONDS: i32 = 40;
const LIMIT: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);
/// A connection that was idle may have been closed on the other side: the next try gets a new one.
const AT_ONCE: Duration = Duration::from_millis(50);

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `key=value:Effect` as an object; `None` if it is not one.
#[must_use]
pub(crate) fn taint(text: &str) -> Option<Value> {
    let (rest, effect) = text.rsplit_once(':')?;
    if !matches!(effect, "NoSchedule" | "PreferNoSchedule" | "NoExecute") || rest.is_empty() {
        return None;
    }
    let taint = match rest.split_once('=') {
        Some((key, value)) => json!({ "key": key, "value": value, "effect": effect }),
        None => json!({ "key": rest, "effect": effect }),
    };
    Some(taint)
}

/// The node's object as it is to be when it is new.
fn fresh(context: &Context, pod_cidr: &str, status: &Value) -> Value {
    let config = &context.config;
    let taints: Vec<_> = config
        .taints
        .iter()
        .filter_map(|text| taint(text))
        .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": config.node_name,
            "labels": labels(config),
            "annotations": { "volumes.kubernetes.io/controller-managed-attach-detach": "true" },
        },
        "spec": {
            "podCIDR": pod_cidr,
            "podCIDRs": [pod_cidr],
            "taints": if taints.is_empty() { Value::Null } else { Value::Array(taints) },
        },
        "status": status,
    })
}

fn labels(config: &Config) -> BTreeMap<String, String> {
    let own = [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", architecture()),
    ];
    let own = own
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    own.chain(config.labels.clone()).collect()
}

/// What the node says of itself, besides conditions.
async fn facts(context: &Context, port: u16) -> Value {
    let (machine, config) = (&context.machine, &context.config);
    let version = context.runtime.version().await.ok();
    let runtime = version.map_or_else(
        || "containerd://unknown".to_owned(),
        |found| format!("{}://{}", found.runtime_name, found.runtime_version),
    );
    let id = |path: &str| {
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let disk = nix::sys::statvfs::statvfs(&config.data_dir)
        .map_or(0, |disk| disk.blocks() * disk.fragment_size());
    let resources = json!({
        "cpu": machine.cpus.to_string(),
        "memory": format!("{}Ki", machine.memory / 1024),
        "pods": config.max_pods.to_string(),
        "ephemeral-storage": format!("{}Ki", disk / 1024),
    });
    json!({
        "capacity": resources,
        "allocatable": resources,
        "addresses": [
            { "type": "InternalIP", "address": context.address.to_string() },
            { "type": "Hostname", "address": config.node_name },
        ],
        "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
        "nodeInfo": {
            "machineID": id("/etc/machine-id"),
            "systemUUID": id("/sys/class/dmi/id/product_uuid"),
            "bootID": id("/proc/sys/kernel/random/boot_id"),
            "kernelVersion": machine.kernel,
            "osImage": machine.os_image,
            "containerRuntimeVersion": runtime,
            "kubeletVersion": concat!("v1.33.0+pandaemon.", env!("CARGO_PKG_VERSION")),
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": architecture(),
        },
    })
}

/// Whether the node can take pods, and if not, why.
async fn runtime_trouble(context: &Context) -> Option<String> {
    match context.runtime.status().await {
        Err(error) => Some(format!("container runtime is down: {error}")),
        Ok(status) => broken(&status.conditions),
    }
}

fn broken(conditions: &[pb::RuntimeCondition]) -> Option<String> {
    let bad: Vec<_> = conditions
        .iter()
        .filter(|one| !one.status)
        .map(|one| format!("{} not ready: {}", one.r#type, one.message))
        .collect();
    (!bad.is_empty()).then(|| bad.join(", "))
}

/// The conditions, each with the time of its last change.
fn conditions(trouble: Option<&str>, disk_full: bool, old: &Value, now: &str) -> Value {
    let plain = |kind: &str, bad: bool, good_reason: &str, bad_reason: &str, words: &str| {
        let status = if bad { "True" } else { "False" };
        let reason = if bad { bad_reason } else { good_reason };
        (kind.to_owned(), status, reason.to_owned(), words.to_owned())
    };
    let memory = crate::host::meminfo("MemAvailable") < (100 << 20);
    let ready = match trouble {
        None => (
            "True",
            "KubeletReady",
            "kubelet is posting ready status".to_owned(),
        ),
        Some(words) => ("False", "KubeletNotReady", words.to_owned()),
    };
    let all = [
        plain(
            "MemoryPressure",
            memory,
            "KubeletHasSufficientMemory",
            "KubeletHasInsufficientMemory",
            if memory {
                "kubelet has insufficient memory available"
            } else {
                "kubelet has sufficient memory available"
            },
        ),
        plain(
            "DiskPressure",
            disk_full,
            "KubeletHasNoDiskPressure",
            "KubeletHasDiskPressure",
            if disk_full {
                "kubelet has disk pressure"
            } else {
                "kubelet has no disk pressure"
            },
        ),
        plain(
            "PIDPressure",
            false,
            "KubeletHasSufficientPID",
            "KubeletHasInsufficientPID",
            "kubelet has sufficient PID available",
        ),
        ("Ready".to_owned(), ready.0, ready.1.to_owned(), ready.2),
    ];
    let since = |kind: &str, status: &str| {
        let list = old.as_array().into_iter().flatten();
        let mut same = list.filter(|one| one["type"] == kind && one["status"] == status);
        same.find_map(|one| one.get("lastTransitionTime").cloned())
            .unwrap_or_else(|| json!(now))
    };
    all.into_iter()
        .map(|(kind, status, reason, message)| {
            json!({
                "type": kind, "status": status, "reason": reason, "message": message,
                "lastHeartbeatTime": now, "lastTransitionTime": since(&kind, status),
            })
        })
        .collect()
}

fn disk_full(context: &Context) -> bool {
    nix::sys::statvfs::statvfs(&context.config.data_dir).is_ok_and(|disk| {
        // Below a tenth free, but never with many gigabytes left.
        let free = disk.blocks_available() * disk.fragment_size();
        disk.blocks_available() * 20 < disk.blocks() && free < (2 << 30)
    })
}

fn now_text() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Keeps the node's object true.
pub(crate) async fn keep(context: Arc<Context>, pod_cidr: String, port: u16) {
    let api: Api<Node> = Api::all(context.client.clone());
    let mut facts = facts(&context, port).await;
    let (mut looks, mut written) = (0, Value::Null);
    let mut trouble = runtime_trouble(&context).await;
    loop {
        let old = written.get("conditions").cloned().unwrap_or_default();
        let full = disk_full(&context);
        let conditions = conditions(trouble.as_deref(), full, &old, &now_text());
        let mut status = facts.clone();
        status["conditions"] = conditions;
        let changed = essence(&status) != essence(&written);
        if changed || ANYWAY <= looks {
            let limit = tokio::time::timeout(LIMIT, write(&context, &api, &pod_cidr, &status));
            match limit.await {
                Ok(Ok(())) => (looks, written) = (0, status),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "write the node's status");
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
                Err(_elapsed) => continue,
            }
        }
        tokio::time::sleep(if trouble.is_some() { RETRY } else { LOOK }).await;
        looks += 1;
        let before = trouble.is_some();
        trouble = runtime_trouble(&context).await;
        if before && trouble.is_none() {
            facts = self::facts(&context, port).await;
        }
    }
}

/// A status without what only says when it was written.
fn essence(status: &Value) -> Value {
    let mut status = status.clone();
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        condition
            .as_object_mut()
            .map(|fields| fields.remove("lastHeartbeatTime"));
    }
    status
}

/// Writes the status; a node that does not exist is made, and one that does gets our labels.
async fn write(
    context: &Context,
    api: &Api<Node>,
    pod_cidr: &str,
    status: &Value,
) -> kube::Result<()> {
    let name = &context.config.node_name;
    let patch = json!({ "status": status });
    let params = PatchParams::default();
    match api
        .patch_status(name, &params, &Patch::Strategic(&patch))
        .await
    {
        Ok(_node) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => {
            let node: Node = serde_json::from_value(fresh(context, pod_cidr, status))
                .map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &node).await?;
            context.events.normal(
                &super::events::node_subject(name),
                "Starting",
                "Starting kubelet.".to_owned(),
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Gives an existing node the labels of this configuration; a new one has them from the start.
pub(crate) async fn relabel(context: &Context) {
    let api: Api<Node> = Api::all(context.client.clone());
    let patch = json!({ "metadata": { "labels": labels(&context.config) } });
    let params = PatchParams::default();
    let patch = Patch::Merge(&patch);
    let call = api.patch(&context.config.node_name, &params, &patch);
    if let Ok(Err(error)) = tokio::time::timeout(LIMIT, call).await {
        tracing::debug!(%error, "label the node");
    }
}

/// Renews the node's lease: its sign of life.
pub(crate) async fn renew_lease(context: Arc<Context>) {
    let api: Api<Lease> = Api::namespaced(context.client.clone(), "kube-node-lease");
    let name = context.config.node_name.as_str();
    let mut pause = LEASE_RENEWAL;
    loop {
        pause = match tokio::time::timeout(LIMIT, renew(&api, name)).await {
            Ok(Ok(())) => LEASE_RENEWAL,
            Ok(Err(error)) => {
                tracing::debug!(%error, "renew the lease");
                if pause == LEASE_RENEWAL {
                    AT_ONCE
                } else {
                    RETRY
                }
            }
            Err(_elapsed) => RETRY,
        };
        tokio::time::sleep(pause).await;
    }
}

async fn renew(api: &Api<Lease>, name: &str) -> kube::Result<()> {
    let time = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string();
    let spec = json!({
        "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": time,
    });
    let patch = json!({ "spec": spec });
    match api
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
    {
        Ok(_lease) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => {
            let lease = json!({ "metadata": { "name": name }, "spec": spec });
            let lease: Lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &lease).await.map(|_| ())
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{conditions, taint};

    #[test]
    fn taints_as_people_write_them() {
        assert_eq!(
            taint("a/b=c:NoExecute"),
            Some(json!({"key": "a/b", "value": "c",
            "effect": "NoExecute"}))
        );
        assert_eq!(
            taint("a:NoSchedule"),
            Some(json!({"key": "a", "effect": "NoSchedule"}))
        );
        assert_eq!(taint("a=b"), None);
        assert_eq!(taint("a:Never"), None);
    }

    #[test]
    fn a_condition_keeps_the_time_of_its_change() {
        let first = conditions(None, false, &Value::Null, "t1");
        let second = conditions(Some("down"), false, &first, "t2");
        let times: Vec<_> = second
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["lastTransitionTime"].as_str().unwrap())
            .collect();
        assert_eq!(times, ["t1", "t1", "t1", "t2"]);
        assert_eq!(second[3]["message"], "down");
    }
}
