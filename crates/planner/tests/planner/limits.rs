//! Limits on requests under way: slow start, and at most 250 creations and 250 deletions per set.

use pandaemon_planner::{Action, Failure, FailureKind, Options};
use serde_json::json;

use crate::cluster::Cluster;

fn node(number: usize) -> serde_json::Value {
    let name = format!("n{number:04}");
    json!({"metadata": {"name": name, "uid": name}})
}

fn set(image: &str, generation: i64, disk: &str) -> serde_json::Value {
    let selector = if disk.is_empty() {
        json!({})
    } else {
        json!({"disk": disk})
    };
    json!({
        "metadata": {"name": "agent", "namespace": "ns", "uid": "s", "generation": generation},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
            "template": {"metadata": {"labels": {"app": "agent"}}, "spec": {
                "nodeSelector": selector,
                "containers": [{"name": "c", "image": image}]}}},
    })
}

/// How many pods each plan creates and deletes, until the cluster is settled.
fn steps(cluster: &mut Cluster) -> Vec<(usize, usize)> {
    let mut steps = Vec::new();
    for _ in 0..100 {
        let plan = cluster.plan();
        let count = |wanted: fn(&Action) -> bool| plan.actions.iter().filter(|a| wanted(a)).count();
        let made = count(|action| matches!(action, Action::CreatePod { .. }));
        let ended = count(|action| matches!(action, Action::DeletePod { .. }));
        if made + ended > 0 {
            steps.push((made, ended));
        }
        cluster.perform(&plan);
        let changed = cluster.run_kubelets();
        if plan.actions.is_empty() && !changed && cluster.events.is_empty() {
            return steps;
        }
    }
    panic!("does not settle: {steps:?}");
}

#[test]
fn pods_are_made_slowly_at_first_and_never_too_many_at_once() {
    let mut cluster = Cluster::new(Options::default());
    (0..700).for_each(|number| cluster.put_node(node(number)));
    cluster.put_set(set("v1", 1, ""));
    let doubling = [1, 2, 4, 8, 16, 32, 64, 128, 250];
    let made: Vec<_> = steps(&mut cluster)
        .into_iter()
        .map(|(made, _)| made)
        .collect();
    assert_eq!(made[..9], doubling);
    assert_eq!(made.iter().sum::<usize>(), 700);

    // The budget allows all deletions at once; the limit of requests allows 250.
    cluster.put_set(set("v2", 2, ""));
    let update = steps(&mut cluster);
    assert!(
        update
            .iter()
            .all(|(made, ended)| *made <= 250 && *ended <= 250)
    );
    assert_eq!(update[0], (0, 250));
    assert_eq!(update.iter().map(|(_, ended)| ended).sum::<usize>(), 700);
    assert!(
        update.iter().any(|(made, _)| *made == 1),
        "a new template starts slowly again"
    );

    // The same limit holds when no node should run the daemon any more.
    cluster.put_set(set("v2", 3, "none"));
    let ended: Vec<_> = steps(&mut cluster)
        .into_iter()
        .map(|(_, ended)| ended)
        .collect();
    assert_eq!(ended, [250, 250, 200]);
}

/// Plans and carries out until nothing changes, without letting time pass; requests for pods on the
/// node
/// `n0000` are refused. Returns the number of plans.
fn settle_with_a_refusing_node(cluster: &mut Cluster) -> usize {
    for round in 1..2_000 {
        let plan = cluster.plan();
        for action in &plan.actions {
            let result = match action {
                Action::CreatePod { node, .. } | Action::DeletePod { node, .. }
                    if &**node == "n0000" =>
                {
                    Err(Failure {
                        kind: FailureKind::Refused,
                        message: "no".to_owned(),
                        retry_after: 0,
                    })
                }
                action => cluster.carry_out(action),
            };
            cluster.report(action, result);
        }
        let changed = cluster.run_kubelets();
        if plan.actions.is_empty() && !changed && cluster.events.is_empty() {
            return round;
        }
    }
    panic!("does not settle");
}

#[test]
fn a_node_that_refuses_its_pod_delays_no_other() {
    let run = |nodes: std::ops::Range<usize>| {
        let mut cluster = Cluster::new(Options::default());
        nodes.for_each(|number| cluster.put_node(node(number)));
        cluster.put_set(set("v1", 1, ""));
        let rounds = settle_with_a_refusing_node(&mut cluster);
        assert_eq!(cluster.pods.len(), 500);
        rounds
    };
    let (with, without) = (run(0..501), run(1..501));
    assert!(with <= without + 2, "{with} plans, {without} without it");
}

#[test]
fn a_node_that_refuses_a_deletion_stops_no_rolling_update() {
    for surge in [false, true] {
        let mut cluster = Cluster::new(Options::default());
        (0..20).for_each(|number| cluster.put_node(node(number)));
        let object = |image: &str, generation| {
            let mut set = set(image, generation, "");
            let limits = json!({"maxSurge": i32::from(surge), "maxUnavailable": i32::from(!surge)});
            set["spec"]["updateStrategy"]["rollingUpdate"] = limits;
            set
        };
        cluster.put_set(object("v1", 1));
        cluster.settle();
        cluster.put_set(object("v2", 2));
        settle_with_a_refusing_node(&mut cluster);
        let is_new =
            |pod: &&serde_json::Value| pod["spec"]["containers"][0]["image"] == json!("v2");
        let updated = cluster.pods.values().filter(is_new).count();
        // The node keeps its old pod in both modes.
        assert_eq!(updated, 19, "surge {surge}");
    }
}

#[test]
fn adoptions_start_slowly_and_never_exceed_250_at_once() {
    let mut cluster = Cluster::new(Options::default());
    cluster.put_set(set("v1", 1, ""));
    for number in 0..700 {
        cluster.put_node(node(number));
        let name = format!("orphan-{number:04}");
        cluster.put_pod(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "agent"}},
            "spec": {"nodeName": format!("n{number:04}")},
        }));
    }
    let mut adopted = Vec::new();
    while adopted.iter().sum::<usize>() < 700 && adopted.len() < 100 {
        let plan = cluster.plan();
        let patches = |action: &&Action| matches!(action, Action::PatchPod { .. });
        adopted.push(plan.actions.iter().filter(patches).count());
        cluster.perform(&plan);
    }
    // The first plan only creates the revision.
    assert_eq!(adopted[..10], [0, 1, 2, 4, 8, 16, 32, 64, 128, 250]);
}
