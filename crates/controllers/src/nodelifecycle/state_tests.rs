//! The state over time, without a cluster.

use std::time::Duration;

use serde::Deserialize as _;
use serde_json::json;

use super::*;

const GRACE: Duration = Duration::from_secs(40);

struct World {
    state: State,
    queue: WorkQueue<Work>,
    start: Instant,
}

impl World {
    fn new() -> Self {
        let state = State::new(Timing {
            grace: GRACE,
            ..Timing::default()
        });
        let mut world = Self {
            state,
            queue: WorkQueue::default(),
            start: Instant::now(),
        };
        world
            .state
            .nodes(Delta::Listed(Vec::new()), &mut world.queue, world.start);
        world
            .state
            .pods(Delta::Listed(Vec::new()), &mut world.queue, world.start);
        world
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
        self.state
            .nodes(Delta::Applied(Arc::new(node)), &mut self.queue, now);
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
        self.state
            .pods(Delta::Applied(Arc::new(pod)), &mut self.queue, now);
    }

    fn due(&self, name: &str, seconds: u64) -> bool {
        self.state.is_due(&Key::new("a", name), self.at(seconds))
    }
}

#[test]
fn a_node_is_silent_after_the_grace_time_and_our_own_words_do_not_wake_it() {
    let mut world = World::new();
    world.node("n1", "True", "", 0);
    assert!(!world.state.is_silent("n1", world.at(40)));
    assert!(world.state.is_silent("n1", world.at(41)));
    world.node("n1", "Unknown", "", 42);
    assert!(
        world.state.is_silent("n1", world.at(43)),
        "Unknown is what we wrote"
    );
    let lease = Lease {
        metadata: pandaemon_client::object_meta::ObjectMeta {
            name: "n1".to_owned(),
            ..Default::default()
        },
        ..Lease::default()
    };
    let mut renewed = lease;
    renewed.spec.renew_time = Some("1999-01-01T00:00:00Z".to_owned());
    let now = world.at(50);
    world
        .state
        .leases(Delta::Applied(renewed), &mut world.queue, now);
    assert!(!world.state.is_silent("n1", world.at(60)));
}

#[test]
fn patience_runs_from_the_taint_and_ends_with_it() {
    let mut world = World::new();
    world.node("n1", "True", "", 0);
    world.pod("now", "n1", None, 0);
    world.pod("later", "n1", Some(30), 0);
    assert!(!world.due("now", 1));
    world.node("n1", "True", "dead", 10);
    assert!(world.due("now", 10) && !world.due("later", 39) && world.due("later", 40));
    world.pod("later", "n1", Some(30), 35);
    assert!(
        world.due("later", 40),
        "a change of the pod does not start its time again"
    );
    world.node("n1", "True", "", 38);
    assert!(!world.due("later", 100));
}

#[test]
fn pods_are_marked_once_when_their_node_stops_being_ready() {
    let mut world = World::new();
    world.node("n1", "True", "", 0);
    world.pod("p", "n1", None, 0);
    assert!(world.state.pods_to_mark("n1").is_empty());
    world.node("n1", "False", "", 1);
    assert_eq!(world.state.pods_to_mark("n1").len(), 1);
    assert!(world.state.pods_to_mark("n1").is_empty());
    world.node("n1", "True", "", 2);
    world.node("n1", "False", "", 3);
    assert_eq!(world.state.pods_to_mark("n1").len(), 1);
}

#[test]
fn no_pod_is_evicted_while_no_node_is_ready() {
    let mut world = World::new();
    world.node("n1", "True", "", 0);
    world.node("n2", "False", "", 0);
    assert!(world.state.may_evict());
    world.node("n1", "Unknown", "", 1);
    assert!(!world.state.may_evict());
}

#[test]
fn many_nodes_that_fail_at_once_keep_their_pods() {
    let mut world = World::new();
    for index in 0..10 {
        let ready = if index < 5 { "True" } else { "False" };
        world.node(&format!("n{index}"), ready, "", 0);
    }
    assert!(world.state.may_evict());
    world.node("n4", "False", "", 1);
    assert!(!world.state.may_evict());
}

#[test]
fn a_process_that_slept_does_not_call_nodes_silent() {
    let mut world = World::new();
    world.node("n1", "True", "", 0);
    for seconds in [0, 5, 10, 300] {
        let now = world.at(seconds);
        world.state.tick(&mut world.queue, now);
    }
    assert!(!world.state.is_silent("n1", world.at(301)));
    for seconds in (305..350).step_by(5) {
        let now = world.at(seconds);
        world.state.tick(&mut world.queue, now);
    }
    assert!(world.state.is_silent("n1", world.at(350)));
}

#[test]
fn pods_of_a_missing_node_are_stranded() {
    let mut world = World::new();
    world.pod("p", "n9", None, 0);
    world.node("n1", "True", "", 0);
    world.pod("q", "n1", None, 0);
    assert_eq!(world.state.stranded("n9").len(), 1);
    assert!(world.state.stranded("n1").is_empty() && world.state.stranded("").is_empty());
}

/// What a node's clock says when it renews its lease every 35 seconds by ours: it lives as long as it
/// renews, and is silent when the grace time has passed after the last renewal.
#[test]
fn a_nodes_clock_does_not_matter() {
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
        let mut world = World::new();
        world.node("n1", "True", "", 0);
        for (renewed, seconds) in said.iter().zip([0, 35, 70, 105]) {
            let mut lease = Lease::default();
            lease.metadata.name = "n1".to_owned();
            lease.spec.renew_time = Some((*renewed).to_owned());
            let now = world.at(seconds);
            world
                .state
                .leases(Delta::Applied(lease), &mut world.queue, now);
            assert!(
                !world.state.is_silent("n1", world.at(seconds + 40)),
                "{name}"
            );
        }
        // A time in the future is no credit.
        assert!(world.state.is_silent("n1", world.at(105 + 41)), "{name}");
    }
}
