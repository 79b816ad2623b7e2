//! Priority and fairness: classification, seats, queues, the default objects.

use std::sync::Arc;

use http::Request;
use kube::client::Body;
use pandaemon_server::{Attributes, Authorizer, Decision, DecisionFuture, Seats};
use pandaemon_store::double::{Double, Faults};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tokio_rustls::client::TlsStream;

use crate::{harness::Server, wire};

const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MERGE: &str = "application/merge-patch+json";

/// A request whose body never comes. It ends when this is dropped.
async fn begin(server: &Server, user: &str) -> TlsStream<TcpStream> {
    let mut stream = wire::tls(server, None).await;
    let token = server.running().admin_token();
    let head = format!(
        "POST {MAPS} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         impersonate-user: {user}\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// A GET of a user: code, retry time, and the UIDs of schema and level.
async fn read(server: &Server, user: &str) -> (u16, Option<String>, [String; 2]) {
    let request = Request::get(format!("{MAPS}/none"))
        .header("Impersonate-User", user)
        .body(Body::empty())
        .unwrap();
    let response = server.client().send(request).await.unwrap();
    let header = |name: &str| {
        let value = response.headers().get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let uids = ["flowschema", "prioritylevel"]
        .map(|what| header(&format!("x-kubernetes-pf-{what}-uid")).unwrap_or_default());
    (response.status().as_u16(), header("retry-after"), uids)
}

/// Lets everybody create, so that the body of a request is read.
#[derive(Debug)]
struct Creators;

impl Authorizer for Creators {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'_>) -> DecisionFuture<'a> {
        match attributes.verb {
            "create" => Decision::ALLOW.into(),
            _ => Decision::NO_OPINION.into(),
        }
    }
}

/// A server in which a level with one share has one seat.
async fn small_server() -> Server {
    let options = ServerOptions {
        seats: Seats(100),
        authorizers: vec![Arc::new(Creators)],
        ..ServerOptions::default()
    };
    Server::start_with(options).await.unwrap()
}

/// The value of a metric of a level.
async fn metric(server: &Server, name: &str, level: &str) -> u64 {
    let (_, text) = server.get_text("/metrics").await;
    let of = format!("apiserver_flowcontrol_{name}{{priority_level=\"{level}\"");
    let values = text.lines().filter(|line| line.starts_with(&of));
    let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    values.map(value).sum()
}

async fn until(server: &Server, name: &str, level: &str, wanted: u64) {
    for _ in 0..1000 {
        if metric(server, name, level).await == wanted {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{name} of {level} is not {wanted}");
}

/// Makes a level with this response to requests beyond its seats, and a schema for a user.
async fn level_of(server: &Server, user: &str, name: &str, response: Value) {
    let limited = json!({"nominalConcurrencyShares": 1, "borrowingLimitPercent": 0,
        "limitResponse": response});
    let level = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "PriorityLevelConfiguration", "metadata": {"name": name},
        "spec": {"type": "Limited", "limited": limited}});
    assert_eq!(server.post(LEVELS, &level).await.0, 201);
    let rule = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
        "namespaces": ["*"], "clusterScope": true});
    let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
        "metadata": {"name": name}, "spec": {"priorityLevelConfiguration": {"name": name},
            "matchingPrecedence": 300, "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": [{"kind": "User", "user": {"name": user}}],
                "resourceRules": [rule]}]}});
    let (code, answer) = server.post(SCHEMAS, &schema).await;
    assert_eq!(code, 201, "{answer}");
}

