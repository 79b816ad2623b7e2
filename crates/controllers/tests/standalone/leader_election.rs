//! Leaders that are cut off or stopped during a rolling update.

use std::{sync::atomic::Ordering, time::Duration};

use pandaemon_controllers::leader_election::config::Timing;
use serde_json::{Value, json};

use super::cluster::{Cluster, Controller, LEASE, QUICK, by_node, daemon, is_ready, pause};

const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";
const SET: &str = "/apis/apps/v1/namespaces/default/daemonsets/agent";
const NODES: usize = 6;

async fn cluster() -> Cluster {
    let cluster = Cluster::start(&[]).await;
    for node in 0..NODES {
        cluster.node(&format!("n{node}")).await;
    }
    cluster.create(SETS, daemon("agent", "agent:v1")).await;
    cluster
}

fn one_a_node(pods: &[Value]) {
    assert!(
        by_node(pods).values().all(|pods| *pods == 1),
        "{:#?}",
        by_node(pods)
    );
}

/// Nodes without a daemon that serves: one is the budget.
fn within_budget(pods: &[Value]) {
    one_a_node(pods);
    let serving = pods
        .iter()
        .filter(|pod| is_ready(pod) && pod["metadata"]["deletionTimestamp"].is_null());
    assert!(serving.count() + 1 >= NODES, "{pods:#?}");
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})
}

#[tokio::test]
async fn a_leader_that_is_cut_off_is_replaced_in_mid_rollout() {
    let cluster = cluster().await;
    let first = Controller::start(&cluster, "first", QUICK);
    cluster.settled(SET, 1, NODES as u64, one_a_node).await;
    let second = Controller::start(&cluster, "second", QUICK);
    cluster.strategic_patch(SET, image("agent:v2")).await;
    let updated = |set: &Value| {
        set["status"]["updatedNumberScheduled"]
            .as_u64()
            .unwrap_or(0)
    };
    while updated(&cluster.get(SET).await) < 2 {
        within_budget(&cluster.agents().await);
        pause().await;
    }
    assert_eq!(cluster.get(LEASE).await["spec"]["holderIdentity"], "first");
    first.cut.store(true, Ordering::SeqCst);
    let sent = first.requests.lock().len();
    cluster.settled(SET, 2, NODES as u64, within_budget).await;
    let lease = cluster.get(LEASE).await;
    assert_eq!(lease["spec"]["holderIdentity"], "second");
    assert_eq!(lease["spec"]["leaseTransitions"], 1);
    // Connected again, it knows that it does not lead.
    first.cut.store(false, Ordering::SeqCst);
    cluster.strategic_patch(SET, image("agent:v3")).await;
    cluster.settled(SET, 3, NODES as u64, within_budget).await;
    let late: Vec<_> = first.requests.lock()[sent..]
        .iter()
        .filter(|requests| requests.is_change())
        .cloned()
        .collect();
    assert!(late.is_empty(), "{late:#?}");
    assert!(!second.changes().is_empty());
}

#[tokio::test]
async fn a_leader_that_is_stopped_hands_over_at_once() {
    let cluster = cluster().await;
    // A lease that never expires during the test.
    let timing = Timing {
        lease_duration: Duration::from_secs(36_000),
        ..QUICK
    };
    let first = Controller::start(&cluster, "first", timing);
    cluster.settled(SET, 1, NODES as u64, one_a_node).await;
    let second = Controller::start(&cluster, "second", timing);
    cluster.strategic_patch(SET, image("agent:v2")).await;
    cluster.agents().await;
    first.stop.trigger();
    first.ended.await.unwrap();
    let sent = first.requests.lock().len();
    cluster.settled(SET, 2, NODES as u64, within_budget).await;
    assert_eq!(cluster.get(LEASE).await["spec"]["holderIdentity"], "second");
    assert_eq!(first.requests.lock().len(), sent);
    let events = cluster.items("/api/v1/namespaces/kube-system/events").await;
    let recorded = |text: &str| {
        events
            .iter()
            .any(|event| event["reason"] == "LeaderElection" && event["message"] == text)
    };
    assert!(recorded("first became leader"), "{events:#?}");
    second.stop.trigger();
    second.ended.await.unwrap();
    assert_eq!(cluster.get(LEASE).await["spec"]["holderIdentity"], "");
}
