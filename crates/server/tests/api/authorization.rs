//! Authorization: authorizers of the configuration, verbs, reviews, impersonation, and updates that
//! create.

use std::sync::Arc;

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use pandaemon_server::{Attributes, Authorizer, Decision, DecisionFuture};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use super::harness::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const APPLY: &str = "application/apply-patch+yaml";

/// Decides by user name and verb. It has no opinion about others, with a reason if the user is
/// `eve`.
#[derive(Debug)]
struct Rights(Vec<(&'static str, &'static str, Decision)>);

impl Authorizer for Rights {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'_>) -> DecisionFuture<'a> {
        let (user, asked) = (&*attributes.user.name, attributes.verb);
        let mut rights = self.0.iter();
        let found = rights.find(|(name, verb, _)| (*name, *verb) == (user, asked));
        let reason = if user == "eve" { "ask your boss" } else { "" };
        let decision = found.map(|(_, _, decision)| decision.clone());
        decision
            .unwrap_or(Decision::NoOpinion(reason.into()))
            .into()
    }
}

async fn server(rights: Vec<(&'static str, &'static str, Decision)>) -> Server {
    let options = ServerOptions {
        authorizers: vec![Arc::new(Rights(rights))],
        ..ServerOptions::default()
    };
    Server::start_with(options).await.unwrap()
}

/// A request of a user. Returns code and JSON of the response.
pub(crate) async fn send_as(
    server: &Server,
    user: &str,
    request: (&str, &str),
    content_type: &str,
    body: &Value,
) -> (u16, Value) {
    server
        .send_as((user, &[]), request, content_type, body)
        .await
}

/// A GET of a user.
pub(crate) async fn read_as(server: &Server, user: &str, path: &str) -> (u16, Value) {
    send_as(server, user, ("GET", path), "", &Value::Null).await
}

#[tokio::test]
async fn an_added_authorizer_is_asked_first_and_its_reason_is_in_the_answer() {
    let server = server(vec![
        ("pandaemon-admin", "list", Decision::Deny("closed".into())),
        ("bob", "list", Decision::Allow("a friend".into())),
    ])
    .await;
    let refused = |user: &str, verb: &str, suffix: &str| {
        json!(format!(
            "configmaps is forbidden: User {user:?} cannot {verb} resource \"configmaps\" in API group \"\" in \
             the namespace \"default\"{suffix}"
        ))
    };
    let (code, status) = server.get(MAPS).await;
    assert_eq!(
        (code, &status["message"]),
        (403, &refused("pandaemon-admin", "list", ": closed"))
    );
    assert_eq!(
        server.get("/api/v1/namespaces/default").await.0,
        200,
        "another verb"
    );
    assert_eq!(read_as(&server, "bob", MAPS).await.0, 200);
    let (code, status) = read_as(&server, "eve", MAPS).await;
    assert_eq!(
        (code, &status["message"]),
        (403, &refused("eve", "list", ": ask your boss"))
    );
    let (code, status) = read_as(&server, "alice", MAPS).await;
    assert_eq!(
        (code, &status["message"]),
        (403, &refused("alice", "list", ""))
    );
}

#[tokio::test]
async fn a_method_that_is_not_supported_is_authorized_by_its_own_verb() {
    let server = server(vec![("bob", "update", Decision::ALLOW)]).await;
    for (method, verb) in [("PATCH", "patch"), ("TRACE", "")] {
        let (code, status) = send_as(&server, "bob", (method, MAPS), "", &Value::Null).await;
        let message = status["message"].as_str().unwrap_or_default();
        let expected = format!("User \"bob\" cannot {verb} resource \"configmaps\"");
        assert!(code == 403 && message.contains(&expected), "{status}");
    }
    let (code, _) = send_as(&server, "bob", ("PUT", MAPS), "", &Value::Null).await;
    assert_eq!(code, 405);
    let (code, status) = send_as(&server, "bob", ("POST", "/metrics"), "", &Value::Null).await;
    let expected = "forbidden: User \"bob\" cannot post path \"/metrics\"";
    assert_eq!((code, &status["message"]), (403, &json!(expected)));
}

