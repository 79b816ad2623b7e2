//! What node agents may do: the node authorizer and the admission plugin `NodeRestriction`.

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};

use super::harness::{Server, json_of};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const PODS: &str = "/api/v1/namespaces/default/pods";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const USER: &str = "system:node:a";
const GROUP: &str = "system:nodes";

/// A request of the agent of the node `a`. Returns the code and the message of a refusal.
async fn node(
    server: &Server,
    method: &str,
    path: &str,
    content_type: &str,
    body: &Value,
) -> (u16, String) {
    let user = (USER, &[GROUP][..]);
    let (code, answer) = server
        .send_as(user, (method, path), content_type, body)
        .await;
    let message = answer["message"].as_str().unwrap_or_default();
    (
        code,
        if code < 300 {
            String::new()
        } else {
            message.to_owned()
        },
    )
}

fn pod(name: &str, node: &str, secret: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "nodeName": node, "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "secret": {"secretName": secret}}],
        },
    })
}

fn object(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}})
}

fn lease(name: &str) -> Value {
    let mut lease = object("coordination.k8s.io/v1", "Lease", name);
    lease["spec"] = json!({"renewTime": "2026-01-01T00:00:00.000000Z"});
    lease
}

async fn create(server: &Server, path: &str, object: &Value) -> Value {
    let (code, made) = server.post(path, object).await;
    assert_eq!(code, 201, "{made}");
    made
}

/// A server with the nodes `a` and `b`, and a pod with a Secret on each.
async fn cluster() -> Server {
    let server = Server::start().await;
    server.create_service_account().await;
    for (name, pod_name, secret) in [("a", "own", "own-secret"), ("b", "other", "other-secret")] {
        create(&server, "/api/v1/nodes", &object("v1", "Node", name)).await;
        create(&server, LEASES, &lease(name)).await;
        create(&server, SECRETS, &object("v1", "Secret", secret)).await;
        create(&server, PODS, &pod(pod_name, name, secret)).await;
    }
    server
}

/// Paths that the agent of the node `a` reads, and why it may not.
const READS: &str = r#"
/api/v1/nodes/a |
/api/v1/nodes?fieldSelector=metadata.name%3Da |
/api/v1/nodes/b | node 'a' cannot read 'b', only its own Node object
/api/v1/nodes | node 'a' cannot read all nodes, only its own Node object
PODS/own |
/api/v1/pods?fieldSelector=spec.nodeName%3Da |
PODS/other | no relationship found between node 'a' and this object
/api/v1/pods | can only list/watch pods with spec.nodeName field selector
/api/v1/pods?fieldSelector=spec.nodeName%3Db&watch=true | can only list/watch pods with spec.nodeName field selector
SECRETS/own-secret |
SECRETS?fieldSelector=metadata.name%3Down-secret |
SECRETS?fieldSelector=metadata.name%3Down-secret&watch=true&timeoutSeconds=1 |
SECRETS/other-secret | no relationship found between node 'a' and this object
SECRETS?fieldSelector=metadata.name%3Dother-secret&watch=true | no relationship found between node 'a' and this object
SECRETS | No Object name found
/api/v1/secrets | can only read namespaced object of this type
/api/v1/namespaces/kube-system/secrets/a.node-password.pandaemon | no relationship found between node 'a' and this object
/api/v1/namespaces/default/serviceaccounts | can only create tokens for individual service accounts
/api/v1/services |
/apis/apps/v1/daemonsets | cannot list resource "daemonsets" in API group "apps" at the cluster scope
/version |
/metrics | cannot get path "/metrics"
PODS/own/log | cannot get resource "pods/log"
PODS/own/exec?command=sh | cannot get resource "pods/exec"
PODS/own/attach | cannot get resource "pods/attach"
PODS/own/portforward | cannot get resource "pods/portforward"
/api/v1/nodes/a/proxy/pods | cannot get resource "nodes/proxy"
"#;

