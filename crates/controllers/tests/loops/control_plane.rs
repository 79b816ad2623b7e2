//! An API server and some controllers in this process, and requests by path.

use std::{ops::Deref, sync::Arc, time::Duration};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::{Client, client::Body};
use pandaemon_client::{errors, rest::Patch};
use pandaemon_controllers::{
    Account, ClientBuilder, NodeLifecycleTiming, Options, run_with_timing,
};
use pandaemon_testkit::Server;
use parking_lot::Mutex;
use serde_json::{Value, json};

/// An API server with some controllers, each of which acts as its account. When it is dropped, the
/// test fails if the rights of an account were not enough.
pub(crate) struct ControlPlane {
    server: Server,
    refusals: Refusals,
}

impl Deref for ControlPlane {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let refusals = self.refusals.lock();
        if std::thread::panicking() {
            eprintln!("refused to controllers: {refusals:#?}");
        } else {
            assert!(refusals.is_empty(), "refused to controllers: {refusals:#?}");
        }
    }
}

/// What authorizers have refused.
type Refusals = Arc<Mutex<Vec<String>>>;

/// Clients of the controllers' accounts that note refusals.
fn clients(server: &Server, refusals: &Refusals) -> ClientBuilder {
    let (clients, refusals) = (server.running().clients(), Arc::clone(refusals));
    ClientBuilder::new(move |account| {
        let client = match account {
            Account::ServiceAccount(name) => clients.service_account("kube-system", name),
            Account::User(name) => clients.user(name),
        };
        noting_refusals(client, Arc::clone(&refusals))
    })
}

fn noting_refusals(inner: Client, refusals: Refusals) -> Client {
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, refusals) = (inner.clone(), Arc::clone(&refusals));
        async move {
            let response = inner.send(request).await?;
            if response.status() != 403 {
                return kube::Result::<Response<Body>>::Ok(response);
            }
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            let text = String::from_utf8_lossy(&body);
            // Not that a namespace is terminating.
            if text.contains(" cannot ") {
                refusals.lock().push(text.into_owned());
            }
            Ok(Response::from_parts(head, Body::from(body)))
        }
    });
    Client::new(service, "default")
}

/// Delays for tests in which nodes send no heartbeats.
const LONG_GRACE_PERIOD: NodeLifecycleTiming = NodeLifecycleTiming {
    node_monitor_grace_period: Duration::from_secs(60),
    unknown_node_delay: Duration::from_millis(300),
    deleted_node_delay: Duration::from_millis(100),
};

impl ControlPlane {
    /// Starts a server and the named controllers.
    pub(crate) async fn start(controllers: &str) -> Self {
        Self::start_with_timing(controllers, LONG_GRACE_PERIOD).await
    }

    /// The same, with a short grace period of unresponsive nodes.
    pub(crate) async fn start_with_short_grace_period(controllers: &str) -> Self {
        let timing = NodeLifecycleTiming {
            node_monitor_grace_period: Duration::from_millis(1_500),
            ..LONG_GRACE_PERIOD
        };
        Self::start_with_timing(controllers, timing).await
    }

    async fn start_with_timing(controllers: &str, timing: NodeLifecycleTiming) -> Self {
        let server = Server::start().await;
        // Pods need an account.
        let controllers = format!("serviceaccount,{controllers}").parse().unwrap();
        let options = Options {
            controllers,
            ca_pem: "PEM".to_owned(),
            signer: Some(server.running().signer()),
            embedded: true,
        };
        let shutdown = server.shutdown().clone();
        let refusals = Refusals::default();
        let loops = run_with_timing(clients(&server, &refusals), options, timing, shutdown);
        pandaemon_runtime::spawn("controllers", loops);
        let account = "/api/v1/namespaces/default/serviceaccounts/default";
        server.until(account, Value::is_object).await;
        Self { server, refusals }
    }

    /// Creates a node and reports it ready.
    pub(crate) async fn ready_node(&self, name: &str) {
        let allocatable = json!({ "cpu": "2", "memory": "4Gi", "pods": "10" });
        let body = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
        self.create("/api/v1/nodes", body).await;
        self.report_node(name, "True", allocatable).await;
        let path = format!("/api/v1/nodes/{name}");
        self.until(&path, |node| node["spec"]["taints"].is_null())
            .await;
    }

    /// Writes the status of a node, as its agent does.
    pub(crate) async fn report_node(&self, name: &str, ready: &str, allocatable: Value) {
        let conditions = json!([{
            "type": "Ready", "status": ready, "reason": "Test", "message": "test",
            "lastHeartbeatTime": now(), "lastTransitionTime": now(),
        }]);
        let mut status = json!({ "conditions": conditions });
        if !allocatable.is_null() {
            status["allocatable"] = allocatable.clone();
            status["capacity"] = allocatable;
        }
        let path = format!("/api/v1/nodes/{name}/status");
        self.patch(&path, Patch::Strategic, json!({ "status": status }))
            .await;
    }

    /// Renews a node's lease, or creates it.
    pub(crate) async fn renew(&self, name: &str, time: &str) {
        let collection = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
        let path = format!("{collection}/{name}");
        let spec = json!({ "holderIdentity": name, "renewTime": time });
        match self
            .rest()
            .patch(&path, Patch::Merge, &json!({ "spec": spec }))
            .await
        {
            Ok(()) => (),
            Err(error) if errors::is_not_found(&error) => {
                let body = json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": { "name": name }, "spec": spec,
                });
                self.create(collection, body).await;
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// A pod in the namespace default, with further fields of its spec.
    pub(crate) async fn pod(&self, name: &str, spec: Value) -> Value {
        let mut body = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name, "labels": { "app": name } },
            "spec": {
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 0,
                "containers": [{ "name": "c", "image": "test:v1" }],
            },
        });
        for (field, value) in spec.as_object().unwrap() {
            body["spec"][field] = value.clone();
        }
        self.create(PODS, body).await
    }
}

/// The pods of the namespace default.
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

pub(crate) fn now() -> String {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map(|since| jiff::Timestamp::from_second(since.as_secs().cast_signed()).unwrap())
        .map(pandaemon_types::time::rfc3339_seconds)
        .unwrap()
}

/// The status of a condition.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    object["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind)
        .and_then(|condition| condition["status"].as_str())
        .unwrap_or_default()
}
