//! Registers the Node, and keeps its status up to date.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use pandaemon_client::events::{EventType, ObjectReference};
use pandaemon_cri::pb;
use pandaemon_types::time::rfc3339_seconds;
use serde_json::{Value, json};

use crate::{config::Config, context::Context};

/// How often the status is computed. It is written if it changed.
const UPDATE_INTERVAL: Duration = Duration::from_secs(10);
/// After this many computations the status is written even if it did not change.
const REPORT_EVERY: u32 = 30;
/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The delay before a failed request is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Parses `key=value:Effect` or `key:Effect` into a taint; `None` if it has another form.
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

/// The Node object that is created when the node registers.
fn initial_node(context: &Context, pod_cidr: &str, status: &Value) -> Value {
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

/// The node's status without conditions: capacity, addresses, port of the kubelet server, node
/// info.
async fn status_without_conditions(context: &Context, port: u16) -> Value {
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

/// Why the container runtime cannot run pods, if it cannot.
async fn check_runtime(context: &Context) -> Option<String> {
    match context.runtime.status().await {
        Err(error) => Some(format!("container runtime is down: {error}")),
        Ok(status) => unmet_conditions(&status.conditions),
    }
}

fn unmet_conditions(conditions: &[pb::RuntimeCondition]) -> Option<String> {
    let unmet: Vec<_> = conditions
        .iter()
        .filter(|one| !one.status)
        .map(|one| format!("{} not ready: {}", one.r#type, one.message))
        .collect();
    (!unmet.is_empty()).then(|| unmet.join(", "))
}

/// The node's conditions, each with the time of its last transition.
fn conditions(runtime_error: Option<&str>, disk_full: bool, old: &Value, now: &str) -> Value {
    let pressure = |kind: &str, bad: bool, good_reason: &str, bad_reason: &str, message: &str| {
        let status = if bad { "True" } else { "False" };
        let reason = if bad { bad_reason } else { good_reason };
        (
            kind.to_owned(),
            status,
            reason.to_owned(),
            message.to_owned(),
        )
    };
    let memory_low = crate::host::meminfo("MemAvailable") < (100 << 20);
    let ready = match runtime_error {
        None => (
            "True",
            "KubeletReady",
            "kubelet is posting ready status".to_owned(),
        ),
        Some(message) => ("False", "KubeletNotReady", message.to_owned()),
    };
    let all = [
        pressure(
            "MemoryPressure",
            memory_low,
            "KubeletHasSufficientMemory",
            "KubeletHasInsufficientMemory",
            if memory_low {
                "kubelet has insufficient memory available"
            } else {
                "kubelet has sufficient memory available"
            },
        ),
        pressure(
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
        pressure(
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
        // Less than 5 % and less than 2 GiB free.
        let free = disk.blocks_available() * disk.fragment_size();
        disk.blocks_available() * 20 < disk.blocks() && free < (2 << 30)
    })
}

fn timestamp() -> String {
    rfc3339_seconds(jiff::Timestamp::now())
}

/// Registers the Node and keeps its status up to date; does not return.
pub(crate) async fn sync_node_status(context: Arc<Context>, pod_cidr: String, port: u16) {
    let api: Api<Node> = Api::all(context.client.clone());
    let mut has_labels = false;
    let mut base = status_without_conditions(&context, port).await;
    let (mut since_write, mut written) = (0, Value::Null);
    let mut runtime_error = check_runtime(&context).await;
    loop {
        if !has_labels {
            has_labels = update_labels(&context, &api).await;
        }
        let old = written.get("conditions").cloned().unwrap_or_default();
        let full = disk_full(&context);
        let conditions = conditions(runtime_error.as_deref(), full, &old, &timestamp());
        let mut status = base.clone();
        status["conditions"] = conditions;
        let changed = without_heartbeat(&status) != without_heartbeat(&written);
        if changed || REPORT_EVERY <= since_write {
            let limit =
                tokio::time::timeout(REQUEST_TIMEOUT, write(&context, &api, &pod_cidr, &status));
            match limit.await {
                Ok(Ok(())) => (since_write, written) = (0, status),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "cannot write the node's status; trying again");
                    tokio::time::sleep(RETRY_DELAY).await;
                    continue;
                }
                Err(_elapsed) => continue,
            }
        }
        tokio::time::sleep(if runtime_error.is_some() {
            RETRY_DELAY
        } else {
            UPDATE_INTERVAL
        })
        .await;
        since_write += 1;
        let before = runtime_error.is_some();
        runtime_error = check_runtime(&context).await;
        if before && runtime_error.is_none() {
            base = status_without_conditions(&context, port).await;
        }
    }
}

/// The status without `lastHeartbeatTime`, which changes although nothing else does.
fn without_heartbeat(status: &Value) -> Value {
    let mut status = status.clone();
    let conditions = status.get_mut("conditions").and_then(Value::as_array_mut);
    for condition in conditions.into_iter().flatten() {
        condition
            .as_object_mut()
            .map(|fields| fields.remove("lastHeartbeatTime"));
    }
    status
}

/// Writes the status; creates the Node if it does not exist.
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
        Ok(node) => {
            register(context, &node);
            Ok(())
        }
        Err(kube::Error::Api(error)) if error.code == 404 => {
            let node: Node = serde_json::from_value(initial_node(context, pod_cidr, status))
                .map_err(kube::Error::SerdeError)?;
            let created = api.create(&PostParams::default(), &node).await?;
            register(context, &created);
            context.events.event(
                &ObjectReference::node(name, name),
                EventType::Normal,
                "Starting",
                "Starting kubelet.".to_owned(),
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn register(context: &Context, node: &Node) {
    let uid = node.metadata.uid.as_deref();
    context.registration.set_uid(uid.unwrap_or_default());
}

/// Sets the labels of the configuration on an existing Node. A new one is created with them.
/// Returns whether nothing is left to be done.
async fn update_labels(context: &Context, api: &Api<Node>) -> bool {
    let patch = json!({ "metadata": { "labels": labels(&context.config) } });
    let params = PatchParams::default();
    let patch = Patch::Merge(&patch);
    let call = api.patch(&context.config.node_name, &params, &patch);
    match tokio::time::timeout(REQUEST_TIMEOUT, call).await {
        Ok(Ok(_node)) => true,
        Ok(Err(kube::Error::Api(error))) if error.code == 404 => true,
        Ok(Err(error)) => {
            tracing::debug!(%error, "cannot set the node's labels; trying again");
            false
        }
        Err(_elapsed) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{conditions, taint};

    #[test]
    fn taints_are_parsed_from_their_kubectl_form() {
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
    fn a_condition_keeps_the_time_of_its_last_transition() {
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
