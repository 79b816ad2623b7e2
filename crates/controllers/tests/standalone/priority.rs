//! Requests of critical DaemonSets come before those of others.

use pandaemon_controllers::flow_control::request_gate::RequestPriority;

use super::cluster::{Cluster, Controller, QUICK, daemon};

const SETS: &str = "/apis/apps/v1/namespaces/kube-system/daemonsets";

#[tokio::test]
async fn requests_have_the_priority_of_their_set() {
    let cluster = Cluster::start(&[]).await;
    cluster.node("n").await;
    let classes = [
        ("node", "system-node-critical", 0),
        ("cluster", "system-cluster-critical", 1),
        ("usual", "", 2),
    ];
    for (name, class, _) in classes {
        let mut set = daemon(name, "agent:v1");
        if !class.is_empty() {
            set["spec"]["template"]["spec"]["priorityClassName"] = class.into();
        }
        cluster.create(SETS, set).await;
    }
    let controller = Controller::start(&cluster, "leader", QUICK);
    for (name, _, rank) in classes {
        cluster
            .settled(&format!("{SETS}/{name}"), 1, 1, |_| ())
            .await;
        let changes = controller.changes();
        let pods = "/api/v1/namespaces/kube-system/pods";
        let owner = format!("\"name\":\"{name}\"");
        let created = changes
            .iter()
            .find(|request| request.path == pods && request.body.contains(&owner))
            .unwrap();
        assert_eq!(created.priority, Some(RequestPriority(rank)), "{name}");
    }
}
