//! An API server with given objects, agents that are stepped by the test, and controllers whose
//! requests are recorded.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Request;
use kube::{Client, client::Body};
use pandaemon_client::rest::Patch;
use pandaemon_controllers::{
    NodeLifecycleTiming, Options,
    flow_control::request_gate::RequestPriority,
    leader_election::{
        config::{LeaderElectionConfig, Timing},
        elector::LeaderStatus,
    },
    metrics::ControllerMetrics,
    run_with_timing,
    standalone::{Settings, run_with_clients},
};
use pandaemon_runtime::Shutdown;
use pandaemon_store::{Embedded, Expect, Op, Store, Transaction};
use pandaemon_testkit::{Server, ServerOptions};
use parking_lot::Mutex;
use serde_json::{Value, json};

pub(crate) const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/daemonsets";

/// A control plane without a DaemonSet controller.
pub(crate) struct Cluster(Server);

impl Deref for Cluster {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

/// Writes objects as they are, uids and status included, as no request could.
async fn import(store: &Embedded, objects: &[Value]) {
    for object in objects {
        let mut object = object.clone();
        let kind = match object["kind"].as_str().unwrap() {
            "Node" => "nodes",
            "Pod" => "pods",
            "DaemonSet" => "apps/daemonsets",
            "ControllerRevision" => "apps/controllerrevisions",
            other => panic!("{other}"),
        };
        let meta = object["metadata"].as_object_mut().unwrap();
        meta.remove("resourceVersion");
        let namespace = meta
            .get("namespace")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let key = format!("/{kind}/{namespace}/{}", meta["name"].as_str().unwrap());
        let op = Op::Put(object.to_string().into_bytes().into());
        let write = Transaction::of(key.into(), Expect::Absent, op);
        store.commit(write).await.unwrap();
    }
}

impl Cluster {
    pub(crate) async fn start(objects: &[Value]) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(Server::store_dir(data_dir.path()), Default::default()).unwrap();
        import(&store, objects).await;
        let options = ServerOptions {
            data_dir: Some(data_dir),
            store: Some(Arc::new(store)),
            ..ServerOptions::default()
        };
        let server = Server::start_with(options).await.unwrap();
        let options = Options {
            controllers: "serviceaccount,scheduler".parse().unwrap(),
            ca_pem: "PEM".to_owned(),
            signer: None,
            embedded: true,
        };
        let loops = run_with_timing(
            server.client(),
            options,
            NodeLifecycleTiming::default(),
            server.shutdown().clone(),
        );
        pandaemon_runtime::spawn("controllers", loops);
        for namespace in ["default", "kube-system", "logging"] {
            let body =
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            // Those that a cluster has anyway are there.
            let _made: kube::Result<Value> =
                server.rest().create("/api/v1/namespaces", &body).await;
            let account = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
            server.until(&account, Value::is_object).await;
        }
        Self(server)
    }

    pub(crate) async fn pods(&self) -> Vec<Value> {
        self.items("/api/v1/pods").await
    }

    /// A strategic merge patch.
    pub(crate) async fn strategic_patch(&self, path: &str, body: Value) {
        self.patch(path, Patch::Strategic, body).await;
    }

    pub(crate) async fn node(&self, name: &str) {
        let size = json!({"cpu": "4", "memory": "8Gi", "pods": "50"});
        let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": TIME}]);
        let mut node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        });
        self.create("/api/v1/nodes", node.clone()).await;
        node["status"] = json!({"allocatable": size, "capacity": size, "conditions": ready});
        let path = format!("/api/v1/nodes/{name}");
        let status = json!({"status": node["status"]});
        self.strategic_patch(&format!("{path}/status"), status)
            .await;
        // The server of a cluster taints new nodes until its node life cycle, which does not run
        // here, says well.
        let body = json!({"spec": {"taints": null}});
        self.rest().patch(&path, Patch::Merge, &body).await.unwrap();
    }

    /// What the nodes' agents do next: bound pods get ready, terminating ones end. Returns the pods
    /// as they were.
    pub(crate) async fn agents(&self) -> Vec<Value> {
        let pods = self.pods().await;
        for pod in &pods {
            let text = |field: &str| pod["metadata"][field].as_str().unwrap();
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}",
                text("namespace"),
                text("name")
            );
            if !pod["metadata"]["deletionTimestamp"].is_null() {
                let now = json!({"gracePeriodSeconds": 0});
                // It may have ended since the list.
                self.rest().delete(&path, &now).await.unwrap();
            } else if pod["spec"]["nodeName"].is_string() && !is_ready(pod) {
                let ready =
                    json!([{"type": "Ready", "status": "True", "lastTransitionTime": TIME}]);
                let status = json!({"status": {"phase": "Running", "conditions": ready}});
                let path = format!("{path}/status");
                let _gone = self.rest().patch(&path, Patch::Strategic, &status).await;
            }
        }
        pods
    }

    /// Steps the agents until the set is as it should be; `check` sees the pods of each step.
    pub(crate) async fn settled(
        &self,
        set: &str,
        generation: i64,
        nodes: u64,
        check: impl Fn(&[Value]),
    ) {
        let mut status = Value::Null;
        for _ in 0..400 {
            status = self.get(set).await["status"].clone();
            if status["observedGeneration"] == generation
                && [
                    "numberAvailable",
                    "updatedNumberScheduled",
                    "desiredNumberScheduled",
                ]
                .iter()
                .all(|field| status[field] == nodes)
            {
                return;
            }
            check(&self.agents().await);
            pause().await;
        }
        panic!("{set} stayed {status:#}");
    }
}