async fn uid(server: &Server, collection: &str, name: &str) -> String {
    let (_, object) = server.get(&format!("{collection}/{name}")).await;
    object["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_request_is_classified_and_told_how() {
    let server = Server::start().await;
    for (user, schema, level) in [
        ("jane", "global-default", "global-default"),
        ("system:kube-scheduler", "kube-scheduler", "workload-high"),
        (
            "system:serviceaccount:kube-system:x",
            "kube-system-service-accounts",
            "workload-high",
        ),
        (
            "system:serviceaccount:default:x",
            "service-accounts",
            "workload-low",
        ),
    ] {
        let (code, _, uids) = read(&server, user).await;
        let wanted = [
            uid(&server, SCHEMAS, schema).await,
            uid(&server, LEVELS, level).await,
        ];
        assert_eq!((code, uids), (403, wanted), "{user}");
    }
}

#[tokio::test]
async fn beyond_its_seats_a_level_refuses_and_others_go_on() {
    let server = small_server().await;
    level_of(&server, "eve", "small", json!({"type": "Reject"})).await;
    assert_eq!(read(&server, "eve").await.0, 403);
    let held = begin(&server, "eve").await;
    until(&server, "current_executing_requests", "small", 1).await;
    let (code, retry, uids) = read(&server, "eve").await;
    assert_eq!((code, retry.as_deref()), (429, Some("1")));
    assert_eq!(uids[0], uid(&server, SCHEMAS, "small").await);
    assert_eq!(read(&server, "jane").await.0, 403);
    assert_eq!(metric(&server, "rejected_requests_total", "small").await, 1);
    // A client that goes away gives its seat back.
    drop(held);
    until(&server, "current_executing_requests", "small", 0).await;
    assert_eq!(read(&server, "eve").await.0, 403);
}

#[tokio::test]
async fn requests_wait_for_their_turn_and_give_their_place_up() {
    let server = small_server().await;
    let queuing = json!({"queues": 1, "handSize": 1, "queueLengthLimit": 2});
    level_of(
        &server,
        "eve",
        "small",
        json!({"type": "Queue", "queuing": queuing}),
    )
    .await;
    let first = begin(&server, "eve").await;
    until(&server, "current_executing_requests", "small", 1).await;
    let waiting = [(); 2].map(|()| {
        let (client, path) = (server.client(), format!("{MAPS}/none"));
        let request = Request::get(path).header("Impersonate-User", "eve");
        let request = request.body(Body::empty()).unwrap();
        pandaemon_runtime::spawn("request", async move {
            client.send(request).await.unwrap().status()
        })
    });
    until(&server, "current_inqueue_requests", "small", 2).await;
    assert_eq!(read(&server, "eve").await.0, 429, "the queue is full");
    // One client goes away; the other gets its turn.
    let [one, other] = waiting;
    one.abort();
    until(&server, "current_inqueue_requests", "small", 1).await;
    drop(first);
    assert_eq!(other.await.unwrap().unwrap(), 403);
    until(&server, "current_inqueue_requests", "small", 0).await;
    assert_eq!(read(&server, "eve").await.0, 403);
    assert_eq!(metric(&server, "current_executing_seats", "small").await, 0);
}

#[tokio::test]
async fn a_schema_without_its_level_does_not_count_and_says_so() {
    let server = Server::start().await;
    level_of(&server, "eve", "small", json!({"type": "Reject"})).await;
    let path = format!("{SCHEMAS}/small");
    let dangling = |object: &Value| {
        let conditions = object["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = conditions
            .iter()
            .find(|one| one["type"] == "Dangling")
            .cloned();
        found.map(|one| (one["status"].clone(), one["message"].clone()))
    };
    let text = |end: &str| {
        let start =
            "This FlowSchema references the PriorityLevelConfiguration object named \"small\"";
        json!(format!("{start} {end}"))
    };
    let found = (json!("False"), text("and it exists"));
    server
        .until(&path, |one| dangling(one) == Some(found.clone()))
        .await;
    server.delete(&format!("{LEVELS}/small"), json!({})).await;
    assert_eq!(
        read(&server, "eve").await.2[0],
        uid(&server, SCHEMAS, "global-default").await
    );
    let missing = (json!("True"), text("but there is no such object"));
    server
        .until(&path, |one| dangling(one) == Some(missing.clone()))
        .await;
}

#[tokio::test]
async fn a_start_restores_the_default_objects_that_people_have_not_taken_over() {
    let store = Double::new(Faults::default(), 1);
    let on_store = || ServerOptions {
        store: Some(Arc::new(store.clone())),
        ..ServerOptions::default()
    };
    let mut server = Server::start_with(on_store()).await.unwrap();
    let shares = |value: u32, auto: &str| {
        json!({"metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": auto}},
            "spec": {"limited": {"nominalConcurrencyShares": value}}})
    };
    let changed = [("system", 7, "true"), ("node-high", 8, "false")];
    for (name, value, auto) in changed {
        let path = format!("{LEVELS}/{name}");
        let (code, _) = server
            .send("PATCH", &path, MERGE, &shares(value, auto))
            .await;
        assert_eq!(code, 200);
    }
    server
        .delete(&format!("{LEVELS}/catch-all"), json!({}))
        .await;
    server.delete(&format!("{SCHEMAS}/probes"), json!({})).await;
    // The fixed objects count also while they are missing.
    assert_eq!(read(&server, "jane").await.0, 403);
    let (code, answer) = server
        .send(
            "PATCH",
            &format!("{LEVELS}/exempt"),
            MERGE,
            &json!({"spec": {"type": "Limited"}}),
        )
        .await;
    assert_eq!(code, 422, "{answer}");
    server.stop().await;
    let server = Server::start_with(on_store()).await.unwrap();
    let level = |name: &'static str| {
        let server = &server;
        async move {
            let (_, level) = server.get(&format!("{LEVELS}/{name}")).await;
            level["spec"]["limited"]["nominalConcurrencyShares"].clone()
        }
    };
    assert_eq!(level("system").await, 30);
    assert_eq!(level("node-high").await, 8);
    assert_eq!(level("catch-all").await, 5);
    assert_eq!(server.get(&format!("{SCHEMAS}/probes")).await.0, 200);
}
