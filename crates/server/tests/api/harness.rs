//! A server in this process, and helpers that send requests through its in-process client.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use pandaemon_server::Error;
use pandaemon_store::{
    Store,
    double::{Double, Faults},
};
use pandaemon_testkit::{self as testkit, ServerOptions};
use serde_json::Value;

/// A server, and requests whose code and body are returned.
pub(crate) struct Server(testkit::Server);

impl Deref for Server {
    type Target = testkit::Server;

    fn deref(&self) -> &testkit::Server {
        &self.0
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut testkit::Server {
        &mut self.0
    }
}

/// A store without faults, whatever store the suite runs on. For tests that count what the server
/// does: what a store refuses, or does not answer, is done again.
pub(crate) fn steady_store() -> Arc<dyn Store> {
    Arc::new(Double::new(Faults::default(), 1))
}

/// Parses a line.
pub(crate) fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The number of references in an OpenAPI document, and those that do not resolve in it.
pub(crate) fn references(document: &Value) -> (usize, Vec<String>) {
    let (mut count, mut dangling, mut left) = (0, Vec::new(), vec![document]);
    while let Some(value) = left.pop() {
        match value {
            Value::Array(items) => left.extend(items),
            Value::Object(fields) => {
                if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                    count += 1;
                    let pointer = target.strip_prefix('#').unwrap_or_default();
                    if pointer.is_empty() || document.pointer(pointer).is_none() {
                        dangling.push(target.to_owned());
                    }
                }
                left.extend(fields.values());
            }
            _ => (),
        }
    }
    (count, dangling)
}

impl Server {
    /// Starts a server on a free port.
    pub(crate) async fn start() -> Self {
        Self::start_with(ServerOptions::default()).await.unwrap()
    }

    /// Starts a server with these options. Its certificate is valid for `node.example`.
    pub(crate) async fn start_with(options: ServerOptions) -> Result<Self, Error> {
        let options = ServerOptions {
            extra_sans: vec!["node.example".into()],
            ..options
        };
        testkit::Server::start_with(options).await.map(Self)
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
            .client()
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

    /// Sends a request as a user with these groups. Returns code and JSON of the response; null for
    /// a text that is no JSON.
    pub(crate) async fn send_as(
        &self,
        (user, groups): (&str, &[&str]),
        (method, path): (&str, &str),
        content_type: &str,
        body: &Value,
    ) -> (u16, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("impersonate-user", user)
            .header("content-type", content_type);
        for group in groups {
            request = request.header("impersonate-group", *group);
        }
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let request = request.body(Body::from(body)).unwrap();
        let response = self.client().send(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Sends a request with JSON. Returns code, texts of the `Warning` headers, and JSON.
    pub(crate) async fn with_warnings(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> (u16, Vec<String>, Value) {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        let request = request.body(Body::from(body)).unwrap();
        let response = self.client().send(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let warnings = parts.headers.get_all("warning").iter().map(|value| {
            let text = std::str::from_utf8(value.as_bytes()).unwrap();
            let quoted = text.strip_prefix("299 - ").unwrap();
            serde_json::from_str(quoted).unwrap()
        });
        let warnings = warnings.collect();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = json_of(std::str::from_utf8(&bytes).unwrap());
        (parts.status.as_u16(), warnings, body)
    }

    /// Creates the service account that pods of the namespace `default` need. No controllers run
    /// here.
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
