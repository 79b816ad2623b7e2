//! A server in this process, and helpers that send requests through its in-process client.

use std::{net::SocketAddr, sync::Arc};

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use pandaemon_runtime::{Shutdown, metrics::Metrics};
use pandaemon_server::{Config, Running, start};
use pandaemon_store::{Embedded, Options, Store};
use serde_json::Value;
use tempfile::TempDir;

/// A running server; dropped, it shuts down.
pub(crate) struct Server {
    /// The in-process client.
    pub(crate) client: kube::Client,
    /// The server; `None` after it was stopped.
    pub(crate) running: Option<Running>,
    /// Stops the server.
    pub(crate) shutdown: Shutdown,
    /// The data directory.
    _data: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// Parses a line.
pub(crate) fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

impl Server {
    /// Starts a server on a free port.
    pub(crate) async fn start() -> Self {
        Self::try_start(([127, 0, 0, 1], 0).into()).await.unwrap()
    }

    /// Starts a server on this address.
    pub(crate) async fn try_start(listen: SocketAddr) -> Result<Self, String> {
        let data = tempfile::tempdir().unwrap();
        let store = Embedded::open(data.path().join("store"), Options::default()).unwrap();
        Self::on(data, Arc::new(store), listen).await
    }

    /// Starts a server on this store.
    pub(crate) async fn on(
        data: TempDir,
        store: Arc<dyn Store>,
        listen: SocketAddr,
    ) -> Result<Self, String> {
        let shutdown = Shutdown::default();
        let config = Config {
            data_dir: data.path().to_owned(),
            listen,
            extra_sans: vec!["node.example".into()],
            store,
            metrics: Metrics::default(),
        };
        let running = start(config, &shutdown)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Self {
            client: running.client(),
            running: Some(running),
            shutdown,
            _data: data,
        })
    }

    /// Sends a request. Returns code and text of the response.
    pub(crate) async fn text(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> (u16, String) {
        let mut request = Request::builder().method(method).uri(path);
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let body = if body.is_null() {
            Vec::new()
        } else {
            serde_json::to_vec(body).unwrap()
        };
        let response = self
            .client
            .send(request.body(Body::from(body)).unwrap())
            .await
            .unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(bytes.to_vec()).unwrap())
    }

    /// Sends a request. Returns code and JSON of the response; a text that is no JSON as a string.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: &Value,
    ) -> (u16, Value) {
        let (code, text) = self.text(method, path, content_type, body).await;
        (
            code,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    /// Sends a POST of JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("POST", path, "application/json", body).await
    }

    /// Creates the service account that pods of the namespace `default` need. No controllers run here.
    pub(crate) async fn create_service_account(&self) {
        let account = serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        let path = "/api/v1/namespaces/default/serviceaccounts";
        assert_eq!(self.post(path, &account).await.0, 201);
    }

    /// Sends a GET. Returns code and JSON.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, "", &Value::Null).await
    }

    /// Sends a GET. Returns code and text.
    pub(crate) async fn get_text(&self, path: &str) -> (u16, String) {
        self.text("GET", path, "", &Value::Null).await
    }
}