/// Writes of the agent of the node `a`: method and path, body, code, and why they are refused.
const WRITES: &str = r#"
PATCH /api/v1/nodes/a/status | {"status": {"phase": "Running"}} | 200 |
PATCH /api/v1/nodes/a | {"metadata": {"labels": {"example.com/x": "x"}}} | 200 |
PATCH /api/v1/nodes/a | {"metadata": {"labels": {"node-role.kubernetes.io/x": ""}}} | 403 | is not allowed to modify labels: node-role.kubernetes.io/x
PATCH /api/v1/nodes/a/status | {"metadata": {"labels": {"node-restriction.kubernetes.io/x": ""}}} | 403 | is not allowed to modify labels: node-restriction.kubernetes.io/x
PATCH /api/v1/nodes/a | {"spec": {"taints": [{"key": "t", "effect": "NoSchedule"}]}} | 403 | node "a" is not allowed to modify taints
PATCH /api/v1/nodes/a | {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u"}]}} | 403 | node "a" is not allowed to modify ownerReferences
PATCH /api/v1/nodes/b/status | {"status": {"phase": "Running"}} | 403 | node "a" is not allowed to modify node "b"
DELETE /api/v1/nodes/a | null | 403 | cannot delete resource "nodes"
POST /api/v1/nodes | {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "c"}} | 403 | node "a" is not allowed to modify node "c"
POST /api/v1/nodes | {"apiVersion": "v1", "kind": "Node", "metadata": {"generateName": "a"}} | 403 | node "a" is not allowed to modify node ""
PATCH LEASES/a | {"spec": {"renewTime": "2026-01-01T00:00:01.000000Z"}} | 200 |
PATCH LEASES/b | {"spec": {"renewTime": "2026-01-01T00:00:01.000000Z"}} | 403 | can only access node lease with the same name as the requesting node
DELETE LEASES/b | null | 403 | can only access node lease with the same name as the requesting node
POST LEASES | {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "c"}} | 403 | can only access node lease with the same name as the requesting node
DELETE LEASES/a | null | 200 |
POST LEASES | {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "a"}} | 201 |
PATCH PODS/own/status | {"status": {"phase": "Running"}} | 200 |
PATCH PODS/own/status | {"metadata": {"labels": {"a": "b"}}} | 403 | node "a" cannot update labels through pod status
PATCH PODS/other/status | {"status": {"phase": "Running"}} | 403 | node "a" can only update pod status for pods with spec.nodeName set to itself
PATCH PODS/own | {"metadata": {"labels": {"a": "b"}}} | 403 | cannot patch resource "pods"
POST PODS | {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"nodeName": "a", "containers": [{"name": "c", "image": "i"}]}} | 403 | pod does not have "kubernetes.io/config.mirror" annotation, node "a" can only create mirror pods
POST PODS/other/eviction | {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "other"}} | 403 | node a can only evict pods with spec.nodeName set to itself
POST PODS/none/eviction | {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "none"}} | 404 | pods "none" not found
POST PODS/own/eviction | {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "own"}} | 201 |
DELETE PODS/other | null | 403 | node "a" can only delete pods with spec.nodeName set to itself
DELETE PODS | null | 403 | cannot deletecollection resource "pods"
DELETE PODS/own?gracePeriodSeconds=0 | null | 200 |
DELETE SECRETS/own-secret | null | 403 | can only read resources of this type
POST /api/v1/namespaces/default/events | {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "own"}} | 201 |
"#;

/// The lines of a table, split into their columns; some paths are written as names.
fn lines(table: &str) -> Vec<Vec<String>> {
    let table = table
        .replace("PODS", PODS)
        .replace("SECRETS", SECRETS)
        .replace("LEASES", LEASES);
    let lines = table.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            line.split('|')
                .map(|column| column.trim().to_owned())
                .collect()
        })
        .collect()
}

