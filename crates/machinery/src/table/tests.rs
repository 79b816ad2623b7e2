//! Cells of rows.

use serde_json::{Value, json};

use super::{Clock, event, human_duration, network, node, plain, pod, workload};

/// 2026-01-01T00:00:00Z
const NOW: i64 = 1_767_225_600;
const CLOCK: Clock = Clock { now_seconds: NOW };

fn texts(cells: &[Value]) -> Vec<String> {
    cells
        .iter()
        .map(|c| c.as_str().map_or_else(|| c.to_string(), str::to_owned))
        .collect()
}

#[test]
fn durations_have_one_or_two_units() {
    let cases = [
        (-2, "<invalid>"),
        (-1, "0s"),
        (119, "119s"),
        (120, "2m"),
        (310, "5m10s"),
        (600, "10m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 300, "3h5m"),
        (47 * 3600, "47h"),
        (50 * 3600, "2d2h"),
        (8 * 24 * 3600, "8d"),
        (800 * 24 * 3600, "2y70d"),
        (3000 * 24 * 3600, "8y"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(human_duration(seconds), expected, "{seconds} s");
    }
}

fn status_of(status: &Value, deleted: bool) -> Vec<String> {
    let mut object = json!({
        "metadata": {"name": "p", "creationTimestamp": "2025-12-31T23:00:00Z"},
        "spec": {
            "initContainers": [{"name": "i"}, {"name": "side", "restartPolicy": "Always"}],
            "containers": [{"name": "a"}, {"name": "b"}],
        },
        "status": status,
    });
    if deleted {
        object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }
    texts(&pod::cells(&object, CLOCK))[1..4].to_vec()
}

#[test]
fn pod_status_cell() {
    let running = |name: &str| json!({"name": name, "ready": true, "state": {"running": {}}});
    let done = json!({"name": "i", "state": {"terminated": {"exitCode": 0}}});
    let sidecar = json!({"name": "side", "ready": true, "started": true, "state": {"running": {}}});
    let crashed = json!({"name": "b", "restartCount": 12, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"finishedAt": "2025-12-31T23:16:00Z"}}});
    let cases = [
        (json!({"phase": "Pending"}), ["0/3", "Pending", "0"]),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
            ["0/3", "Init:0/2", "0"],
        ),
        (
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            ["0/3", "Init:CrashLoopBackOff", "3"],
        ),
        (
            json!({"phase": "Failed", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 7}}}]}),
            ["0/3", "Init:ExitCode:7", "0"],
        ),
        (
            json!({"phase": "Running", "initContainerStatuses": [done, sidecar],
            "containerStatuses": [running("a"), running("b")]}),
            ["3/3", "Running", "0"],
        ),
        (
            json!({"phase": "Running", "containerStatuses": [running("a"), crashed]}),
            ["1/3", "CrashLoopBackOff", "12 (44m ago)"],
        ),
        (
            json!({"phase": "Running", "containerStatuses": [running("a"),
            {"name": "b", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}),
            ["1/3", "NotReady", "0"],
        ),
        (
            json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"signal": 9}}}]}),
            ["0/3", "Signal:9", "0"],
        ),
        (
            json!({"phase": "Failed", "reason": "Evicted"}),
            ["0/3", "Evicted", "0"],
        ),
    ];
    for (status, expected) in cases {
        assert_eq!(status_of(&status, false), expected, "{status}");
    }
    assert_eq!(
        status_of(&json!({"phase": "Running"}), true)[1],
        "Terminating"
    );
    assert_eq!(
        status_of(&json!({"phase": "Running", "reason": "NodeLost"}), true)[1],
        "Unknown"
    );
    assert_eq!(
        status_of(&json!({"phase": "Succeeded"}), true)[1],
        "Succeeded"
    );
}

#[test]
fn node_status_cell_shows_a_cordoned_node() {
    let object = json!({
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": "",
            "node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "edge"}},
        "spec": {"unschedulable": true},
        "status": {"conditions": [{"type": "Ready", "status": "Unknown"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.33.0"}},
    });
    let expected = [
        "n",
        "NotReady,SchedulingDisabled",
        "control-plane,edge,worker",
        "<unknown>",
        "v1.33.0",
        "10.0.0.1",
        "<none>",
        "<unknown>",
        "<unknown>",
        "<unknown>",
    ];
    assert_eq!(texts(&node::cells(&object, CLOCK)), expected);
}

#[test]
fn selector_cell_is_sorted_by_key() {
    let object = json!({
        "metadata": {"name": "ds"},
        "spec": {
            "selector": {"matchLabels": {"z": "1"},
                "matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["y", "x"]},
                    {"key": "b", "operator": "Exists"}]},
            "template": {"spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    let cells = texts(&workload::daemon_set(&object, CLOCK));
    assert_eq!(cells[10], "a notin (x,y),b,z=1");
    assert_eq!(cells[6], "<none>");
}

#[test]
fn events_of_both_groups_have_equal_rows() {
    let old = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "R", "message": " m ", "count": 3,
        "involvedObject": {"kind": "Pod", "name": "p"}, "source": {"component": "c", "host": "h"},
        "firstTimestamp": "2025-12-31T23:00:00Z", "lastTimestamp": "2025-12-31T23:50:00Z"});
    let new = json!({"metadata": {"name": "e"}, "type": "Normal", "reason": "R", "note": "m", "deprecatedCount": 3,
        "regarding": {"kind": "Pod", "name": "p"}, "reportingController": "c", "reportingInstance": "h",
        "deprecatedFirstTimestamp": "2025-12-31T23:00:00Z", "deprecatedLastTimestamp": "2025-12-31T23:50:00Z"});
    let expected = [
        "10m", "Normal", "R", "pod/p", "", "c, h", "m", "60m", "3", "e",
    ];
    assert_eq!(texts(&event::cells(&old, CLOCK)), expected);
    assert_eq!(texts(&event::cells(&new, CLOCK)), expected);
}

#[test]
fn endpoints_cell_counts_endpoints_beyond_the_third() {
    let ips: Vec<Value> = (1..=5)
        .map(|n| json!({"ip": format!("10.0.0.{n}")}))
        .collect();
    let object = json!({"metadata": {"name": "e"}, "subsets": [{"addresses": ips, "ports": [{"port": 80}]}]});
    let cells = texts(&network::endpoints(&object, CLOCK));
    assert_eq!(cells[1], "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...");
}

#[test]
fn subjects_of_a_binding_are_shown_by_kind() {
    let object = json!({
        "metadata": {"name": "b", "creationTimestamp": "2025-12-31T23:00:00Z"},
        "roleRef": {"kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": "ann"}, {"kind": "Group", "name": "dev"},
            {"kind": "User", "name": "bob"}, {"kind": "ServiceAccount", "name": "sa", "namespace": "d"}],
    });
    let expected = ["b", "ClusterRole/view", "60m", "ann, bob", "dev", "d/sa"];
    assert_eq!(texts(&plain::binding(&object, CLOCK)), expected);
}
