//! Limits on requests under way: slow start, and at most 250 creations and 250 deletions per set.

use pandaemon_planner::{Action, Options};
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
    loop {
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
