//! Admission plugins: which requests they see, and that no fast path bypasses one that concerns it.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use pandaemon_machinery::status::Result;
use pandaemon_server::admission::{self, Attributes, Operation, Plugin, Rule, done};
use pandaemon_testkit::ServerOptions;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::{Server, steady_store};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const EVERYTHING: [Operation; 4] = [
    Operation::Create,
    Operation::Update,
    Operation::Delete,
    Operation::Connect,
];

/// Why a plugin refuses a request with this object, or this old object of a deletion.
type Check = fn(&Attributes<'_>, &Value) -> Option<&'static str>;

/// A plugin that refuses what its check does not like, and records what it saw.
#[derive(Debug)]
struct Checker {
    rules: Vec<Rule>,
    check: Check,
    seen: Mutex<Vec<String>>,
}

impl Checker {
    fn new(rules: impl Into<Vec<Rule>>, check: Check) -> Arc<Self> {
        Arc::new(Self {
            rules: rules.into(),
            check,
            seen: Mutex::default(),
        })
    }

    /// What it has seen since the last call.
    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock())
    }
}

impl Plugin for Checker {
    fn name(&self) -> &'static str {
        "Checker"
    }

    fn rules(&self) -> Vec<Rule> {
        self.rules.clone()
    }

    /// The server's own writes at its start are of no interest.
    fn concerns(&self, request: admission::Request<'_>) -> bool {
        request.user.name != "system:apiserver"
    }

    fn validate<'a>(
        &'a self,
        attributes: Attributes<'a>,
        object: &'a Value,
    ) -> BoxFuture<'a, Result<()>> {
        let Attributes {
            operation,
            kind,
            name,
            subresource,
            ..
        } = attributes;
        let resource = &kind.plural;
        let line = format!("{operation:?} {resource}/{name} {subresource}");
        self.seen.lock().push(line.trim_end().to_owned());
        let old = attributes.old_object.unwrap_or(&Value::Null);
        let object = if object.is_null() { old } else { object };
        let refused = (self.check)(&attributes, object);
        done(refused.map_or(Ok(()), |why| Err(attributes.forbidden(why))))
    }
}

async fn start(plugins: Vec<Arc<dyn Plugin>>) -> Server {
    let options = ServerOptions {
        admission: plugins,
        store: Some(steady_store()),
        ..ServerOptions::default()
    };
    let server = Server::start_with(options).await.unwrap();
    server.create_service_account().await;
    server
}

/// A server with a plugin.
async fn start_with(rules: impl Into<Vec<Rule>>, check: Check) -> (Server, Arc<Checker>) {
    let checker = Checker::new(rules, check);
    let server = start(vec![Arc::clone(&checker) as _]).await;
    checker.seen();
    (server, checker)
}