pub(crate) const TIME: &str = "2026-01-01T00:00:00Z";

pub(crate) async fn pause() {
    tokio::time::sleep(Duration::from_millis(30)).await;
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .into_iter()
        .any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// The node that a pod is on or was made for.
pub(crate) fn node_of(pod: &Value) -> &str {
    let pinned = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution\
                  /nodeSelectorTerms/0/matchFields/0/values/0";
    pod.pointer(pinned)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// How many pods each node has.
pub(crate) fn by_node(pods: &[Value]) -> BTreeMap<&str, usize> {
    let mut nodes = BTreeMap::new();
    pods.iter()
        .for_each(|pod| *nodes.entry(node_of(pod)).or_default() += 1);
    nodes
}

// === a controller ===

/// A request that a controller sent.
#[derive(Debug, Clone)]
pub(crate) struct RecordedRequest {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: String,
    /// Its priority at the request gate.
    pub(crate) priority: Option<RequestPriority>,
}

impl RecordedRequest {
    /// Whether it changes something but leases and events.
    pub(crate) fn is_change(&self) -> bool {
        self.method != "GET" && !self.path.contains("/leases") && !self.path.ends_with("/events")
    }
}

/// A controller and the wire between it and the server.
pub(crate) struct Controller {
    pub(crate) requests: Arc<Mutex<Vec<RecordedRequest>>>,
    pub(crate) stop: Shutdown,
    /// Cuts the wire: nothing is sent, and nothing is answered.
    pub(crate) cut: Arc<AtomicBool>,
    /// The answers to that many creations are lost, and something on the way sends them again.
    pub(crate) lost: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    pub(crate) ended: tokio::task::JoinHandle<Option<()>>,
}

impl Controller {
    /// One with all rights.
    pub(crate) fn start(cluster: &Cluster, name: &str, timing: Timing) -> Self {
        Self::start_as(&cluster.client(), "daemonsets", name, timing)
    }

    /// One with the rights of this client, and a lease of this name.
    pub(crate) fn start_as(client: &Client, lease: &str, name: &str, timing: Timing) -> Self {
        let (requests, cut) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicBool::new(false)),
        );
        let lost = Arc::new(Mutex::new(BTreeMap::new()));
        let stop = Shutdown::default();
        let wire = || wire(client.clone(), &requests, &cut, &lost);
        let leader_election = LeaderElectionConfig {
            namespace: "kube-system".to_owned(),
            name: lease.to_owned(),
            identity: name.to_owned(),
            timing,
        };
        let settings = Settings {
            leader_election: Some(leader_election),
            streamed: true,
            ..Settings::default()
        };
        let (metrics, leader_status) = (ControllerMetrics::default(), LeaderStatus::default());
        let driving = run_with_clients(
            [wire(), wire()],
            settings,
            metrics,
            leader_status,
            stop.clone(),
        );
        let ended = pandaemon_runtime::spawn("controller", driving);
        Self {
            requests,
            stop,
            cut,
            lost,
            ended,
        }
    }

    pub(crate) fn changes(&self) -> Vec<RecordedRequest> {
        let requests = self.requests.lock();
        requests
            .iter()
            .filter(|requests| requests.is_change())
            .cloned()
            .collect()
    }
}

fn wire(
    inner: Client,
    requests: &Arc<Mutex<Vec<RecordedRequest>>>,
    cut: &Arc<AtomicBool>,
    lost: &Arc<Mutex<BTreeMap<&'static str, usize>>>,
) -> Client {
    let (requests, cut, lost) = (Arc::clone(requests), Arc::clone(cut), Arc::clone(lost));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, requests) = (inner.clone(), Arc::clone(&requests));
        let (cut, lost) = (Arc::clone(&cut), Arc::clone(&lost));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            if cut.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let one = RecordedRequest {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: String::from_utf8_lossy(&body).into_owned(),
                priority: parts.extensions.get().copied(),
            };
            requests.lock().push(one.clone());
            let again = Request::from_parts(parts.clone(), Body::from(body.clone()));
            let mut answer = inner
                .send(Request::from_parts(parts, Body::from(body)))
                .await;
            if cut.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            let is_victim = lost.lock().iter_mut().any(|(end, left)| {
                let hit = *left > 0 && one.method == "POST" && one.path.ends_with(*end);
                *left -= usize::from(hit);
                hit
            });
            if is_victim {
                answer = inner.send(again).await;
            }
            answer.map_err(tower::BoxError::from)
        }
    });
    Client::new(service, "default")
}

/// Quick enough for a test, and long enough for a busy machine.
pub(crate) const QUICK: Timing = Timing {
    lease_duration: Duration::from_secs(3),
    renew_deadline: Duration::from_millis(2_000),
    retry_period: Duration::from_millis(100),
};

/// A DaemonSet of three containers' worth of nothing.
pub(crate) fn daemon(name: &str, image: &str) -> Value {
    let template = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    });
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    })
}
