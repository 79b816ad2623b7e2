//! The pod status in the form of the API.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PodCondition as ApiCondition, PodStatus as ApiStatus};
use pandaemon_podsync::{
    ContainerStatus, Millis, PodCondition, PodStatus, StateStatus, Terminated,
};
use pandaemon_types::{Phase, time::rfc3339_seconds};
use serde_json::{Map, Value, json};

use super::{PodRef, resources};

/// The conditions that the node owns.
const OWNED: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

fn time(millis: Millis) -> Value {
    if millis <= 0 {
        return Value::Null;
    }
    let time = Timestamp::from_millisecond(millis).unwrap_or_default();
    json!(rfc3339_seconds(time))
}

/// The conditions of the pod that other clients own.
pub(crate) fn foreign_conditions(pod: &PodRef) -> impl Iterator<Item = &ApiCondition> {
    let status = pod.object.status.iter();
    let all = status.flat_map(|status| status.conditions.iter().flatten());
    all.filter(|one| !OWNED.contains(&one.type_.as_str()))
}

/// Whether the API server shows another state of a condition that the node owns than the node's
/// own status has.
#[must_use]
pub(crate) fn owned_conditions_differ(shown: &ApiStatus, own: &Value) -> bool {
    let own = own.get("conditions").and_then(Value::as_array);
    own.into_iter().flatten().any(|own| {
        let text = |field: &str| own.get(field).and_then(Value::as_str).unwrap_or_default();
        let (kind, status) = (text("type"), text("status"));
        let shown = shown.conditions.iter().flatten();
        OWNED.contains(&kind)
            && !shown
                .into_iter()
                .any(|shown| shown.type_ == kind && shown.status == status)
    })
}

/// The part of the status that the node owns, as JSON for a patch. Absent fields are null, so that
/// the patch removes them.
#[must_use]
pub(crate) fn render(
    pod: &PodRef,
    status: &PodStatus,
    previous: &Value,
    address: IpAddr,
    runtime: &str,
    now: Millis,
) -> Value {
    let ips = if pod.host_network() {
        let started = status.phase != Phase::Pending
            || status
                .conditions
                .iter()
                .any(|one| one.kind == OWNED[0] && one.holds);
        if started {
            vec![address.to_string()]
        } else {
            Vec::new()
        }
    } else {
        status.ips.clone()
    };
    let text = |text: &str| {
        if text.is_empty() {
            Value::Null
        } else {
            json!(text)
        }
    };
    let start = previous
        .get("startTime")
        .filter(|start| !start.is_null())
        .cloned();
    let list = |statuses: &[ContainerStatus]| -> Value {
        if statuses.is_empty() {
            return Value::Null;
        }
        statuses.iter().map(|one| container(one, runtime)).collect()
    };
    json!({
        "phase": format!("{:?}", status.phase),
        "reason": text(&status.reason),
        "message": text(&status.message),
        "conditions": conditions(status, previous, now),
        "hostIP": address.to_string(),
        "hostIPs": [{ "ip": address.to_string() }],
        "podIP": ips.first().map_or(Value::Null, |ip| json!(ip)),
        "podIPs": if ips.is_empty() { Value::Null } else {
            ips.iter().map(|ip| json!({ "ip": ip })).collect()
        },
        "startTime": start.unwrap_or_else(|| time(now)),
        "initContainerStatuses": list(&status.init),
        "containerStatuses": list(&status.main),
        "ephemeralContainerStatuses": list(&status.ephemeral),
        "qosClass": resources::qos(pod).name(),
    })
}

fn container(status: &ContainerStatus, runtime: &str) -> Value {
    let id = |id: &str| {
        if id.is_empty() {
            String::new()
        } else {
            format!("{runtime}://{id}")
        }
    };
    let ended = |end: &Terminated| {
        let mut ended = Map::new();
        ended.insert("exitCode".into(), json!(end.exit_code));
        ended.insert("reason".into(), json!(end.reason));
        if !end.message.is_empty() {
            ended.insert("message".into(), json!(end.message));
        }
        ended.insert("startedAt".into(), time(end.started_at));
        ended.insert("finishedAt".into(), time(end.finished_at));
        ended.insert("containerID".into(), json!(id(&end.id)));
        json!({ "terminated": ended })
    };
    let state = match &status.state {
        StateStatus::Waiting { reason, message } if message.is_empty() => {
            json!({ "waiting": { "reason": reason } })
        }
        StateStatus::Waiting { reason, message } => {
            json!({ "waiting": { "reason": reason, "message": message } })
        }
        StateStatus::Running { started_at } => {
            json!({ "running": { "startedAt": time(*started_at) } })
        }
        StateStatus::Terminated(end) => ended(end),
    };
    let mut rendered = json!({
        "name": status.name,
        "image": status.image,
        "imageID": status.image_id,
        "restartCount": status.restarts,
        "ready": status.ready,
        "started": status.started,
        "state": state,
        "lastState": status.last.as_ref().map_or_else(|| json!({}), ended),
    });
    if !status.id.is_empty() {
        rendered["containerID"] = json!(id(&status.id));
    }
    rendered
}

