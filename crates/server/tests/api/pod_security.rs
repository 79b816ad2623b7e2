//! `PodSecurity`: what labels of a namespace mean for its pods, and what the configuration exempts.

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use pandaemon_machinery::pod_security::Configuration;
use pandaemon_server::{AuditConfig, admission::AdmissionConfiguration};
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use crate::harness::{Server, json_of};

const MERGE: &str = "application/merge-patch+json";
const PRIVILEGED: &str =
    "privileged (container \"c\" must not set securityContext.privileged=true)";
const UNRESTRICTED: &str = "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
     unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
     runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
     seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";

/// The labels of a text such as `enforce=baseline warn=restricted`.
fn labels(text: &str) -> Value {
    let label = |(name, value): (&str, &str)| {
        let key = format!("pod-security.kubernetes.io/{name}");
        (key, Value::from(value))
    };
    let pairs = text.split_whitespace().filter_map(|l| l.split_once('='));
    Value::Object(pairs.map(label).collect())
}

fn namespace(name: &str, text: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": labels(text)}})
}

/// Creates a namespace with these labels, in which pods can be created. Returns the path of pods.
async fn create_namespace(server: &Server, name: &str, text: &str) -> String {
    let (code, made) = server
        .post("/api/v1/namespaces", &namespace(name, text))
        .await;
    assert_eq!(code, 201, "{made}");
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let path = format!("/api/v1/namespaces/{name}");
    let (code, made) = server
        .post(&format!("{path}/serviceaccounts"), &account)
        .await;
    assert_eq!(code, 201, "{made}");
    format!("{path}/pods")
}

/// Labels a namespace anew. Returns the code, the warnings and the answer.
async fn label(server: &Server, name: &str, text: &str) -> (u16, Vec<String>, Value) {
    let path = format!("/api/v1/namespaces/{name}");
    let (_, mut stored) = server.get(&path).await;
    stored["metadata"]["labels"] = labels(text);
    server.with_warnings("PUT", &path, &stored).await
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn privileged_pod(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    pod
}

fn daemon_set(pod: &Value) -> Value {
    let labels = json!({"app": "web"});
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod["spec"]}}})
}

