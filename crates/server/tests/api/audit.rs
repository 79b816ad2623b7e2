//! The audit log: which events requests leave, and what is never in them.

use std::{path::Path, sync::Arc, time::Duration};

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use pandaemon_server::{Attributes, AuditConfig, AuditMode, Authorizer, Decision, DecisionFuture};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    harness::{Server, json_of},
    wire::{open_exec, pod_on_an_agent},
};

/// An audit log in this file, whose events are written before the response.
pub(crate) fn audit_config(log: &Path, policy: Option<&Path>) -> AuditConfig {
    AuditConfig {
        path: Some(log.to_owned()),
        policy: policy.map(Path::to_owned),
        mode: AuditMode::BlockingStrict,
        max_size_megabytes: 100,
        max_age_days: 0,
        max_backups: 0,
    }
}

fn audited(log: &Path, policy: Option<&Path>) -> ServerOptions {
    ServerOptions {
        audit: audit_config(log, policy),
        ..ServerOptions::default()
    }
}

/// Never decides about one path.
#[derive(Debug)]
struct Stuck;

impl Authorizer for Stuck {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'_>) -> DecisionFuture<'a> {
        match attributes.path {
            "/stuck" => DecisionFuture::Right(Box::pin(std::future::pending())),
            _ => Decision::NO_OPINION.into(),
        }
    }
}

async fn started(dir: &Path, rules: &str) -> Server {
    let policy = dir.join("policy.yaml");
    let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n{rules}");
    std::fs::write(&policy, text).unwrap();
    let mut options = audited(&dir.join("audit.log"), Some(&policy));
    options.authorizers.push(Arc::new(Stuck));
    Server::start_with(options).await.unwrap()
}

/// All events, after the server has stopped.
async fn events(mut server: Server, dir: &Path) -> Vec<Value> {
    server.stop().await;
    let text = std::fs::read_to_string(dir.join("audit.log")).unwrap();
    text.lines().map(json_of).collect()
}

fn stages(events: &[Value], uri: &str) -> Vec<(String, u64)> {
    let of_uri = events.iter().filter(|event| event["requestURI"] == uri);
    of_uri
        .map(|event| {
            let code = event["responseStatus"]["code"].as_u64();
            (event["stage"].as_str().unwrap().into(), code.unwrap_or(0))
        })
        .collect()
}

#[tokio::test]
async fn an_event_says_who_asked_for_what_and_what_the_answer_was() {
    let dir = tempfile::tempdir().unwrap();
    let server = started(
        dir.path(),
        "- {level: RequestResponse, omitManagedFields: true}\n",
    )
    .await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "b"}});
    let request = Request::post(maps)
        .header("content-type", "application/json")
        .header("user-agent", "test/1")
        .header("audit-id", "our-id")
        .header("x-forwarded-for", "192.0.2.7, not an address")
        .header("impersonate-user", "bob")
        .header("impersonate-group", "system:masters")
        .body(Body::from(map.to_string().into_bytes()))
        .unwrap();
    let answer = server.client().send(request).await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["audit-id"], "our-id");
    answer.into_body().collect().await.unwrap();
    let (code, _) = server
        .text("GET", &format!("{maps}/none"), "", &Value::Null)
        .await;
    assert_eq!(code, 404);
    let events = events(server, dir.path()).await;

    assert_eq!(
        stages(&events, maps),
        [
            ("RequestReceived".into(), 0),
            ("ResponseComplete".into(), 201)
        ]
    );
    let mut last = events
        .iter()
        .find(|event| event["stage"] == "ResponseComplete" && event["verb"] == "create")
        .unwrap()
        .clone();
    for time in ["requestReceivedTimestamp", "stageTimestamp"] {
        let text = last[time].take();
        let is_micro = text
            .as_str()
            .is_some_and(|text| text.len() == 27 && text.ends_with('Z'));
        assert!(is_micro, "{time}: {text}");
    }
    for field in ["uid", "resourceVersion", "creationTimestamp"] {
        assert!(last["responseObject"]["metadata"][field].take().is_string());
    }
    let expected = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "our-id",
        "stage": "ResponseComplete", "requestURI": maps, "verb": "create",
        "user": {"username": "pandaemon-admin", "groups": ["system:masters", "system:authenticated"]},
        "impersonatedUser": {"username": "bob", "groups": ["system:masters", "system:authenticated"]},
        "sourceIPs": ["192.0.2.7"], "userAgent": "test/1",
        "objectRef": {"resource": "configmaps", "namespace": "default", "name": "m", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 201},
        "requestObject": map,
        "responseObject": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"},
            "metadata": {"name": "m", "namespace": "default", "uid": null, "resourceVersion": null, "creationTimestamp": null}},
        "requestReceivedTimestamp": null, "stageTimestamp": null,
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
    });
    assert_eq!(last, expected);
    let missing = events
        .iter()
        .find(|event| event["responseStatus"]["code"] == 404)
        .unwrap();
    assert_eq!(
        missing["responseStatus"]["message"],
        "configmaps \"none\" not found"
    );
    assert_eq!(missing["objectRef"]["name"], "none");
}

#[tokio::test]
async fn secrets_and_tokens_are_never_in_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let server = started(dir.path(), "- {level: RequestResponse}\n").await;
    let word = "hunter2-hunter2";
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": word}});
    server.create(secrets, secret).await;
    let patch = json!({"stringData": {"other": word}});
    let (code, _) = server
        .text(
            "PATCH",
            &format!("{secrets}/s"),
            "application/merge-patch+json",
            &patch,
        )
        .await;
    assert_eq!(code, 200);
    assert_eq!(server.items(secrets).await.len(), 1);
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": word}});
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    assert_eq!(
        server
            .text("POST", reviews, "application/json", &review)
            .await
            .0,
        201
    );
    let events = events(server, dir.path()).await;
    assert_eq!(stages(&events, secrets).len(), 4);
    assert_eq!(stages(&events, reviews).len(), 2);
    let text = std::fs::read_to_string(dir.path().join("audit.log")).unwrap();
    let encoded = "aHVudGVyMi1odW50ZXIy";
    assert!(!text.contains(word) && !text.contains(encoded));
}