#[tokio::test]
async fn reviews_report_the_decision_of_the_chain() {
    let server = server(vec![
        ("bob", "use", Decision::Allow("a friend".into())),
        ("bob", "bind", Decision::Deny("closed".into())),
        ("bob", "update", Decision::ALLOW),
        ("bob", "get", Decision::ALLOW),
    ])
    .await;
    let maps = |verb: &str| json!({"resourceAttributes": {"verb": verb, "resource": "configmaps"}});
    let path =
        |verb: &str, path: &str| json!({"nonResourceAttributes": {"verb": verb, "path": path}});
    let table = [
        (
            "bob",
            maps("use"),
            json!({"allowed": true, "reason": "a friend"}),
        ),
        (
            "bob",
            maps("bind"),
            json!({"allowed": false, "denied": true, "reason": "closed"}),
        ),
        ("bob", maps("update"), json!({"allowed": true})),
        ("bob", maps("escalate"), json!({"allowed": false})),
        ("bob", maps("*"), json!({"allowed": false})),
        (
            "eve",
            maps("list"),
            json!({"allowed": false, "reason": "ask your boss"}),
        ),
        ("bob", path("get", "/metrics"), json!({"allowed": true})),
        ("bob", path("post", "/metrics"), json!({"allowed": false})),
        (
            "alice",
            path("get", "/version"),
            json!({"allowed": true, "reason": "RBAC: allowed by ClusterRoleBinding \"system:discovery\" of \
                ClusterRole \"system:discovery\" to Group \"system:authenticated\""}),
        ),
    ];
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    for (user, mut spec, expected) in table {
        let mut review = json!({"apiVersion": "authorization.k8s.io/v1", "spec": spec});
        review["kind"] = "SelfSubjectAccessReview".into();
        let to = ("POST", reviews);
        let (code, answer) = send_as(&server, user, to, "application/json", &review).await;
        assert_eq!((code, &answer["status"]), (201, &expected), "{user} {spec}");
        spec["user"] = user.into();
        spec["groups"] = json!(["system:authenticated"]);
        review["spec"] = spec;
        review["kind"] = "SubjectAccessReview".into();
        let (code, answer) = server.post(REVIEWS, &review).await;
        assert_eq!((code, &answer["status"]), (201, &expected), "{review}");
    }
}

#[tokio::test]
async fn a_review_is_about_the_groups_that_it_names() {
    let server = Server::start().await;
    let review = |spec: Value| json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec});
    let impersonate = json!({"verb": "impersonate", "resource": "users", "name": "bob"});
    let apis = json!({"verb": "get", "path": "/apis"});
    let table = [
        (
            json!({"user": "a", "resourceAttributes": impersonate}),
            false,
        ),
        (
            json!({"user": "a", "groups": ["system:masters"], "resourceAttributes": impersonate}),
            true,
        ),
        (
            json!({"user": "system:node:a", "groups": ["system:nodes"], "resourceAttributes": impersonate}),
            false,
        ),
        (json!({"user": "a", "nonResourceAttributes": apis}), false),
        (
            json!({"user": "a", "groups": ["system:authenticated"], "nonResourceAttributes": apis}),
            true,
        ),
    ];
    for (spec, expected) in table {
        let (_, answer) = server.post(REVIEWS, &review(spec.clone())).await;
        assert_eq!(answer["status"]["allowed"], json!(expected), "{spec}");
    }
}

#[tokio::test]
async fn a_review_that_is_not_valid_is_refused_and_a_selector_that_cannot_be_read_is_said() {
    let server = Server::start().await;
    let ask = async |kind: &str, path: &str, spec: Value| {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
        server.post(path, &review).await
    };
    let selector =
        json!({"rawSelector": "a=b", "requirements": [{"key": "a", "operator": "Exists"}]});
    let list =
        |selector: &str, value: Value| json!({"verb": "list", "resource": "pods", selector: value});
    let both = json!({"user": "u", "resourceAttributes": list("labelSelector", selector)});
    let (code, status) = ask("SubjectAccessReview", REVIEWS, both).await;
    let text = "SubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes.labelSelector.rawSelector: \
                Invalid value: \"a=b\": may not specified at the same time as requirements";
    assert_eq!((code, &status["message"]), (422, &json!(text)));
    let (code, status) = ask("SubjectAccessReview", REVIEWS, json!({"user": "u"})).await;
    assert_eq!(code, 422, "{status}");
    let local = "/apis/authorization.k8s.io/v1/namespaces/a/localsubjectaccessreviews";
    let other = json!({"user": "u", "resourceAttributes": {"verb": "get", "namespace": "b"}});
    let (code, status) = ask("LocalSubjectAccessReview", local, other).await;
    let text = "LocalSubjectAccessReview.authorization.k8s.io \"\" is invalid: spec.resourceAttributes.namespace: \
                Invalid value: \"b\": must match metadata.namespace";
    assert_eq!((code, &status["message"]), (422, &json!(text)));

    let own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let mut attributes = list("fieldSelector", json!({"rawSelector": "key in value"}));
    attributes["labelSelector"] = json!({"requirements": [
        {"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Later"}]});
    let spec = json!({"resourceAttributes": attributes});
    let (code, answer) = ask("SelfSubjectAccessReview", own, spec).await;
    let expected = json!({"allowed": true, "evaluationError":
        "spec.resourceAttributes.fieldSelector ignored due to parse error; \
         spec.resourceAttributes.labelSelector partially ignored due to parse error"});
    assert_eq!((code, &answer["status"]), (201, &expected));
}