/// The conditions that the node owns, each with the time of its last transition.
fn conditions(status: &PodStatus, previous: &Value, now: Millis) -> Value {
    let old = |kind: &str| {
        let list = previous.get("conditions")?.as_array()?;
        list.iter()
            .find(|one| one.get("type").and_then(Value::as_str) == Some(kind))
    };
    status
        .conditions
        .iter()
        .map(|one| condition(one, old(one.kind), now))
        .collect()
}

fn condition(condition: &PodCondition, old: Option<&Value>, now: Millis) -> Value {
    let status = if condition.holds { "True" } else { "False" };
    let unchanged = old.filter(|old| old.get("status").and_then(Value::as_str) == Some(status));
    let since = unchanged
        .and_then(|old| old.get("lastTransitionTime"))
        .cloned();
    let text = |text: &str| {
        Some(text)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    json!({
        "type": condition.kind,
        "status": status,
        "lastProbeTime": null,
        "lastTransitionTime": since.unwrap_or_else(|| time(now)),
        "reason": text(condition.reason),
        "message": text(&condition.message),
    })
}

/// A strategic merge patch from what [`render`] returns. Conditions are merged by their type, so
/// that those of other clients stay, also those that were set meanwhile; lists of addresses are
/// replaced. Upstream: `pkg/util/pod.PatchPodStatus`.
#[must_use]
pub(crate) fn status_patch(uid: &str, mut status: Value) -> Value {
    let conditions = status.get("conditions").and_then(Value::as_array);
    let order: Value = conditions
        .into_iter()
        .flatten()
        .map(|one| json!({ "type": one["type"] }))
        .collect();
    status["$setElementOrder/conditions"] = order;
    for addresses in ["hostIPs", "podIPs"] {
        if let Some(list) = status.get_mut(addresses).and_then(Value::as_array_mut) {
            list.insert(0, json!({ "$patch": "replace" }));
        }
    }
    json!({ "metadata": { "uid": uid }, "status": status })
}

#[cfg(test)]
mod tests {
    use pandaemon_podsync::{BackoffState, ObservedPod, compute_pod_actions};
    use serde_json::{Value, json};

    use super::{PodRef, render};
    use crate::pod::desired::desired_pod;

    #[test]
    fn the_status_of_a_waiting_pod() {
        let object = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": [{"name": "c", "image": "i:1"}]},
            "status": {"conditions": [{"type": "Other", "status": "True"},
                {"type": "PodScheduled", "status": "True",
                    "lastTransitionTime": "2020-01-01T00:00:00Z"}]}});
        let previous = object["status"].clone();
        let pod = PodRef::new(serde_json::from_value(object).unwrap()).unwrap();
        let desired = desired_pod(&pod, false);
        let plan = compute_pod_actions(
            &desired,
            &ObservedPod::default(),
            &BackoffState::default(),
            1_000_000,
        );
        let address = "10.0.0.1".parse().unwrap();
        let got = render(
            &pod,
            &plan.status,
            &previous,
            address,
            "containerd",
            1_000_000,
        );
        assert_eq!(got["phase"], "Pending");
        assert_eq!(got["startTime"], "1970-01-01T00:16:40Z");
        assert_eq!(got["podIP"], Value::Null);
        let first = &got["containerStatuses"][0];
        assert_eq!(
            first["state"],
            json!({"waiting": {"reason": "ContainerCreating"}})
        );
        assert_eq!(
            (&first["image"], &first["lastState"]),
            (&json!("i:1"), &json!({}))
        );
        let conditions = got["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 5, "without those of other clients");
        assert_eq!(conditions[4]["lastTransitionTime"], "2020-01-01T00:00:00Z");
    }
}
