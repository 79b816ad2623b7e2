//! Against a live cluster: a server, controllers and hollow nodes in this process.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{collections::BTreeSet, ops::Deref, sync::Arc, time::Duration};

use clap::Parser;
use http::Request;
use kube::{Client, client::Body};
use pandaemon_client::rest::Patch;
use pandaemon_controllers::Options;
use pandaemon_explain::{NodeReport, Report, Verdict, manifest};
use pandaemon_hollow::HollowArgs;
use pandaemon_kubectl_ds::{Cluster, explain_applied, explain_live, follow_rollout};
use pandaemon_testkit::{
    Server,
    rights::{right_of, rights_in},
};
use parking_lot::Mutex;
use serde_json::{Value, json};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    hollow: HollowArgs,
}

const SETS: &str = "/apis/apps/v1/namespaces/default/daemonsets";
const PODS: &str = "/api/v1/namespaces/default/pods";

const AGENT: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      nodeSelector: {disk: ssd}
      containers:
      - name: c
        image: v1
        resources: {requests: {cpu: 500m}}
";

struct ControlPlane {
    server: Server,
    cluster: Cluster,
}

impl Deref for ControlPlane {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl ControlPlane {
    async fn start(controllers: &str) -> Self {
        let server = Server::start().await;
        let options = Options {
            controllers: controllers.parse().unwrap(),
            ca_pem: "PEM".to_owned(),
            signer: None,
            ..Options::default()
        };
        let shutdown = server.shutdown().clone();
        let loops = pandaemon_controllers::run(server.client(), options, shutdown);
        pandaemon_runtime::spawn("controllers", loops);
        let cluster = Cluster::new(server.client(), "default");
        let control_plane = Self { server, cluster };
        let account = "/api/v1/namespaces/default/serviceaccounts/default";
        control_plane.until(account, Value::is_object).await;
        control_plane
    }

    async fn node(&self, name: &str, disk: &str) {
        let metadata = json!({"name": name, "labels": {"disk": disk}});
        self.create(
            "/api/v1/nodes",
            json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata}),
        )
        .await;
        let allocatable = json!({"cpu": "1", "pods": "10"});
        let ready = json!([{"type": "Ready", "status": "True"}]);
        let status = json!({"status": {"allocatable": allocatable, "conditions": ready}});
        let path = format!("/api/v1/nodes/{name}/status");
        self.rest()
            .patch(&path, Patch::Strategic, &status)
            .await
            .unwrap();
        self.untaint(name).await;
    }

    /// Removes the not-ready taint: no node life cycle controller runs here.
    async fn untaint(&self, name: &str) {
        let none = json!({"spec": {"taints": null}});
        let path = format!("/api/v1/nodes/{name}");
        self.rest().patch(&path, Patch::Merge, &none).await.unwrap();
    }

    /// Starts hollow nodes with disk=ssd, which report their pods ready.
    fn start_nodes(&self, count: &str) {
        let words = [
            "hollow", "--labels", "disk=ssd", "--cpu", "1", "--count", count,
        ];
        let args = Line::parse_from(words).hollow;
        let shutdown = self.shutdown().clone();
        let nodes = pandaemon_hollow::run(self.client(), args, shutdown);
        pandaemon_runtime::spawn("hollow", nodes);
    }

    async fn explain(&self) -> Report {
        explain_live(&self.cluster, "agent", None).await.unwrap()
    }

    async fn bind(&self, node: &str) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("heavy-{node}")},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "x",
                "resources": {"requests": {"cpu": "800m"}}}]},
        });
        self.create(PODS, pod).await;
    }
}

fn reasons(report: &Report) -> Vec<(String, Verdict, String)> {
    let node = |node: &NodeReport| {
        let all = node.reasons.iter().chain(&node.remarks);
        let why: Vec<&str> = all.map(|reason| &*reason.message).collect();
        (node.name.to_string(), node.verdict, why.join("; "))
    };
    report.nodes.iter().map(node).collect()
}