fn pod(name: &str, node: &str, image: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": image}]}})
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

async fn delete(server: &Server, path: &str) -> (u16, Value) {
    server.send("DELETE", path, "", &Value::Null).await
}

#[tokio::test]
async fn a_plugin_that_reads_names_or_nodes_sees_every_pod() {
    let check: Check = |attributes, pod| match pod["spec"]["nodeName"].as_str() {
        Some("n7") => Some("n7 is full"),
        _ if attributes.name == "web-6" => Some("6 is unlucky"),
        _ => None,
    };
    let creations = || Rule::new(&[Operation::Create], "", &["pods"]).writes(&[]);
    for rule in [
        creations(),
        creations().reads(&["/spec/nodeName", "/metadata/name"]),
        creations().reads(&["/spec"]),
        creations().reads(&["/metadata"]),
    ] {
        let (server, checker) = start_with([rule], check).await;
        for at in 1..9 {
            let new = pod(&format!("web-{at}"), &format!("n{at}"), "i");
            let (code, made) = server.post(PODS, &new).await;
            let expected = if matches!(at, 6 | 7) { 403 } else { 201 };
            assert_eq!(code, expected, "{at}: {made}");
        }
        assert_eq!(checker.seen().len(), 8);
    }
}

#[tokio::test]
async fn pods_still_come_from_a_template_if_a_plugin_reads_what_they_have_in_common() {
    let rule = Rule::new(&[Operation::Create], "", &["pods"]);
    let rule = rule.writes(&[]).reads(&["/spec/containers"]);
    let rule = rule.looks_up("", "configmaps");
    let (server, checker) = start_with([rule], |attributes, _| {
        let stop = attributes
            .find("", "configmaps", "default", "stop")
            .unwrap();
        stop.map(|_| "no more pods")
    })
    .await;
    let create = async |at| {
        let new = pod(&format!("web-{at}"), &format!("n{at}"), "i");
        server.post(PODS, &new).await.0
    };
    for at in 1..6 {
        assert_eq!(create(at).await, 201);
    }
    assert_eq!(checker.seen().len(), 2, "the rest is made from a template");
    assert_eq!(server.post(MAPS, &config_map("stop")).await.0, 201);
    assert_eq!(create(6).await, 403, "a kind that it looks up has changed");
}

#[tokio::test]
async fn a_plugin_sees_the_fields_of_a_spec_that_it_reads_in_status_writes_and_deletions() {
    let check: Check = |_, pod| {
        let image = &pod["spec"]["containers"][0]["image"];
        (image != "good").then_some("not a good image")
    };
    let writes = || Rule::new(&[Operation::Update, Operation::Delete], "", &["pods/*"]);
    for rule in [
        writes(),
        writes().writes(&[]).reads(&["/spec"]),
        writes().writes(&[]).reads(&["/spec/containers/0/image"]),
    ] {
        let (server, checker) = start_with([rule], check).await;
        for (image, expected) in [("good", 200), ("bad", 403)] {
            let path = format!("{PODS}/{image}");
            assert_eq!(server.post(PODS, &pod(image, "n1", image)).await.0, 201);
            let patch = json!({"status": {"phase": "Running"}});
            let status = format!("{path}/status");
            let (code, answer) = server.send("PATCH", &status, STRATEGIC, &patch).await;
            assert_eq!(code, expected, "{answer}");
            let (code, answer) = delete(&server, &path).await;
            assert_eq!(code, expected, "{answer}");
            let (_, stored) = server.get(&path).await;
            assert_eq!(stored["spec"]["containers"][0]["image"], image);
            let phase = if image == "good" {
                "Running"
            } else {
                "Pending"
            };
            assert_eq!(stored["status"]["phase"], phase);
            assert_eq!(checker.seen().len(), 2);
        }
    }
}

#[tokio::test]
async fn a_plugin_that_reads_managed_fields_sees_them_in_deletions() {
    let rule = Rule::new(&[Operation::Delete], "", &["configmaps", "pods"]);
    let rule = rule.reads(&["/metadata/managedFields/0/manager"]);
    let (server, _) = start_with([rule], |_, object| {
        let manager = &object["metadata"]["managedFields"][0]["manager"];
        (manager != "unknown").then_some("it belongs to others")
    })
    .await;
    for (path, object) in [(PODS, pod("a", "n1", "i")), (MAPS, config_map("a"))] {
        let path_as = |manager: &str| format!("{path}?fieldManager={manager}");
        for (manager, expected) in [("m", 403), ("unknown", 200)] {
            let mut object = object.clone();
            object["metadata"] = json!({"name": manager, "labels": {"a": "b"}});
            assert_eq!(server.post(&path_as(manager), &object).await.0, 201);
            let (code, answer) = delete(&server, &format!("{path}/{manager}")).await;
            assert_eq!(code, expected, "{answer}");
        }
    }
}

#[tokio::test]
async fn a_plugin_for_leases_sees_renewals() {
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let rule = Rule::new(&[Operation::Update], "coordination.k8s.io", &["leases"]);
    let (server, checker) = start_with([rule], |_, _| None).await;
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "n1"}, "spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}});
    assert_eq!(server.post(leases, &lease).await.0, 201);
    for second in 1..4 {
        let time = format!("2026-01-01T00:00:0{second}.000000Z");
        let patch = json!({"spec": {"renewTime": time}});
        let path = format!("{leases}/n1");
        let merge = "application/merge-patch+json";
        assert_eq!(server.send("PATCH", &path, merge, &patch).await.0, 200);
    }
    assert_eq!(checker.seen(), ["Update leases/n1"; 3]);
}

