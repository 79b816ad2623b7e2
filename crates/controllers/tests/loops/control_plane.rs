//! An API server and some controllers in this process, and requests by path.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use pandaemon_client::{
    errors,
    rest::{Patch, Rest},
};
use pandaemon_controllers::{NodeLifecycleTiming, Options, run_with_timing};
use pandaemon_runtime::{Shutdown, metrics::Metrics};
use pandaemon_server::{Config, Running, start};
use pandaemon_store::Embedded;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A control plane that runs as long as this value lives.
pub(crate) struct ControlPlane {
    pub(crate) api: Rest,
    shutdown: Shutdown,
    _running: Running,
    _data: TempDir,
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
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
        let data = tempfile::tempdir().unwrap();
        let store = Embedded::open(data.path().join("store"), Default::default()).unwrap();
        let shutdown = Shutdown::default();
        let config = Config {
            data_dir: data.path().to_owned(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            extra_sans: Vec::new(),
            store: Arc::new(store),
            metrics: Metrics::default(),
        };
        let running = start(config, &shutdown).await.unwrap();
        // Pods need an account.
        let controllers = format!("serviceaccount,{controllers}").parse().unwrap();
        let options = Options {
            controllers,
            ca_pem: "PEM".to_owned(),
            embedded: true,
        };
        let loops = run_with_timing(running.client(), options, timing, shutdown.clone());
        pandaemon_runtime::spawn("controllers", loops);
        let plane = Self {
            api: Rest::new(running.client()),
            shutdown,
            _running: running,
            _data: data,
        };
        plane
            .until(
                "/api/v1/namespaces/default/serviceaccounts/default",
                Value::is_object,
            )
            .await;
        plane
    }

    /// Creates an object of a collection below `/api/v1` or `/apis`.
    pub(crate) async fn create(&self, collection: &str, object: Value) -> Value {
        match self.api.create(collection, &object).await {
            Ok(made) => made,
            Err(error) => panic!("POST {collection} {object}: {error}"),
        }
    }

    /// Reads an object; null if it is not there.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.api.get(path).await.unwrap().unwrap_or(Value::Null)
    }

    /// Patches an object.
    pub(crate) async fn patch(&self, path: &str, form: Patch, body: Value) {
        if let Err(error) = self.api.patch(path, form, &body).await {
            panic!("PATCH {path} {body}: {error}");
        }
    }

    /// Deletes an object.
    pub(crate) async fn delete(&self, path: &str, options: Value) {
        assert!(
            self.api.delete(path, &options).await.unwrap(),
            "DELETE {path}"
        );
    }

    /// Reads the path again and again until the object satisfies `good`.
    pub(crate) async fn until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..200 {
            last = self.get(path).await;
            if good(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} stayed {last:#}");
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
            .api
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
        .map(pandaemon_client::events::seconds)
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