fn agent(image: &str) -> Value {
    let text = AGENT.replace("image: v1", &format!("image: {image}"));
    manifest::read("agent.yaml", &text, "default")
        .unwrap()
        .remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_controller_the_verdicts_are_right() {
    let control_plane = ControlPlane::start("serviceaccount").await;
    for (name, disk) in [("a", "ssd"), ("b", "hdd"), ("c", "ssd")] {
        control_plane.node(name, disk).await;
    }
    control_plane.bind("c").await;
    let missing = explain_live(&control_plane.cluster, "agent", None)
        .await
        .unwrap_err();
    let text = "Error from server (NotFound): daemonsets.apps \"agent\" not found";
    assert_eq!(missing.to_string(), text);

    let dry = explain_applied(&control_plane.cluster, &agent("v1"), None)
        .await
        .unwrap();
    let expected = [
        (
            "c",
            Verdict::CannotRunYet,
            "300m cpu short: 500m requested, 200m free; held by default/heavy-c 800m",
        ),
        ("a", Verdict::WillRun, "a pod would be created"),
        (
            "b",
            Verdict::MustNotRun,
            "node selector wants disk=ssd, the node has disk=hdd",
        ),
    ];
    let mut expected =
        expected.map(|(node, verdict, why)| (node.to_owned(), verdict, why.to_owned()));
    assert_eq!(reasons(&dry), expected);
    let change = dry.change.unwrap();
    assert!(!change.exists && change.gained.len() == 2, "{change:?}");

    control_plane.create(SETS, agent("v1")).await;
    let live = control_plane.explain().await;
    expected[1].2 = "the controller has not created it yet".to_owned();
    assert_eq!(reasons(&live), expected);
    assert!(
        live.notes
            .iter()
            .any(|note| note.contains("is one running?")),
        "{:?}",
        live.notes
    );
    let one = explain_live(&control_plane.cluster, "agent", Some("c"))
        .await
        .unwrap();
    assert_eq!(reasons(&one), expected.get(..1).unwrap());
    let missing = explain_live(&control_plane.cluster, "agent", Some("x"))
        .await
        .unwrap_err();
    assert_eq!(
        missing.to_string(),
        "Error from server (NotFound): nodes \"x\" not found"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_is_explained_and_followed() {
    let controllers = "serviceaccount,daemonset,scheduler,nodelifecycle";
    let control_plane = ControlPlane::start(controllers).await;
    control_plane.start_nodes("2");
    control_plane.create(SETS, agent("v1")).await;
    let path = format!("{SETS}/agent");
    let available = |set: &Value| {
        let status = &set["status"];
        status["numberAvailable"] == 2 && status["updatedNumberScheduled"] == 2
    };
    control_plane.until(&path, available).await;
    assert!(control_plane.explain().await.is_settled());

    let dry = explain_applied(&control_plane.cluster, &agent("v2"), None)
        .await
        .unwrap();
    let change = dry.change.unwrap();
    assert!(change.template_changed && change.at_once == 1, "{change:?}");
    assert_eq!(change.order.len(), 2);
    assert_eq!(
        change.fields,
        ["spec.template.spec.containers[0].image: \"v1\" -> \"v2\""]
    );

    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "v2"}]}}}});
    control_plane
        .rest()
        .patch(&path, Patch::Strategic, &image)
        .await
        .unwrap();
    let (mut out, limit) = (Vec::new(), Duration::from_secs(60));
    follow_rollout(&control_plane.cluster, "agent", limit, &mut out)
        .await
        .unwrap();
    let out = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    let (last, earlier) = lines.split_last().unwrap();
    assert_eq!(*last, "daemon set \"agent\" successfully rolled out");
    assert!(
        earlier
            .iter()
            .all(|line| line.starts_with("Waiting for daemon set ")),
        "{out}"
    );
    let report = control_plane.explain().await;
    assert!(report.is_settled(), "{:?}", reasons(&report));
    assert_eq!(report.newest.revision, Some(2));
}

const ROLE: &str = include_str!("../../../deploy/kubectl-ds/clusterrole.yaml");

/// A client that notes the rights that its requests need.
fn noting_rights(inner: Client, used: Arc<Mutex<BTreeSet<String>>>) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let uri = request.uri();
        let query = uri.query().unwrap_or_default();
        let right = right_of(request.method().as_str(), uri.path(), query);
        used.lock().insert(right);
        let inner = inner.clone();
        async move { inner.send(request).await }
    });
    Client::new(service, "default")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_the_manifest_are_those_used() {
    let controllers = "serviceaccount,daemonset,scheduler,nodelifecycle";
    let control_plane = ControlPlane::start(controllers).await;
    control_plane.node("a", "ssd").await;
    control_plane.bind("a").await;
    control_plane.start_nodes("1");
    control_plane.create(SETS, agent("v1")).await;
    let role: Value = serde_saphyr::from_str(ROLE).unwrap();
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let path = format!("{group}/clusterroles");
    control_plane.create(&path, role.clone()).await;
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": "reader" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": role["metadata"]["name"] },
        "subjects": [{ "kind": "User", "name": "reader" }],
    });
    let path = format!("{group}/clusterrolebindings");
    control_plane.create(&path, binding).await;

    let acted = |set: &Value| set["status"]["observedGeneration"] == 1;
    control_plane.until(&format!("{SETS}/agent"), acted).await;
    let reader = control_plane.running().clients().user("reader");
    let used = Arc::<Mutex<BTreeSet<String>>>::default();
    let cluster = Cluster::new(noting_rights(reader, Arc::clone(&used)), "default");
    let blocked = |report: &Report| {
        let mut nodes = report.nodes.iter();
        nodes.any(|node| *node.name == *"a" && node.verdict == Verdict::CannotRunYet)
    };
    let report = explain_live(&cluster, "agent", None).await.unwrap();
    assert!(blocked(&report), "{:?}", reasons(&report));
    assert!(report.notes.is_empty(), "{:?}", report.notes);
    explain_applied(&cluster, &agent("v2"), None).await.unwrap();
    control_plane
        .delete(&format!("{PODS}/heavy-a"), json!({"gracePeriodSeconds": 0}))
        .await;
    let (mut out, limit) = (Vec::new(), Duration::from_secs(1));
    // A node without an agent never gets ready: the watches end by the limit.
    let _late = follow_rollout(&cluster, "agent", limit, &mut out).await;
    let (mut used, granted) = (used.lock().clone(), rights_in(&role));
    // In pages, where the server cannot stream.
    used.insert("list apps/daemonsets".to_owned());
    assert_eq!(used, granted);
}