#[tokio::test]
async fn a_node_agent_reads_what_concerns_it_and_nothing_else() {
    let server = cluster().await;
    for line in lines(READS) {
        let (path, why) = (&line[0], &line[1]);
        let (code, message) = node(&server, "GET", path, "", &Value::Null).await;
        let expected = if why.is_empty() { 200 } else { 403 };
        assert_eq!(code, expected, "{path}: {message}");
        assert!(message.contains(why), "{path}: {message}");
    }
    let path = format!("{SECRETS}/other-secret");
    let (_, message) = node(&server, "GET", &path, "", &Value::Null).await;
    assert_eq!(
        message,
        "secrets \"other-secret\" is forbidden: User \"system:node:a\" cannot get resource \"secrets\" in API group \
         \"\" in the namespace \"default\": no relationship found between node 'a' and this object"
    );
}

#[tokio::test]
async fn a_node_agent_writes_its_node_its_lease_and_the_status_of_its_pods() {
    let server = cluster().await;
    for line in lines(WRITES) {
        let (method, path) = line[0].split_once(' ').unwrap();
        let content_type = match method {
            "PATCH" if path.ends_with("/status") => STRATEGIC,
            "PATCH" => MERGE,
            _ => JSON,
        };
        let (code, message) = node(&server, method, path, content_type, &json_of(&line[1])).await;
        assert_eq!(code.to_string(), line[2], "{line:?}: {message}");
        assert!(message.contains(&line[3]), "{line:?}: {message}");
    }
    // Its pod is gone, and with it the right to read what it referred to.
    let secret = format!("{SECRETS}/own-secret");
    assert_eq!(node(&server, "GET", &secret, "", &Value::Null).await.0, 403);
}

#[tokio::test]
async fn a_node_agent_creates_mirror_pods_that_its_node_owns() {
    let server = cluster().await;
    let (_, owner) = server.get("/api/v1/nodes/a").await;
    let mirror = |name: &str, node: &str, uid: &Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "annotations": {"kubernetes.io/config.mirror": "x"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": uid, "controller": true}],
            },
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]},
        })
    };
    let uid = &owner["metadata"]["uid"];
    let bound = "node \"a\" can only create pods with spec.nodeName set to itself";
    let stale = format!(
        "node a UID mismatch: expected u got {}",
        uid.as_str().unwrap()
    );
    // Also those that could be made from a template.
    for at in 1..6 {
        let name = |what: &str| format!("{what}-{at}");
        let mut with_secret = mirror(&name("secret"), "a", uid);
        with_secret["spec"]["volumes"] = pod("", "", "other-secret")["spec"]["volumes"].clone();
        for (pod, expected, why) in [
            (mirror(&name("static"), "a", uid), 201, ""),
            (mirror(&name("other"), "b", uid), 403, bound),
            (mirror(&name("stale"), "a", &json!("u")), 403, &stale),
            (
                with_secret,
                403,
                // Of the plugin ServiceAccount, which is asked first.
                "a mirror pod may not reference secrets",
            ),
        ] {
            let (code, message) = node(&server, "POST", PODS, JSON, &pod).await;
            assert_eq!(code, expected, "{message}");
            assert!(message.ends_with(why), "{message}");
        }
    }
}

#[tokio::test]
async fn a_node_agent_that_sees_a_pod_may_read_what_it_refers_to() {
    let server = cluster().await;
    let watch = Request::get("/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Da")
        .header("impersonate-user", USER)
        .header("impersonate-group", GROUP)
        .body(Body::empty())
        .unwrap();
    let response = server.client().send(watch).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let mut events = response.into_body();
    let names: Vec<_> = (0..50).map(|at| format!("new-{at}")).collect();
    // Most of them are made from a template.
    let created = async {
        for name in &names {
            create(&server, PODS, &pod(name, "a", "shared")).await;
            create(
                &server,
                PODS,
                &pod(&format!("b-{name}"), "b", &format!("s-{name}")),
            )
            .await;
            create(
                &server,
                PODS,
                &pod(&format!("a-{name}"), "a", &format!("s-{name}")),
            )
            .await;
        }
    };
    let seen = async {
        let (mut buffer, mut count) = (Vec::new(), 0);
        while count < 2 * names.len() {
            let frame = events.frame().await.unwrap().unwrap();
            buffer.extend_from_slice(&frame.into_data().unwrap());
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = buffer.drain(..=end).collect();
                let event = json_of(std::str::from_utf8(&line).unwrap());
                let secret = &event["object"]["spec"]["volumes"][0]["secret"]["secretName"];
                let secret = format!("{SECRETS}/{}", secret.as_str().unwrap());
                if event["type"] == "ADDED" && !secret.ends_with("own-secret") {
                    count += 1;
                    // 404: it may read the Secret, which does not exist.
                    let (code, message) = node(&server, "GET", &secret, "", &Value::Null).await;
                    assert_eq!(code, 404, "{message}");
                }
            }
        }
    };
    futures::future::join(created, seen).await;
}