#[tokio::test]
async fn a_watch_has_an_event_when_it_starts_and_one_when_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let server = started(
        dir.path(),
        "- {level: Metadata, omitStages: [RequestReceived]}\n",
    )
    .await;
    let watch = "/api/v1/namespaces?watch=true&timeoutSeconds=1";
    assert_eq!(server.text("GET", watch, "", &Value::Null).await.0, 200);
    let endless = "/api/v1/nodes?watch=true";
    let request = Request::get(endless).body(Body::empty()).unwrap();
    let open = server.client().send(request).await.unwrap();
    drop(open);
    let events = events(server, dir.path()).await;
    let expected = [
        ("ResponseStarted".to_owned(), 200),
        ("ResponseComplete".to_owned(), 200),
    ];
    assert_eq!(stages(&events, watch), expected);
    assert_eq!(stages(&events, endless), expected);
}

/// The events so far.
fn written(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("audit.log")).unwrap();
    let lines = text.split_inclusive('\n');
    let whole = lines.filter(|line| line.ends_with('\n'));
    whole.map(json_of).collect()
}

#[tokio::test]
async fn an_upgraded_connection_has_an_event_when_it_starts_and_one_when_its_streams_end() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "- {level: RequestResponse, omitStages: [RequestReceived]}\n";
    let server = started(dir.path(), rules).await;
    pod_on_an_agent(&server, json!([{"name": "c", "image": "i"}])).await;
    let exec = "/api/v1/namespaces/default/pods/p/exec?command=cat&stdin=true&stdout=true";
    let mut stream = open_exec(&server, exec).await;
    // Events are written in their order: an earlier one would be there with this one.
    let marker = "/api/v1/namespaces/marker";
    assert_eq!(server.get(marker).await.0, 404);
    while stages(&written(dir.path()), marker).is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let started = ("ResponseStarted".to_owned(), 101);
    assert_eq!(
        stages(&written(dir.path()), exec),
        std::slice::from_ref(&started)
    );

    stream.write_all(b"ping").await.unwrap();
    let mut echoed = String::new();
    stream.read_to_string(&mut echoed).await.unwrap();
    assert_eq!(echoed, "ping");
    drop(stream);
    while stages(&written(dir.path()), exec).len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let events = events(server, dir.path()).await;
    let complete = ("ResponseComplete".to_owned(), 101);
    assert_eq!(stages(&events, exec), [started, complete]);
}

#[tokio::test]
async fn refused_credentials_and_dropped_requests_leave_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let server = started(
        dir.path(),
        "- {level: Metadata, omitStages: [RequestReceived]}\n",
    )
    .await;
    let mut config = server.tls_config().await.unwrap();
    config.auth_info = kube::config::AuthInfo::default();
    config.auth_info.token = Some("wrong".to_owned().into());
    let refused = kube::Client::try_from(config).unwrap();
    let request = Request::get("/api/v1/pods").body(Body::empty()).unwrap();
    assert_eq!(refused.send(request).await.unwrap().status(), 401);

    // The client goes before the authorizer has decided.
    let request = Request::get("/stuck").body(Body::empty()).unwrap();
    let client = server.client();
    let pending = tokio::time::timeout(Duration::from_millis(100), client.send(request));
    assert!(pending.await.is_err());
    drop(client);

    let events = events(server, dir.path()).await;
    let first = &events[0];
    assert_eq!(first["requestURI"], "/api/v1/pods");
    assert_eq!(
        (
            first["user"].clone(),
            first["responseStatus"]["code"].as_u64()
        ),
        (json!({}), Some(401))
    );
    let gone = events
        .iter()
        .find(|event| event["requestURI"] == "/stuck")
        .unwrap();
    assert_eq!(gone["responseStatus"]["message"], "Connection closed early");
}

#[tokio::test]
async fn a_policy_with_faults_ends_the_start_with_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("policy.yaml");
    std::fs::write(
        &policy,
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: All}]",
    )
    .unwrap();
    let options = audited(&dir.path().join("log"), Some(&policy));
    let error = Server::start_with(options)
        .await
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("policy.yaml` is not valid: rules[0].level: Unsupported value: \"All\""),
        "{error}"
    );
    let options = audited(Path::new("/proc/none/audit.log"), None);
    let error = Server::start_with(options)
        .await
        .map(|_| ())
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("open the audit log `/proc/none/audit.log`"),
        "{error}"
    );
}

#[tokio::test]
async fn an_issued_token_is_in_the_log_by_its_id_only() {
    let dir = tempfile::tempdir().unwrap();
    let server = started(dir.path(), "- {level: RequestResponse}\n").await;
    server.create_service_account().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let (code, made) = server.post(path, &request).await;
    assert_eq!(code, 201, "{made}");
    let token = made["status"]["token"].as_str().unwrap();
    let events = events(server, dir.path()).await;
    let mut issued = events.iter().filter(|event| event["requestURI"] == path);
    let annotations = &issued.next_back().unwrap()["annotations"];
    let id = annotations["authentication.kubernetes.io/issued-credential-id"].as_str();
    assert!(id.unwrap().starts_with("JTI="), "{annotations}");
    assert!(!json!(events).to_string().contains(token));
}