#[tokio::test]
async fn every_kind_of_write_is_admitted_as_what_it_does() {
    let (server, checker) = start_with([Rule::new(&EVERYTHING, "*", &["*/*"])], |_, _| None).await;
    let content_type = "application/apply-patch+yaml";
    let path = format!("{MAPS}/a?fieldManager=m");
    for (code, expected) in [(201, "Create configmaps/a"), (200, "Update configmaps/a")] {
        let config = config_map("a");
        let answer = server.send("PATCH", &path, content_type, &config).await;
        assert_eq!(answer.0, code);
        assert_eq!(checker.seen(), [expected]);
    }
    let classes = "/apis/scheduling.k8s.io/v1/priorityclasses/high";
    let mut class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "high"}, "value": 1});
    for (code, expected) in [
        (201, "Create priorityclasses/high"),
        (200, "Update priorityclasses/high"),
    ] {
        let answer = server
            .send("PUT", classes, "application/json", &class)
            .await;
        assert_eq!(answer.0, code);
        assert_eq!(checker.seen(), [expected]);
        class["description"] = "d".into();
    }
    assert_eq!(server.post(MAPS, &config_map("b")).await.0, 201);
    checker.seen();
    assert_eq!(delete(&server, MAPS).await.0, 200);
    let seen = checker.seen();
    assert_eq!(seen, ["Delete configmaps/a", "Delete configmaps/b"]);
}

#[tokio::test]
async fn bindings_and_evictions_are_creations_of_their_subresource() {
    let (server, checker) = start_with([Rule::new(&EVERYTHING, "*", &["*/*"])], |_, _| None).await;
    let mut unbound = pod("p", "", "i");
    unbound["spec"].as_object_mut().unwrap().remove("nodeName");
    assert_eq!(server.post(PODS, &unbound).await.0, 201);
    checker.seen();
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"}});
    let path = format!("{PODS}/p/binding");
    assert_eq!(server.post(&path, &binding).await.0, 201);
    assert_eq!(checker.seen(), ["Create pods/p binding"]);
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let path = format!("{PODS}/p/eviction");
    assert_eq!(server.post(&path, &eviction).await.0, 201);
    assert_eq!(checker.seen(), ["Create pods/p eviction"]);
}

#[tokio::test]
async fn connections_are_admitted_before_they_are_opened() {
    let rule = Rule::new(&[Operation::Connect], "", &["*/*"]);
    let (server, checker) = start_with([rule], |_, options| {
        let is_shell = options["command"][0] == "sh" && options["tty"] == true;
        is_shell.then_some("no shells")
    })
    .await;
    assert_eq!(server.post(PODS, &pod("p", "n1", "i")).await.0, 201);
    for (path, expected) in [
        ("p/exec?command=sh&tty=true", 403),
        ("p/exec?command=ls", 404),
        ("p/attach", 404),
        ("p/portforward", 404),
    ] {
        let (code, answer) = server.get(&format!("{PODS}/{path}")).await;
        assert_eq!(code, expected, "the node does not exist: {answer}");
        assert_eq!(checker.seen().len(), 1, "{path}");
    }
    let (code, _) = server.get("/api/v1/nodes/n1/proxy/metrics").await;
    assert_eq!(
        (code, checker.seen()),
        (404, vec!["Connect nodes/n1 proxy".to_owned()])
    );
}