#[tokio::test]
async fn a_review_tells_what_a_node_may_list() {
    let server = Server::start().await;
    let by_node = |operator: &str, values: Value| json!({"requirements": [{"key": "spec.nodeName", "operator": operator, "values": values}]});
    for (selector, expected) in [
        (Value::Null, false),
        (json!({"rawSelector": "spec.nodeName=a"}), true),
        (json!({"rawSelector": "spec.nodeName=b"}), false),
        (json!({"rawSelector": "spec.nodeName"}), false),
        (by_node("In", json!(["a"])), true),
        (by_node("In", json!(["b"])), false),
        (by_node("In", json!(["a", "b"])), false),
        (by_node("NotIn", json!(["a"])), false),
    ] {
        let mut attributes = json!({"verb": "list", "resource": "pods"});
        if !selector.is_null() {
            attributes["fieldSelector"] = selector;
        }
        let spec = json!({"user": USER, "groups": [GROUP], "resourceAttributes": attributes});
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
        let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = create(&server, reviews, &review).await;
        assert_eq!(answer["status"]["allowed"], json!(expected), "{spec}");
    }
}

/// What the kubelet server of node `a` asks about those who send it requests.
#[tokio::test]
async fn a_node_agent_asks_who_may_use_its_kubelet_server() {
    let server = Server::start().await;
    let user = (USER, &[GROUP][..]);
    for (name, group, subresource, expected) in [
        // The server itself.
        ("pandaemon-server", "", "proxy", true),
        ("pandaemon-server", "", "metrics", true),
        ("pandaemon-server", "", "healthz", true),
        // People: upstream lets those who monitor read metrics.
        ("ann", "system:monitoring", "metrics", true),
        ("ann", "system:monitoring", "proxy", false),
        ("admin", "system:masters", "proxy", true),
        // Nodes, this one included.
        ("system:node:b", GROUP, "proxy", false),
        ("system:node:a", GROUP, "proxy", false),
    ] {
        let attributes = json!({
            "verb": "get", "version": "v1", "resource": "nodes", "subresource": subresource, "name": "a",
        });
        let spec = json!({"user": name, "groups": [group, "system:authenticated"], "resourceAttributes": attributes});
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let (code, answer) = server.send_as(user, ("POST", path), JSON, &review).await;
        assert_eq!(
            (code, &answer["status"]["allowed"]),
            (201, &json!(expected)),
            "{spec}: {answer}"
        );
    }
    let (_, account) = server
        .send(
            "POST",
            "/api/v1/namespaces/default/serviceaccounts",
            JSON,
            &object("v1", "ServiceAccount", "scraper"),
        )
        .await;
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let path = "/api/v1/namespaces/default/serviceaccounts/scraper/token";
    let (code, answer) = server.send("POST", path, JSON, &request).await;
    assert_eq!(code, 201, "{account} {answer}");
    for (token, expected) in [
        (
            answer["status"]["token"].as_str().unwrap(),
            json!("system:serviceaccount:default:scraper"),
        ),
        ("a.b.c", Value::Null),
    ] {
        let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let (code, answer) = server.send_as(user, ("POST", path), JSON, &review).await;
        assert_eq!(
            (code, &answer["status"]["user"]["username"]),
            (201, &expected),
            "{answer}"
        );
    }
}