#[tokio::test]
async fn impersonation_asks_the_chain() {
    let denied = Decision::Deny("never".into());
    let server = server(vec![("pandaemon-admin", "impersonate", denied)]).await;
    let (code, status) = read_as(&server, "bob", "/version").await;
    let expected = "users \"bob\" is forbidden: User \"pandaemon-admin\" cannot impersonate resource \"users\" in \
                    API group \"\" at the cluster scope: never";
    assert_eq!((code, &status["message"]), (403, &json!(expected)));
}

#[tokio::test]
async fn impersonation_sets_uid_groups_and_extra() {
    let server = Server::start().await;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let request = Request::post(path)
        .header("content-type", "application/json")
        .header("impersonate-user", "bob")
        .header("impersonate-uid", "u-1")
        .header("impersonate-group", "dev")
        .header("impersonate-extra-team", "red");
    let body = Body::from(serde_json::to_vec(&review).unwrap());
    let response = server.client().send(request.body(body).unwrap()).await;
    let bytes = response.unwrap().into_body().collect().await.unwrap();
    let answer: Value = serde_json::from_slice(&bytes.to_bytes()).unwrap();
    assert_eq!(
        answer["status"]["userInfo"],
        json!({"username": "bob", "uid": "u-1", "groups": ["dev", "system:authenticated"],
            "extra": {"team": ["red"]}})
    );
    let request = Request::get(MAPS).header("impersonate-group", "dev");
    let request = request.body(Body::empty()).unwrap();
    let response = server.client().send(request).await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
}

#[tokio::test]
async fn an_update_or_apply_that_creates_needs_the_right_to_create() {
    let server = server(vec![
        ("bob", "patch", Decision::ALLOW),
        ("bob", "update", Decision::ALLOW),
        ("bob", "create", Decision::Deny("no more".into())),
        ("alice", "patch", Decision::ALLOW),
        ("alice", "update", Decision::ALLOW),
        ("alice", "create", Decision::ALLOW),
    ])
    .await;
    let lease =
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}});
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
    let json = "application/json";
    let cases = [
        (
            "PUT",
            format!("{LEASES}/l"),
            json,
            lease,
            "leases.coordination.k8s.io \"l\" is forbidden: User \"bob\" cannot create resource \"leases\" in API \
             group \"coordination.k8s.io\" in the namespace \"default\": no more",
        ),
        (
            "PATCH",
            format!("{MAPS}/c?fieldManager=m"),
            APPLY,
            map,
            "configmaps \"c\" is forbidden: User \"bob\" cannot create resource \"configmaps\" in API group \"\" \
             in the namespace \"default\": no more",
        ),
    ];
    for (method, path, form, mut body, expected) in cases {
        let (code, status) = send_as(&server, "bob", (method, &path), form, &body).await;
        assert_eq!(
            (code, &status["message"]),
            (403, &Value::from(expected)),
            "{status}"
        );
        assert_eq!(server.get(&path).await.0, 404, "{method} {path}");
        for (user, expected) in [("alice", 201), ("alice", 200), ("bob", 200)] {
            let (code, answer) = send_as(&server, user, (method, &path), form, &body).await;
            assert_eq!(code, expected, "{user} {method} {path}: {answer}");
            body["metadata"]["resourceVersion"] = answer["metadata"]["resourceVersion"].clone();
        }
    }
}
