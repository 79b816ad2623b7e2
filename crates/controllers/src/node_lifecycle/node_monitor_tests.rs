//! The node monitor over time, without a cluster.

use std::time::Duration;

use futures::FutureExt as _;
use pandaemon_client::{list_watch::Delta, object_meta::Key, work_queue::WorkQueue};
use serde::Deserialize as _;
use serde_json::json;

use super::*;

const GRACE: Duration = Duration::from_secs(40);

struct TestMonitor {
    monitor: NodeMonitor,
    queue: WorkQueue<Task>,
    start: Instant,
}

impl TestMonitor {
    fn new() -> Self {
        let monitor = NodeMonitor::new(Timing {
            node_monitor_grace_period: GRACE,
            ..Timing::default()
        });
        let mut test = Self {
            monitor,
            queue: WorkQueue::default(),
            start: Instant::now(),
        };
        test.monitor
            .observe_nodes(Delta::Listed(Vec::new()), &mut test.queue, test.start);
        test.monitor
            .observe_pods(Delta::Listed(Vec::new()), &mut test.queue, test.start);
        test
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn node(&mut self, name: &str, ready: &str, taint: &str, seconds: u64) {
        let taints = if taint.is_empty() {
            json!([])
        } else {
            json!([{ "key": taint, "effect": "NoExecute" }])
        };
        let node = Node::deserialize(&json!({
            "metadata": { "name": name, "uid": name },
            "spec": { "taints": taints },
            "status": { "conditions": [
                { "type": "Ready", "status": ready, "lastHeartbeatTime": "2020-01-01T00:00:00Z" }]},
        }))
        .unwrap();
        let now = self.at(seconds);
        self.monitor
            .observe_nodes(Delta::Applied(Arc::new(node)), &mut self.queue, now);
    }

    fn pod(&mut self, name: &str, node: &str, tolerated: Option<i64>, seconds: u64) {
        let pod = Pod::deserialize(&json!({
            "metadata": { "name": name, "namespace": "a", "uid": name },
            "spec": { "nodeName": node, "tolerations": tolerated.map(|seconds| json!([
                { "operator": "Exists", "tolerationSeconds": seconds }])) },
            "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
        }))
        .unwrap();
        let now = self.at(seconds);
        self.monitor
            .observe_pods(Delta::Applied(Arc::new(pod)), &mut self.queue, now);
    }

    fn due(&self, name: &str, seconds: u64) -> bool {
        self.monitor.is_due(&Key::new("a", name), self.at(seconds))
    }
}

#[test]
fn a_node_is_unresponsive_after_the_grace_period_and_an_own_status_is_no_heartbeat() {
    let mut test = TestMonitor::new();
    test.node("n1", "True", "", 0);
    assert!(!test.monitor.is_unresponsive("n1", test.at(40)));
    assert!(test.monitor.is_unresponsive("n1", test.at(41)));
    test.node("n1", "Unknown", "", 42);
    assert!(
        test.monitor.is_unresponsive("n1", test.at(43)),
        "the controller itself wrote Unknown"
    );
    let lease = Lease {
        metadata: ObjectMeta {
            name: "n1".to_owned(),
            ..Default::default()
        },
        ..Lease::default()
    };
    let mut renewed = lease;
    renewed.spec.renew_time = Some("1999-01-01T00:00:00Z".to_owned());
    let now = test.at(50);
    test.monitor
        .observe_leases(Delta::Applied(renewed), &mut test.queue, now);
    assert!(!test.monitor.is_unresponsive("n1", test.at(60)));
}

#[test]
fn toleration_seconds_run_from_the_taint_and_end_with_it() {
    let mut test = TestMonitor::new();
    test.node("n1", "True", "", 0);
    test.pod("now", "n1", None, 0);
    test.pod("later", "n1", Some(30), 0);
    assert!(!test.due("now", 1));
    test.node("n1", "True", "dead", 10);
    assert!(test.due("now", 10) && !test.due("later", 39) && test.due("later", 40));
    test.pod("later", "n1", Some(30), 35);
    assert!(
        test.due("later", 40),
        "a change of the pod does not start its time again"
    );
    test.node("n1", "True", "", 38);
    assert!(!test.due("later", 100));
}

/// The pods that the next tasks mark not ready, in the order of the queue.
fn marked(test: &mut TestMonitor) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(task) = test.queue.next().now_or_never() {
        if let Task::MarkNotReady(key) = &task {
            let pod = test.monitor.pod_to_mark(key);
            names.extend(pod.map(|pod| pod.meta.name.clone()));
        }
        test.queue.finish(task, true);
    }
    names
}

#[test]
fn pods_are_marked_when_their_node_becomes_not_ready() {
    let mut test = TestMonitor::new();
    test.node("n1", "True", "", 0);
    test.pod("p", "n1", None, 0);
    assert!(marked(&mut test).is_empty());
    test.node("n1", "False", "", 1);
    assert_eq!(marked(&mut test), ["p"]);
    test.node("n1", "Unknown", "", 2);
    test.pod("p", "n1", None, 3);
    assert!(
        marked(&mut test).is_empty(),
        "an agent that lives says more"
    );
    test.node("n1", "True", "", 4);
    test.node("n1", "False", "", 5);
    assert_eq!(marked(&mut test), ["p"]);
}

