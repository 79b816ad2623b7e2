//! The objects that the table names, and the roles of the parties.

use pandaemon_testkit::{Patch, Server, parties::Parties};
use serde_json::{Value, json};

use crate::wire::start_agent;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";

/// Creates them. The nodes get an agent, and a Lease.
pub(super) async fn create(parties: &Parties) {
    let server = &parties.server;
    for (name, joined) in ["node-a", "node-b"].into_iter().zip(&parties.nodes) {
        let agent = start_agent(joined).await;
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": agent.port()}}}});
        let path = format!("/api/v1/nodes/{name}/status");
        server.patch(&path, Patch::Merge, status).await;
        let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        let lease = object("coordination.k8s.io/v1", "Lease", name);
        server.create(leases, lease).await;
    }
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["of-a", "of-b", "of-none"] {
        server.create(secrets, object("v1", "Secret", name)).await;
    }
    for (name, node) in [("on-a", "node-a"), ("on-b", "node-b")] {
        let mut pod = object("v1", "Pod", name);
        let secret = name.replace("on-", "of-");
        pod["spec"] = json!({
            "nodeName": node, "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "secret": {"secretName": secret}}],
        });
        server.create("/api/v1/namespaces/default/pods", pod).await;
    }
    create_roles(server).await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let request = super::requests::certificate_request("pending");
    server.create(requests, request).await;
}

fn object(version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}})
}

async fn create_roles(server: &Server) {
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    let reads = ["get", "list", "watch"];
    let mut one_secret = rule(&[""], &["secrets"], &["get"]);
    one_secret["resourceNames"] = json!(["of-a"]);
    let jane = json!([rule(&[""], &["pods", "pods/log"], &reads)]);
    let robot = json!([
        one_secret,
        rule(&["coordination.k8s.io"], &["leases"], &["*"])
    ]);
    let user = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"});
    let account = json!({"kind": "ServiceAccount", "name": "robot", "namespace": "default"});
    for (name, rules, subject) in [("jane", jane, user), ("robot", robot, account)] {
        let group = "rbac.authorization.k8s.io";
        let mut role = object(&format!("{group}/v1"), "Role", name);
        role["rules"] = rules;
        server.create(&format!("{RBAC}/roles"), role).await;
        let mut binding = object(&format!("{group}/v1"), "RoleBinding", name);
        binding["roleRef"] = json!({"apiGroup": group, "kind": "Role", "name": name});
        binding["subjects"] = json!([subject]);
        server
            .create(&format!("{RBAC}/rolebindings"), binding)
            .await;
    }
}