/// Completes ConfigMaps with an entry, after some time for one of them.
#[derive(Debug)]
struct Completer;

impl Plugin for Completer {
    fn name(&self) -> &'static str {
        "Completer"
    }

    fn rules(&self) -> Vec<Rule> {
        let operations = [Operation::Create, Operation::Delete];
        vec![Rule::new(&operations, "", &["configmaps"])]
    }

    fn admit<'a>(
        &'a self,
        attributes: Attributes<'a>,
        object: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            // What the server writes at its start.
            if attributes.namespace == "kube-system" {
                return Ok(());
            }
            if attributes.name == "slow" {
                std::future::pending::<()>().await;
            }
            if attributes.operation == Operation::Create {
                object["data"] = json!({"from": "a plugin"});
            }
            attributes.add_warning("completed");
            attributes.find("", "secrets", "default", "s").map(|_| ())
        })
    }
}

/// Looks up what it declares, unlike [`Completer`].
#[derive(Debug)]
struct Declared;

impl Plugin for Declared {
    fn name(&self) -> &'static str {
        "Declared"
    }

    fn rules(&self) -> Vec<Rule> {
        let rules = Completer.rules().into_iter();
        rules.map(|rule| rule.looks_up("", "secrets")).collect()
    }

    fn admit<'a>(
        &'a self,
        attributes: Attributes<'a>,
        object: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        Completer.admit(attributes, object)
    }
}

/// Sets the resources of containers of pods, whatever is written.
#[derive(Debug)]
struct Resources;

impl Plugin for Resources {
    fn name(&self) -> &'static str {
        "Resources"
    }

    fn rules(&self) -> Vec<Rule> {
        let operations = [Operation::Create, Operation::Update];
        vec![Rule::new(&operations, "", &["pods/*"])]
    }

    fn admit<'a>(
        &'a self,
        attributes: Attributes<'a>,
        object: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        let is_new = attributes.operation == Operation::Create;
        let cpu = if is_new { "1" } else { "2" };
        let amount = json!({"cpu": cpu, "memory": "1Gi"});
        object["spec"]["containers"][0]["resources"] =
            json!({"limits": amount, "requests": amount});
        object["status"]["reason"] = "Admitted".into();
        done(Ok(()))
    }
}

#[tokio::test]
async fn a_plugin_changes_no_more_than_the_client_can() {
    let server = start(vec![Arc::new(Resources)]).await;
    let (code, made) = server.post(PODS, &pod("p", "n1", "i")).await;
    let qos = &made["status"]["qosClass"];
    assert_eq!((code, qos), (201, &json!("Guaranteed")), "{made}");
    assert_eq!(made["status"]["reason"], Value::Null);
    let patch = json!({"status": {"phase": "Running"}});
    let path = format!("{PODS}/p/status");
    let (code, made) = server.send("PATCH", &path, STRATEGIC, &patch).await;
    assert_eq!(code, 200, "{made}");
    assert_eq!(made["status"]["reason"], "Admitted");
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(resources["limits"]["cpu"], "1", "as it was created");
}

#[tokio::test]
async fn plugins_complete_objects_and_warn() {
    let server = start(vec![Arc::new(Declared)]).await;
    let (code, warnings, made) = server.with_warnings("POST", MAPS, &config_map("a")).await;
    assert_eq!((code, &made["data"]["from"]), (201, &json!("a plugin")));
    assert_eq!(warnings, ["completed"]);
    let path = format!("{MAPS}/a");
    let (code, warnings, _) = server.with_warnings("DELETE", &path, &Value::Null).await;
    assert_eq!((code, warnings), (200, vec!["completed".to_owned()]));
}

#[tokio::test]
async fn a_plugin_that_waits_holds_up_no_other_request() {
    let server = start(vec![Arc::new(Declared)]).await;
    let (slow, other) = (config_map("slow"), config_map("other"));
    tokio::select! {
        biased;
        _ = server.post(MAPS, &slow) => panic!("the plugin waits forever"),
        (code, _) = server.post(MAPS, &other) => assert_eq!(code, 201),
    }
}