#[tokio::test]
async fn a_pod_that_could_not_be_marked_is_tried_again() {
    let mut test = TestMonitor::new();
    test.node("n1", "True", "", 0);
    test.pod("p", "n1", None, 0);
    test.node("n1", "Unknown", "", 1);
    // All writes fail: that of the node's taints, and that of the pod.
    while let Some(task) = test.queue.next().now_or_never() {
        test.queue.finish(task, false);
    }
    let expected = Task::MarkNotReady(Key::new("a", "p"));
    let again = [test.queue.next().await, test.queue.next().await];
    assert!(again.contains(&expected), "{again:?}");
    assert!(test.monitor.pod_to_mark(&Key::new("a", "p")).is_some());
}

#[test]
fn pods_of_a_dead_node_are_marked_after_a_restart() {
    for pods_first in [true, false] {
        let mut test = TestMonitor::new();
        if pods_first {
            test.pod("p", "n1", None, 0);
        }
        test.node("n1", "Unknown", "", 0);
        if !pods_first {
            test.pod("p", "n1", None, 0);
        }
        assert_eq!(marked(&mut test), ["p"], "pods first: {pods_first}");
    }
}

#[test]
fn no_pod_is_evicted_while_no_node_is_ready() {
    let mut test = TestMonitor::new();
    test.node("n1", "True", "", 0);
    test.node("n2", "False", "", 0);
    assert!(test.monitor.may_evict());
    test.node("n1", "Unknown", "", 1);
    assert!(!test.monitor.may_evict());
}

#[test]
fn no_pod_is_evicted_while_most_nodes_are_not_ready() {
    let mut test = TestMonitor::new();
    for index in 0..10 {
        let ready = if index < 5 { "True" } else { "False" };
        test.node(&format!("n{index}"), ready, "", 0);
    }
    assert!(test.monitor.may_evict());
    test.node("n4", "False", "", 1);
    assert!(!test.monitor.may_evict());
}

#[test]
fn nodes_are_not_unresponsive_after_this_process_was_frozen() {
    let mut test = TestMonitor::new();
    test.node("n1", "True", "", 0);
    for seconds in [0, 5, 10, 300] {
        let now = test.at(seconds);
        test.monitor.tick(&mut test.queue, now);
    }
    assert!(!test.monitor.is_unresponsive("n1", test.at(301)));
    for seconds in (305..350).step_by(5) {
        let now = test.at(seconds);
        test.monitor.tick(&mut test.queue, now);
    }
    assert!(test.monitor.is_unresponsive("n1", test.at(350)));
}

#[test]
fn pods_of_a_node_that_is_gone_are_orphaned() {
    let mut test = TestMonitor::new();
    test.pod("p", "n9", None, 0);
    test.node("n1", "True", "", 0);
    test.pod("q", "n1", None, 0);
    assert_eq!(test.monitor.orphaned_pods("n9").len(), 1);
    assert!(
        test.monitor.orphaned_pods("n1").is_empty() && test.monitor.orphaned_pods("").is_empty()
    );
}

/// A node renews its lease every 35 seconds, with different clocks. It is unresponsive when the
/// grace period has passed after the last renewal.
#[test]
fn the_clock_of_a_node_does_not_matter() {
    let clocks: [(&str, [&str; 4]); 5] = [
        ("right", ["00:00:00", "00:00:10", "00:00:20", "00:00:30"]),
        (
            "ten minutes behind",
            ["23:50:00", "23:50:10", "23:50:20", "23:50:30"],
        ),
        (
            "ten minutes ahead",
            ["00:10:00", "00:10:10", "00:10:20", "00:10:30"],
        ),
        (
            "set back on the way",
            ["00:10:00", "00:10:10", "00:00:20", "00:00:30"],
        ),
        (
            "years off",
            ["1970-01-01", "1970-01-02", "2099-01-01", "2099-01-02"],
        ),
    ];
    for (name, said) in clocks {
        let mut test = TestMonitor::new();
        test.node("n1", "True", "", 0);
        for (renewed, seconds) in said.iter().zip([0, 35, 70, 105]) {
            let mut lease = Lease::default();
            lease.metadata.name = "n1".to_owned();
            lease.spec.renew_time = Some((*renewed).to_owned());
            let now = test.at(seconds);
            test.monitor
                .observe_leases(Delta::Applied(lease), &mut test.queue, now);
            assert!(
                !test.monitor.is_unresponsive("n1", test.at(seconds + 40)),
                "{name}"
            );
        }
        // A time in the future does not extend the grace period.
        assert!(
            test.monitor.is_unresponsive("n1", test.at(105 + 41)),
            "{name}"
        );
    }
}

#[test]
fn a_late_deletion_of_an_earlier_lease_leaves_its_successor() {
    let mut test = TestMonitor::new();
    let now = test.at(0);
    let lease = |uid: &str| {
        let mut lease = Lease::default();
        lease.metadata.name = "n1".to_owned();
        lease.metadata.uid = uid.to_owned();
        lease.spec.renew_time = Some(format!("renewed as {uid}"));
        lease
    };
    for delta in [
        Delta::Listed(vec![lease("old")]),
        Delta::Applied(lease("new")),
        Delta::Deleted(lease("old")),
    ] {
        test.monitor.observe_leases(delta, &mut test.queue, now);
    }
    test.node("n1", "True", "", 0);
    // A renewal that the monitor knows already is no heartbeat.
    let again = Delta::Applied(lease("new"));
    let later = test.at(30);
    test.monitor.observe_leases(again, &mut test.queue, later);
    assert!(test.monitor.is_unresponsive("n1", test.at(41)));
}
