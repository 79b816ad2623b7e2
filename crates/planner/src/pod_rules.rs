//! Rules about the pods of a node that planning and explanations share.

use pandaemon_types::{Name, PodView, Timestamp};

/// When a pod becomes available if it stays ready; `None` if it is not ready. Upstream:
/// `podutil.IsPodAvailable`.
pub(crate) fn available_at(
    ready: bool,
    ready_since: Option<Timestamp>,
    min_ready_seconds: i64,
) -> Option<Timestamp> {
    if !ready {
        None
    } else if min_ready_seconds == 0 {
        Some(Timestamp(i64::MIN))
    } else {
        // Upstream compares with `<`.
        ready_since.map(|since| since.plus_seconds(min_ready_seconds).plus_millis(1))
    }
}

/// Whether a pod counts as available: ready for at least `minReadySeconds`.
#[must_use]
pub fn is_available(pod: &PodView, min_ready_seconds: i64, now: Timestamp) -> bool {
    available_at(pod.ready, pod.ready_since, min_ready_seconds).is_some_and(|at| at <= now)
}

/// The order of a node's pods, as upstream's `podByCreationTimestampAndPhase`: bound pods first,
/// then older ones, then by name. The first one decides the node's part of the status, and stays if
/// there are too many.
pub(crate) const fn pod_age(
    bound: bool,
    created: Timestamp,
    name: &Name,
) -> (bool, Timestamp, &Name) {
    (!bound, created, name)
}

/// The sort key of a node's pods for explanations: those that run before those that ended and those
/// that are being deleted, each in the order in which the planner counts and keeps them.
#[must_use]
pub fn pod_order(pod: &PodView) -> impl Ord + '_ {
    let ended = pod.phase.is_terminal();
    let age = pod_age(pod.node.is_some(), pod.created, &pod.name);
    (pod.deleting, ended, age)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, created: i64, mut object: Value) -> PodView {
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(name);
        object["metadata"]["creationTimestamp"] = json!(Timestamp(created * 1000).to_string());
        PodView::deserialize(&object).unwrap()
    }

    #[test]
    fn a_pod_is_available_after_min_ready_seconds() {
        let view = |status: &str, since: Value| {
            let ready = json!({"type": "Ready", "status": status, "lastTransitionTime": since});
            pod("p", 0, json!({"status": {"conditions": [ready]}}))
        };
        let ready = view("True", json!("1970-01-01T00:00:00Z"));
        let at = |wait, millis| is_available(&ready, wait, Timestamp(millis));
        assert!(at(0, 0) && !at(5, 5_000) && at(5, 5_001));
        let without_time = view("True", Value::Null);
        assert!(is_available(&without_time, 0, Timestamp(0)));
        assert!(!is_available(&without_time, 5, Timestamp(9_000)));
        assert!(!is_available(&view("False", Value::Null), 0, Timestamp(0)));
    }

    #[test]
    fn running_pods_come_before_ended_and_deleted_ones_and_older_before_younger() {
        let bound = json!({"spec": {"nodeName": "n"}});
        let ended = json!({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}});
        let mut deleted = bound.clone();
        deleted["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
        let mut pods = [
            pod("deleted", 0, deleted),
            pod("ended", 0, ended),
            pod("unbound", 0, json!({})),
            pod("young", 9, bound.clone()),
            pod("old-b", 1, bound.clone()),
            pod("old-a", 1, bound),
        ];
        pods.sort_by(|a, b| pod_order(a).cmp(&pod_order(b)));
        let names = pods.each_ref().map(|pod| &*pod.name);
        assert_eq!(
            names,
            ["old-a", "old-b", "young", "unbound", "ended", "deleted"]
        );
    }
}