#[tokio::test]
async fn labels_of_a_namespace_refuse_pods_and_warn_of_them() {
    let server = Server::start().await;
    let refusal = |text: &str| Some(text.to_owned());
    let mut probing = pod("p");
    let probe = json!({"httpGet": {"port": 80, "host": "10.0.0.1"}});
    probing["spec"]["containers"][0]["livenessProbe"] = probe;
    let probes =
        "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"10.0.0.1\")";
    for (at, (text, pod, refused, warned)) in [
        ("", privileged_pod("p"), None, None),
        (
            "enforce=privileged audit=restricted",
            privileged_pod("p"),
            None,
            None,
        ),
        (
            "enforce=baseline",
            privileged_pod("p"),
            refusal(&format!(
                "violates PodSecurity \"baseline:latest\": {PRIVILEGED}"
            )),
            None,
        ),
        (
            "enforce=restricted enforce-version=v1.33 warn=baseline",
            pod("p"),
            refusal(&format!(
                "violates PodSecurity \"restricted:v1.33\": {UNRESTRICTED}"
            )),
            None,
        ),
        (
            "warn=baseline",
            privileged_pod("p"),
            None,
            Some(format!(
                "would violate PodSecurity \"baseline:latest\": {PRIVILEGED}"
            )),
        ),
        (
            "enforce=baseline warn=restricted",
            pod("p"),
            None,
            Some(format!(
                "would violate PodSecurity \"restricted:latest\": {UNRESTRICTED}"
            )),
        ),
        (
            "enforce=baseline enforce-version=v1.33",
            probing.clone(),
            None,
            None,
        ),
        (
            "enforce=baseline enforce-version=v1.34",
            probing,
            refusal(&format!(
                "violates PodSecurity \"baseline:v1.34\": {probes}"
            )),
            None,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let pods = create_namespace(&server, &format!("n{at}"), text).await;
        let (code, warnings, answer) = server.with_warnings("POST", &pods, &pod).await;
        let expected: Vec<String> = warned.into_iter().collect();
        assert_eq!(warnings, expected, "{text}: {answer}");
        let Some(why) = refused else {
            assert_eq!(code, 201, "{text}: {answer}");
            continue;
        };
        assert_eq!((code, &answer["reason"]), (403, &json!("Forbidden")));
        let message = format!("pods \"p\" is forbidden: {why}");
        assert_eq!(answer["message"], message, "{text}");
    }
}

#[tokio::test]
async fn a_refusal_has_the_name_that_was_generated() {
    let server = Server::start().await;
    let pods = create_namespace(&server, "n", "enforce=baseline").await;
    let mut pod = privileged_pod("");
    pod["metadata"] = json!({"generateName": "web-"});
    let (code, answer) = server.post(&pods, &pod).await;
    assert_eq!(code, 403, "{answer}");
    let name = answer["details"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    let message = answer["message"].as_str().unwrap();
    let start = format!("pods \"{name}\" is forbidden: violates PodSecurity \"baseline:latest\": ");
    assert!(message.starts_with(&start), "{message}");
}

#[tokio::test]
async fn a_pod_from_before_may_be_updated_unless_it_gets_another_image_or_container() {
    let server = Server::start().await;
    let pods = create_namespace(&server, "n", "").await;
    assert_eq!(server.post(&pods, &privileged_pod("p")).await.0, 201);
    assert_eq!(label(&server, "n", "enforce=baseline").await.0, 200);
    let path = format!("{pods}/p");
    let (_, stored) = server.get(&path).await;
    let mut container = stored["spec"]["containers"][0].clone();
    container["image"] = "other".into();
    let ephemeral = json!([{"name": "debug", "image": "i"}]);
    for (sub, patch, expected) in [
        ("", json!({"metadata": {"labels": {"a": "b"}}}), 200),
        ("/status", json!({"status": {"phase": "Running"}}), 200),
        ("", json!({"spec": {"containers": [container]}}), 403),
        (
            "/ephemeralcontainers",
            json!({"spec": {"ephemeralContainers": ephemeral}}),
            403,
        ),
    ] {
        let path = format!("{path}{sub}");
        let (code, answer) = server.send("PATCH", &path, MERGE, &patch).await;
        assert_eq!(code, expected, "{patch}: {answer}");
        if expected == 403 {
            let text = format!(
                "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": {PRIVILEGED}"
            );
            assert_eq!(answer["message"], text);
        }
    }
}

#[tokio::test]
async fn a_daemon_set_is_warned_of_and_its_pods_are_refused() {
    let server = Server::start().await;
    let pods = create_namespace(&server, "n", "enforce=baseline").await;
    let sets = "/apis/apps/v1/namespaces/n/daemonsets";
    let pod = privileged_pod("p");
    let warning = format!("would violate PodSecurity \"baseline:latest\": {PRIVILEGED}");
    let (code, warnings, mut set) = server.with_warnings("POST", sets, &daemon_set(&pod)).await;
    assert_eq!(
        (code, &warnings[..]),
        (201, &[warning.clone()][..]),
        "{set}"
    );
    let path = format!("{sets}/web");
    set["spec"]["minReadySeconds"] = 1.into();
    let (code, warnings, _) = server.with_warnings("PUT", &path, &set).await;
    assert_eq!((code, warnings), (200, vec![warning]));
    let status = json!({"status": {"observedGeneration": 1}});
    let status_path = format!("{path}/status");
    let (code, _) = server.send("PATCH", &status_path, MERGE, &status).await;
    assert_eq!(code, 200);
    assert_eq!(server.post(&pods, &pod).await.0, 403);
    assert_eq!(
        label(&server, "n", "enforce=baseline warn=privileged")
            .await
            .0,
        200
    );
    let (_, mut set) = server.get(&path).await;
    set["spec"]["minReadySeconds"] = 2.into();
    let (code, warnings, _) = server.with_warnings("PUT", &path, &set).await;
    assert_eq!((code, warnings.len()), (200, 0));
}

#[tokio::test]
async fn pods_from_a_template_get_warnings_and_are_refused_once_the_labels_change() {
    let server = Server::start().await;
    let pods = create_namespace(&server, "n", "warn=baseline").await;
    let pod = |at: usize| {
        let mut pod = privileged_pod(&format!("p-{at}"));
        pod["spec"]["nodeName"] = format!("n-{at}").into();
        pod
    };
    let warning = format!("would violate PodSecurity \"baseline:latest\": {PRIVILEGED}");
    for at in 1..5 {
        let (code, warnings, made) = server.with_warnings("POST", &pods, &pod(at)).await;
        assert_eq!(
            (code, &warnings[..]),
            (201, &[warning.clone()][..]),
            "{made}"
        );
    }
    assert_eq!(label(&server, "n", "enforce=baseline").await.0, 200);
    assert_eq!(server.post(&pods, &pod(5)).await.0, 403);
}

#[tokio::test]
async fn the_audit_log_has_policy_and_violations_also_of_pods_from_a_template() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let options = ServerOptions {
        audit: AuditConfig {
            path: Some(log.clone()),
            max_size_megabytes: 100,
            ..AuditConfig::default()
        },
        ..ServerOptions::default()
    };
    let mut server = Server::start_with(options).await.unwrap();
    let text = "enforce=baseline enforce-version=v1.30 audit=restricted";
    let pods = create_namespace(&server, "n", text).await;
    for at in 1..6 {
        let mut pod = pod(&format!("p-{at}"));
        pod["spec"]["nodeName"] = format!("n-{at}").into();
        assert_eq!(server.post(&pods, &pod).await.0, 201);
    }
    assert_eq!(server.post(&pods, &privileged_pod("p")).await.0, 403);
    server.stop().await;
    let log = std::fs::read_to_string(log).unwrap();
    let events = log.lines().map(json_of);
    let creations: Vec<Value> = events.filter(|event| event["requestURI"] == pods).collect();
    assert_eq!(creations.len(), 6);
    let restricted = format!("would violate PodSecurity \"restricted:latest\": {UNRESTRICTED}");
    for event in &creations {
        let annotation =
            |name: &str| &event["annotations"][format!("pod-security.kubernetes.io/{name}")];
        assert_eq!(annotation("enforce-policy"), "baseline:v1.30", "{event}");
        let violations = annotation("audit-violations").as_str().unwrap();
        match event["responseStatus"]["code"].as_u64() {
            Some(201) => assert_eq!(violations, restricted),
            _ => assert!(violations.contains(PRIVILEGED), "{violations}"),
        }
    }
}

#[tokio::test]
async fn labels_that_cannot_be_read_are_refused() {
    let server = Server::start().await;
    let field = |name: &str| format!("metadata.labels[pod-security.kubernetes.io/{name}]");
    let level = format!(
        "{}: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
        field("enforce")
    );
    let version = format!(
        "{}: Invalid value: \"1.30\": must be \"latest\" or \"v1.x\"",
        field("warn-version")
    );
    let (code, answer) = server
        .post("/api/v1/namespaces", &namespace("n", "enforce=strict"))
        .await;
    assert_eq!((code, &answer["reason"]), (422, &json!("Invalid")));
    assert_eq!(
        answer["message"],
        format!("Namespace \"n\" is invalid: {level}")
    );
    assert_eq!(answer["details"]["causes"][0]["field"], field("enforce"));
    create_namespace(&server, "n", "enforce=baseline").await;
    let (code, _, answer) = label(&server, "n", "enforce=strict warn-version=1.30").await;
    assert_eq!(code, 422);
    let expected = format!("Namespace \"n\" is invalid: [{level}, {version}]");
    assert_eq!(answer["message"], expected);
}

#[tokio::test]
async fn a_stricter_namespace_warns_of_its_existing_pods() {
    let server = Server::start().await;
    let pods = create_namespace(&server, "n", "").await;
    let elsewhere = create_namespace(&server, "other", "").await;
    let mut with_port = privileged_pod("port");
    with_port["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
    for new in [
        privileged_pod("b"),
        privileged_pod("a"),
        with_port,
        pod("good"),
    ] {
        assert_eq!(server.post(&pods, &new).await.0, 201);
    }
    assert_eq!(server.post(&elsewhere, &privileged_pod("0")).await.0, 201);
    let expected = [
        "existing pods in namespace \"n\" violate the new PodSecurity enforce level \"baseline:v1.30\"",
        "a (and 1 other pod): privileged",
        "port: hostPort, privileged",
    ];
    let text = "enforce=baseline enforce-version=v1.30";
    let (_, mut stored) = server.get("/api/v1/namespaces/n").await;
    stored["metadata"]["labels"] = labels(text);
    let dry_run = "/api/v1/namespaces/n?dryRun=All";
    let (code, warnings, _) = server.with_warnings("PUT", dry_run, &stored).await;
    assert_eq!(
        (code, &warnings[..]),
        (200, &expected.map(str::to_owned)[..])
    );
    let (code, warnings, _) = label(&server, "n", text).await;
    assert_eq!(
        (code, &warnings[..]),
        (200, &expected.map(str::to_owned)[..])
    );
    for quiet in [
        "enforce=baseline enforce-version=v1.30 warn=restricted",
        "enforce=privileged",
    ] {
        let (code, warnings, _) = label(&server, "n", quiet).await;
        assert_eq!((code, warnings.len()), (200, 0), "{quiet}");
    }
}

/// Creates a pod as another user.
async fn create_as(server: &Server, user: &str, pods: &str, pod: &Value) -> (u16, Value) {
    let request = Request::post(pods)
        .header("content-type", "application/json")
        .header("impersonate-user", user)
        .header("impersonate-group", "system:masters");
    let request = request.body(Body::from(pod.to_string().into_bytes()));
    let response = server.client().send(request.unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, json_of(std::str::from_utf8(&bytes).unwrap()))
}

#[tokio::test]
async fn the_configuration_has_defaults_and_exempts_namespaces_users_and_runtime_classes() {
    let configuration = json!({
        "apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration",
        "defaults": {"enforce": "baseline", "enforce-version": "v1.30"},
        "exemptions": {"namespaces": ["system"], "usernames": ["alice"], "runtimeClasses": ["vm"]},
    });
    let options = ServerOptions {
        admission_configuration: AdmissionConfiguration {
            pod_security: Configuration::read(configuration).unwrap(),
        },
        ..ServerOptions::default()
    };
    let server = Server::start_with(options).await.unwrap();
    let pods = create_namespace(&server, "n", "").await;
    let pod = privileged_pod;
    let (code, refused) = create_as(&server, "bob", &pods, &pod("p")).await;
    let expected =
        format!("pods \"p\" is forbidden: violates PodSecurity \"baseline:v1.30\": {PRIVILEGED}");
    assert_eq!((code, &refused["message"]), (403, &json!(expected)));
    assert_eq!(create_as(&server, "alice", &pods, &pod("p")).await.0, 201);
    let mut isolated = pod("isolated");
    isolated["spec"]["runtimeClassName"] = "vm".into();
    assert_eq!(server.post(&pods, &isolated).await.0, 201);
    isolated["metadata"]["name"] = "other".into();
    isolated["spec"]["runtimeClassName"] = "other".into();
    assert_eq!(server.post(&pods, &isolated).await.0, 403);

    let new = namespace("system", "enforce=restricted");
    let (code, warnings, _) = server
        .with_warnings("POST", "/api/v1/namespaces", &new)
        .await;
    let warning = "namespace \"system\" is exempt from Pod Security, and the policy (enforce=restricted:v1.30) will be ignored";
    assert_eq!((code, &warnings[..]), (201, &[warning.to_owned()][..]));
    let account =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
    let system = "/api/v1/namespaces/system";
    assert_eq!(
        server
            .post(&format!("{system}/serviceaccounts"), &account)
            .await
            .0,
        201
    );
    assert_eq!(
        server.post(&format!("{system}/pods"), &pod("p")).await.0,
        201
    );
    let (code, warnings, _) = label(&server, "system", "enforce=privileged").await;
    assert_eq!((code, warnings.len()), (200, 0));
    let (code, warnings, _) = label(&server, "system", "enforce=restricted").await;
    assert_eq!((code, warnings), (200, vec![warning.to_owned()]));
}