#[tokio::test]
async fn a_plugin_looks_up_only_what_it_declares() {
    let server = start(vec![Arc::new(Completer)]).await;
    let (code, refused) = server.post(MAPS, &config_map("a")).await;
    assert_eq!(code, 500);
    let text = refused["message"].as_str().unwrap();
    let expected = "the admission plugin Completer looks up secrets, which it does not declare";
    assert!(text.ends_with(expected), "{text}");
}

#[tokio::test]
async fn validating_plugins_see_what_is_stored() {
    let rule = Rule::new(&[Operation::Create], "", &["services", "pods"]);
    let (server, _) = start_with([rule], |attributes, object| {
        let field = match attributes.kind.plural.as_str() {
            "pods" => "priority",
            _ => "clusterIP",
        };
        object["spec"][field]
            .is_null()
            .then_some("it is incomplete")
    })
    .await;
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 1}]}});
    let services = "/api/v1/namespaces/default/services";
    let (code, made) = server.post(services, &service).await;
    assert_eq!(code, 201, "{made}");
    let (code, made) = server.post(PODS, &pod("p", "n1", "i")).await;
    assert_eq!(code, 201, "{made}");
}

#[tokio::test]
async fn a_terminating_namespace_gets_no_evictions_either() {
    let server = start(Vec::new()).await;
    for name in ["default", "kube-system", "kube-public"] {
        let (code, refused) = delete(&server, &format!("/api/v1/namespaces/{name}")).await;
        let text = refused["message"].as_str().unwrap().to_owned();
        assert_eq!(code, 403, "{text}");
        assert!(
            text.ends_with("this namespace may not be deleted"),
            "{text}"
        );
    }
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "d"}});
    assert_eq!(server.post("/api/v1/namespaces", &namespace).await.0, 201);
    assert_eq!(delete(&server, "/api/v1/namespaces/d").await.0, 200);
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    for (path, body) in [
        ("configmaps", config_map("a")),
        ("pods/p/eviction", eviction),
    ] {
        let path = format!("/api/v1/namespaces/d/{path}");
        let (code, refused) = server.post(&path, &body).await;
        let text = refused["message"].as_str().unwrap();
        assert_eq!(code, 403, "{text}");
        let why = "unable to create new content in namespace d because it is being terminated";
        assert!(text.ends_with(why), "{text}");
    }
}

/// A plugin that takes its time, as a webhook does.
#[derive(Debug)]
struct Waits;

impl Plugin for Waits {
    fn name(&self) -> &'static str {
        "Waits"
    }

    fn rules(&self) -> Vec<Rule> {
        let updates = Rule::new(&[Operation::Update], "", &["services"]);
        vec![updates.writes(&[])]
    }

    fn validate<'a>(&'a self, _: Attributes<'a>, _: &'a Value) -> BoxFuture<'a, Result<()>> {
        Box::pin(async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok(())
        })
    }
}

#[tokio::test]
async fn of_two_updates_at_once_one_gets_the_port() {
    let server = start(vec![Arc::new(Waits)]).await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"ports": [{"port": 1}]}})
    };
    for name in ["a", "b"] {
        assert_eq!(server.post(services, &service(name)).await.0, 201);
    }
    let port = json!({"spec": {"type": "NodePort", "ports": [{"port": 1, "nodePort": 30100}]}});
    let patch = async |name: &str| {
        let path = format!("{services}/{name}");
        let form = "application/merge-patch+json";
        server.send("PATCH", &path, form, &port).await.0
    };
    let (a, b) = tokio::join!(patch("a"), patch("b"));
    let mut codes = [a, b];
    codes.sort_unstable();
    assert_eq!(codes, [200, 422]);
}
