//! What a node may do, by tables of verbs and paths.

use serde_json::{Value, json};

use super::*;
use crate::{
    auth::{AuthorizerChain, User},
    cache::fixture,
    http::request::{self, Query, parse_path},
    registry::kinds,
};

/// A pod in the namespace `d`.
fn pod(name: &str, node: &str, spec: &Value) -> Value {
    let mut pod = json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "d"},
        "spec": {"nodeName": node, "containers": [{"name": "c"}], "serviceAccountName": name},
    });
    for (field, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

fn secret_volume(name: &str) -> Value {
    json!({"volumes": [{"name": "v", "secret": {"secretName": name}}]})
}

/// An authorizer in a cluster of these pods.
fn authorizer(pods: &[Value]) -> NodeAuthorizer {
    let cache = Arc::new(WatchCache::new(1));
    pods.iter().for_each(|pod| put(&cache, pod));
    NodeAuthorizer::new(cache)
}

fn put(cache: &WatchCache, pod: &Value) {
    fixture::put(cache, kinds::pods().unwrap(), pod);
}

/// Why the node `a` may not do something; `None` if it may. A line is `VERB PATH[?QUERY]`.
fn refused(authorizer: &NodeAuthorizer, line: &str) -> Option<String> {
    let user = User::known("system:node:a", &["system:nodes".into()]);
    let (verb, url) = line.split_once(' ').unwrap();
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    let (target, query) = (parse_path(path), Query::parse(Some(query)));
    let fields = request::field_selector(verb, &target, &query);
    let attributes = Attributes::of_request(&user, verb, &target, path, fields.as_ref());
    authorizer.check(&attributes).err().map(Cow::into_owned)
}

fn check(authorizer: &NodeAuthorizer, table: &[(&str, Option<&str>)]) {
    for (line, expected) in table {
        let found = refused(authorizer, line);
        assert_eq!(found.as_deref(), *expected, "{line}");
    }
}

const ALLOWED: Option<&str> = None;
const REFUSED: Option<&str> = Some("");
const UNRELATED: Option<&str> = Some("no relationship found between node 'a' and this object");

#[test]
fn a_node_reads_what_the_pods_bound_to_it_refer_to() {
    let mut mirror = pod("mirror", "a", &secret_volume("of-mirror"));
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    let env = json!({"envFrom": [{"configMapRef": {"name": "map"}}]});
    let authorizer = authorizer(&[
        pod("own", "a", &secret_volume("s")),
        pod("env", "a", &json!({"initContainers": [env]})),
        pod("other", "b", &secret_volume("of-other")),
        pod("pending", "", &secret_volume("of-pending")),
        mirror,
    ]);
    let (no_read, single) = (
        Some("can only read resources of this type"),
        Some("can only read namespaced object of this type"),
    );
    let token = Some("can only create tokens for individual service accounts");
    check(
        &authorizer,
        &[
            ("get /api/v1/namespaces/d/secrets/s", ALLOWED),
            (
                "list /api/v1/namespaces/d/secrets?fieldSelector=metadata.name=s",
                ALLOWED,
            ),
            (
                "watch /api/v1/namespaces/d/secrets?fieldSelector=metadata.name=s",
                ALLOWED,
            ),
            ("get /api/v1/namespaces/d/configmaps/map", ALLOWED),
            ("get /api/v1/namespaces/e/secrets/s", UNRELATED),
            ("get /api/v1/namespaces/d/configmaps/s", UNRELATED),
            ("get /api/v1/namespaces/d/secrets/map", UNRELATED),
            // Names that occur elsewhere in the pod.
            ("get /api/v1/namespaces/d/secrets/v", UNRELATED),
            ("get /api/v1/namespaces/d/secrets/own", UNRELATED),
            ("get /api/v1/namespaces/d/secrets/of-other", UNRELATED),
            ("get /api/v1/namespaces/d/secrets/of-pending", UNRELATED),
            ("get /api/v1/namespaces/d/secrets/of-mirror", UNRELATED),
            (
                "list /api/v1/namespaces/d/secrets",
                Some("No Object name found"),
            ),
            ("list /api/v1/secrets?fieldSelector=metadata.name=s", single),
            ("update /api/v1/namespaces/d/secrets/s", no_read),
            ("delete /api/v1/namespaces/d/configmaps/map", no_read),
            (
                "get /api/v1/namespaces/d/secrets/s/x",
                Some("cannot read subresource"),
            ),
            (
                "create /api/v1/namespaces/d/serviceaccounts/own/token",
                ALLOWED,
            ),
            (
                "create /api/v1/namespaces/d/serviceaccounts/other/token",
                UNRELATED,
            ),
            (
                "create /api/v1/namespaces/d/serviceaccounts/mirror/token",
                UNRELATED,
            ),
            (
                "create /api/v1/namespaces/d/serviceaccounts/own/x",
                Some("can only create token subresource of serviceaccount"),
            ),
            ("create /api/v1/namespaces/d/serviceaccounts", token),
            ("get /api/v1/namespaces/d/serviceaccounts/own", token),
            (
                "impersonate /api/v1/namespaces/d/serviceaccounts/own",
                token,
            ),
        ],
    );
}

#[test]
fn a_node_reads_the_pods_bound_to_it_only() {
    let authorizer = authorizer(&[
        pod("own", "a", &Value::Null),
        pod("other", "b", &Value::Null),
        pod("pending", "", &Value::Null),
    ]);
    let selector = Some("can only list/watch pods with spec.nodeName field selector");
    check(
        &authorizer,
        &[
            ("get /api/v1/namespaces/d/pods/own", ALLOWED),
            ("get /api/v1/namespaces/d/pods/other", UNRELATED),
            ("get /api/v1/namespaces/d/pods/pending", UNRELATED),
            ("get /api/v1/namespaces/d/pods/none", UNRELATED),
            ("list /api/v1/pods?fieldSelector=spec.nodeName=a", ALLOWED),
            (
                "watch /api/v1/pods?fieldSelector=status.phase!=Failed,spec.nodeName=a",
                ALLOWED,
            ),
            ("list /api/v1/pods?fieldSelector=spec.nodeName=b", selector),
            ("list /api/v1/pods?fieldSelector=spec.nodeName!=a", selector),
            (
                "list /api/v1/watch/pods?fieldSelector=spec.nodeName=a",
                selector,
            ),
            ("list /api/v1/pods", selector),
            ("watch /api/v1/namespaces/d/pods", selector),
            (
                "watch /api/v1/namespaces/d/pods?fieldSelector=metadata.name=own",
                ALLOWED,
            ),
            (
                "watch /api/v1/namespaces/d/pods?fieldSelector=metadata.name=other",
                UNRELATED,
            ),
            (
                "deletecollection /api/v1/pods?fieldSelector=spec.nodeName=a",
                REFUSED,
            ),
            // NodeRestriction sees which pod it is.
            ("create /api/v1/namespaces/d/pods", ALLOWED),
            ("delete /api/v1/namespaces/d/pods/other", ALLOWED),
            ("patch /api/v1/namespaces/d/pods/other/status", ALLOWED),
            ("update /api/v1/namespaces/d/pods/own/status", ALLOWED),
            ("create /api/v1/namespaces/d/pods/own/eviction", ALLOWED),
            ("update /api/v1/namespaces/d/pods/own", REFUSED),
            ("patch /api/v1/namespaces/d/pods/own", REFUSED),
            ("get /api/v1/namespaces/d/pods/own/status", REFUSED),
            ("create /api/v1/namespaces/d/pods/own/binding", REFUSED),
            (
                "patch /api/v1/namespaces/d/pods/own/ephemeralcontainers",
                REFUSED,
            ),
            ("get /api/v1/namespaces/d/pods/own/log", REFUSED),
            ("get /api/v1/namespaces/d/pods/own/exec", REFUSED),
            ("create /api/v1/namespaces/d/pods/own/exec", REFUSED),
            ("create /api/v1/namespaces/d/pods/own/attach", REFUSED),
            ("create /api/v1/namespaces/d/pods/own/portforward", REFUSED),
            ("get /api/v1/namespaces/d/pods/own/proxy", REFUSED),
        ],
    );
}

#[test]
fn a_node_reads_and_writes_its_own_node_and_lease_only() {
    let lease = |verb: &str, namespace: &str, name: &str| {
        format!("{verb} /apis/coordination.k8s.io/v1/namespaces/{namespace}/leases{name}")
    };
    let all = Some("node 'a' cannot read all nodes, only its own Node object");
    let other = Some("node 'a' cannot read 'b', only its own Node object");
    let verbs = Some("can only get, create, update, patch, or delete a node lease");
    let name = Some("can only access node lease with the same name as the requesting node");
    let namespace = Some("can only access leases in the \"kube-node-lease\" system namespace");
    check(
        &authorizer(&[]),
        &[
            ("get /api/v1/nodes/a", ALLOWED),
            ("list /api/v1/nodes?fieldSelector=metadata.name=a", ALLOWED),
            ("watch /api/v1/nodes?fieldSelector=metadata.name=a", ALLOWED),
            ("get /api/v1/nodes/b", other),
            ("watch /api/v1/nodes?fieldSelector=metadata.name=b", other),
            ("list /api/v1/nodes", all),
            ("list /api/v1/nodes?fieldSelector=metadata.name!=b", all),
            ("create /api/v1/nodes", ALLOWED),
            ("patch /api/v1/nodes/a", ALLOWED),
            ("patch /api/v1/nodes/a/status", ALLOWED),
            ("get /api/v1/nodes/a/status", REFUSED),
            ("delete /api/v1/nodes/a", REFUSED),
            ("deletecollection /api/v1/nodes", REFUSED),
            ("get /api/v1/nodes/a/proxy", REFUSED),
            ("create /api/v1/nodes/a/proxy", REFUSED),
            ("impersonate /api/v1/nodes/a", REFUSED),
            ("* /api/v1/nodes/a", REFUSED),
            (&lease("get", "kube-node-lease", "/a"), ALLOWED),
            (&lease("create", "kube-node-lease", ""), ALLOWED),
            (&lease("update", "kube-node-lease", "/a"), ALLOWED),
            (&lease("patch", "kube-node-lease", "/a"), ALLOWED),
            (&lease("delete", "kube-node-lease", "/a"), ALLOWED),
            (&lease("get", "kube-node-lease", "/b"), name),
            (&lease("patch", "kube-node-lease", "/b"), name),
            (&lease("patch", "default", "/a"), namespace),
            (&lease("create", "default", ""), namespace),
            (
                &lease("list", "kube-node-lease", "?fieldSelector=metadata.name=a"),
                verbs,
            ),
            (&lease("watch", "kube-node-lease", ""), verbs),
            (&lease("deletecollection", "kube-node-lease", ""), verbs),
        ],
    );
}

#[test]
fn the_other_rights_of_nodes_are_those_of_upstream() {
    check(
        &authorizer(&[]),
        &[
            (
                "create /apis/authentication.k8s.io/v1/tokenreviews",
                ALLOWED,
            ),
            (
                "create /apis/authorization.k8s.io/v1/subjectaccessreviews",
                ALLOWED,
            ),
            (
                "create /apis/authorization.k8s.io/v1/namespaces/d/localsubjectaccessreviews",
                ALLOWED,
            ),
            (
                "impersonate /apis/authentication.k8s.io/v1/userextras/x",
                REFUSED,
            ),
            ("create /api/v1/namespaces/d/events", ALLOWED),
            ("patch /api/v1/namespaces/d/events/e", ALLOWED),
            ("get /api/v1/namespaces/d/events/e", REFUSED),
            ("delete /api/v1/namespaces/d/events/e", REFUSED),
            ("create /apis/events.k8s.io/v1/namespaces/d/events", REFUSED),
            ("list /api/v1/services", ALLOWED),
            ("get /api/v1/namespaces/d/services/s/proxy", REFUSED),
            ("update /api/v1/namespaces/d/services/s", REFUSED),
            ("get /api/v1/namespaces/d/endpoints/e", ALLOWED),
            ("list /api/v1/endpoints", REFUSED),
            (
                "create /apis/certificates.k8s.io/v1/certificatesigningrequests",
                ALLOWED,
            ),
            (
                "watch /apis/certificates.k8s.io/v1/certificatesigningrequests",
                ALLOWED,
            ),
            (
                "update /apis/certificates.k8s.io/v1/certificatesigningrequests/c/approval",
                REFUSED,
            ),
            ("list /apis/node.k8s.io/v1/runtimeclasses", ALLOWED),
            ("get /api/v1/namespaces/d", REFUSED),
            ("list /apis/apps/v1/daemonsets", REFUSED),
            ("impersonate /api/v1/users/bob", REFUSED),
            ("get /metrics", REFUSED),
            ("get /version", REFUSED),
        ],
    );
}

#[tokio::test]
async fn only_users_of_the_group_of_nodes_are_nodes() {
    let authorizers: Vec<Arc<dyn Authorizer>> = vec![Arc::new(authorizer(&[]))];
    let chain = AuthorizerChain::new(authorizers);
    let nodes = &["system:nodes".to_owned()][..];
    let target = parse_path("/api/v1/nodes/a");
    for (name, groups, expected) in [
        ("system:node:a", nodes, Decision::ALLOW),
        ("system:node:a", &[], Decision::NO_OPINION),
        ("a", nodes, Decision::NO_OPINION),
        (
            "system:node:",
            nodes,
            Decision::NoOpinion("unknown node for user \"system:node:\"".into()),
        ),
    ] {
        let user = User::known(name, groups);
        let attributes = Attributes::of_request(&user, "get", &target, "", None);
        assert_eq!(
            chain.decide(&attributes).await,
            expected,
            "{name} {groups:?}"
        );
    }
}

#[test]
fn the_rights_of_a_node_follow_its_pods() {
    let cache = Arc::new(WatchCache::new(1));
    let authorizer = NodeAuthorizer::new(Arc::clone(&cache));
    let read = "get /api/v1/namespaces/d/secrets/s";
    check(&authorizer, &[(read, UNRELATED)]);
    put(&cache, &pod("p", "", &secret_volume("s")));
    check(&authorizer, &[(read, UNRELATED)]);
    put(&cache, &pod("p", "a", &secret_volume("s")));
    check(&authorizer, &[(read, ALLOWED)]);
    put(&cache, &pod("p", "b", &secret_volume("s")));
    check(&authorizer, &[(read, UNRELATED)]);
}
