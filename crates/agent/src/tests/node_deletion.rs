//! The Node of a running agent is deleted, or the server refuses the agent for other reasons.

use std::time::Duration;

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use serde_json::{Value, json};

use super::node::{Node, pod, until};
use crate::{api::identity::Identity, config::NodeDeleted, stop::RunningAgent};

/// The answer to a node whose Node object was deleted, as the server sends it.
fn node_deleted(name: &str, uid: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "nodes \"n1\" is forbidden", "reason": "Forbidden", "code": 403,
        "details": { "kind": "nodes", "name": name, "uid": uid,
            "causes": [{ "reason": "NodeDeleted", "message": "node \"n1\" was deleted" }] },
    })
}

fn refusal(code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "message": "no", "code": code })
}

/// Sends a request as the agent does, and returns the code of the refusal.
async fn ask(node: &Node) -> u16 {
    let api: Api<NodeObject> = Api::all(node.context().client.clone());
    match api.get("n1").await {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("{other:?}"),
    }
}

async fn with_two_pods() -> Node {
    let node = Node::start();
    node.context().registration.set_uid("u1");
    for name in ["p", "q"] {
        node.api.apply(&pod(name, &[("c", "image:1")]));
        let ready = |state: &super::fake_api::State| state.is_ready(name);
        node.api.until("the pod is ready", ready).await;
    }
    node
}

#[tokio::test]
async fn pods_end_in_order_when_their_node_is_deleted() {
    let node = with_two_pods().await;
    node.api.refuse_all(Some(node_deleted("n1", "u1")));
    assert_eq!(ask(&node).await, 403, "callers see the refusal");
    let agent = RunningAgent {
        context: node.context(),
        pods: &node.pods,
        containerd: None,
        pod_cidr: "10.64.0.0/24",
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), agent.node_deleted()).await;
    assert_eq!(ended.expect("all pods have ended"), "u1");
    let calls = node.runtime.calls();
    let find = |call: &str| calls.iter().position(|one| one == call).expect(call);
    for (container, sandbox) in [("container2", "sandbox1"), ("container4", "sandbox3")] {
        let order = [
            find(&format!("stop_container {container} 30s")),
            find(&format!("stop_sandbox {sandbox}")),
            find(&format!("remove_sandbox {sandbox}")),
        ];
        assert!(order.is_sorted(), "{calls:#?}");
    }
    let saved = || std::fs::read_dir(node.paths().saved_pods()).unwrap();
    until("no pod starts again", || saved().next().is_none()).await;

    let identity = Identity::new(node.paths().identity());
    let error = agent.stop(&identity, Some("u1".to_owned())).await;
    assert!(error.unwrap_err().is::<NodeDeleted>());
    assert!(!node.paths().identity().exists(), "the next agent joins");
}

#[tokio::test]
async fn no_other_refusal_changes_anything_on_the_node() {
    let node = with_two_pods().await;
    let mut of_pods = node_deleted("n1", "u1");
    of_pods["details"]["kind"] = json!("pods");
    let mut without_cause = node_deleted("n1", "u1");
    without_cause["details"]["causes"] = json!([]);
    let mut unauthorized = node_deleted("n1", "u1");
    unauthorized["code"] = json!(401);
    for answer in [
        refusal(401),
        refusal(403),
        node_deleted("n1", "an-earlier-node"),
        node_deleted("n1", ""),
        node_deleted("n2", "u1"),
        of_pods,
        without_cause,
        unauthorized,
    ] {
        let code = answer["code"].as_u64().unwrap();
        node.api.refuse_all(Some(answer.clone()));
        assert_eq!(u64::from(ask(&node).await), code);
        assert!(!node.context().registration.is_deleted(), "{answer}");
    }
    node.settle("p").await;
    assert_eq!(node.calls("stop_"), Vec::<String>::new());
    assert_eq!(node.pods.count(), 2);
    node.api.refuse_all(None);
    node.api.delete("p", 1);
    let gone = |state: &super::fake_api::State| state.status("p").is_none();
    node.api.until("the agent goes on", gone).await;
}

#[tokio::test]
async fn a_later_agent_knows_which_node_was_registered() {
    let node = with_two_pods().await.restart().await;
    node.api.refuse_all(Some(node_deleted("n1", "u1")));
    ask(&node).await;
    assert_eq!(node.context().registration.deleted().await, "u1");
}
