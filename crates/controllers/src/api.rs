//! Requests with plain paths and JSON, for loops that work on many kinds, and questions about errors.
//!
//! ```ignore
//! let api = Rest::new(client);
//! let node: Option<Node> = api.get("/api/v1/nodes/n1").await?;       // None: not found
//! api.patch("/api/v1/nodes/n1", Patch::Merge, &json!({"spec": {"unschedulable": true}})).await?;
//! let gone = !api.delete("/api/v1/namespaces/a/pods/p", &json!({"gracePeriodSeconds": 0})).await?;
//! ```

use http::{Method, Request, header};
use kube::{Client, core::Status};
use serde::{de::DeserializeOwned, de::IgnoredAny};
use serde_json::{Value, json};

/// The forms of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// RFC 7386.
    Merge,
    /// Lists are merged by their keys; known kinds only.
    Strategic,
    /// RFC 6902.
    Json,
}

impl Patch {
    const fn media_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Json => "application/json-patch+json",
        }
    }
}

/// A client for plain paths.
#[derive(Clone)]
pub struct Rest(Client);

impl Rest {
    /// Wraps a client.
    #[must_use]
    pub const fn new(client: Client) -> Self {
        Self(client)
    }

    /// The client below.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.0
    }

    /// Reads an object, or a list; `None` if it is not there.
    ///
    /// # Errors
    /// When the server cannot be reached or says no.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> kube::Result<Option<T>> {
        optional(self.0.request(build(Method::GET, path, None, None)?).await)
    }

    /// Reads only the metadata of an object; `None` if it is not there.
    ///
    /// # Errors
    /// When the server cannot be reached or says no.
    pub async fn get_metadata<T: DeserializeOwned>(&self, path: &str) -> kube::Result<Option<T>> {
        self.get_as(
            path,
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
        )
        .await
    }

    /// Reads only the metadata of a collection's objects; `None` if the kind is not served.
    ///
    /// # Errors
    /// When the server cannot be reached or says no.
    pub async fn get_metadata_list<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> kube::Result<Option<T>> {
        self.get_as(
            path,
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
        )
        .await
    }

    async fn get_as<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: &'static str,
    ) -> kube::Result<Option<T>> {
        let mut request = build(Method::GET, path, None, None)?;
        request
            .headers_mut()
            .insert(header::ACCEPT, header::HeaderValue::from_static(accept));
        optional(self.0.request(request).await)
    }

    /// Creates an object in a collection, or posts to a subresource.
    ///
    /// # Errors
    /// When the server cannot be reached or says no.
    pub async fn create<T: DeserializeOwned>(&self, path: &str, body: &Value) -> kube::Result<T> {
        self.0
            .request(build(
                Method::POST,
                path,
                Some("application/json"),
                Some(body),
            )?)
            .await
    }

    /// Replaces an object.
    ///
    /// # Errors
    /// When the server cannot be reached or says no.
    pub async fn replace<T: DeserializeOwned>(&self, path: &str, body: &Value) -> kube::Result<T> {
        self.0
            .request(build(
                Method::PUT,
                path,
                Some("application/json"),
                Some(body),
            )?)
            .await
    }

    /// Patches an object; the answer is not read.
    ///
    /// # Errors
    /// When the server cannot be reached or says no.
    pub async fn patch(&self, path: &str, form: Patch, body: &Value) -> kube::Result<()> {
        let request = build(Method::PATCH, path, Some(form.media_type()), Some(body))?;
        self.0.request::<IgnoredAny>(request).await.map(drop)
    }

    /// Deletes an object or a collection with DeleteOptions; false if it was not there.
    ///
    /// # Errors
    /// When the server cannot be reached or says no.
    pub async fn delete(&self, path: &str, options: &Value) -> kube::Result<bool> {
        let mut options = options.clone();
        if let Some(map) = options.as_object_mut() {
            map.insert("kind".to_owned(), json!("DeleteOptions"));
            map.insert("apiVersion".to_owned(), json!("v1"));
        }
        let request = build(
            Method::DELETE,
            path,
            Some("application/json"),
            Some(&options),
        )?;
        optional(self.0.request::<IgnoredAny>(request).await).map(|answer| answer.is_some())
    }
}

/// The DeleteOptions that delete this very object and no later one of its name.
#[must_use]
pub fn exactly(uid: &str) -> Value {
    json!({ "preconditions": { "uid": uid } })
}

fn build(
    method: Method,
    path: &str,
    content_type: Option<&str>,
    body: Option<&Value>,
) -> kube::Result<Request<Vec<u8>>> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(content_type) = content_type {
        request = request.header(header::CONTENT_TYPE, content_type);
    }
    let bytes = match body {
        Some(body) => serde_json::to_vec(body).map_err(kube::Error::SerdeError)?,
        None => Vec::new(),
    };
    request.body(bytes).map_err(kube::Error::HttpError)
}

fn optional<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The server's answer, if it was one.
#[must_use]
pub fn status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// 404.
#[must_use]
pub fn is_not_found(error: &kube::Error) -> bool {
    status(error).is_some_and(|status| status.code == 404)
}

/// 409: another version or uid than the request expected, or an object of that name exists.
#[must_use]
pub fn is_conflict(error: &kube::Error) -> bool {
    status(error).is_some_and(|status| status.code == 409)
}

/// 409 because an object of that name exists.
#[must_use]
pub fn is_already_exists(error: &kube::Error) -> bool {
    is_conflict(error) && status(error).is_some_and(|status| status.reason == "AlreadyExists")
}

/// 410: the resource version or the continue token is too old.
#[must_use]
pub fn is_gone(error: &kube::Error) -> bool {
    status(error).is_some_and(|status| status.code == 410)
}

/// 403 because the namespace is being deleted: there is no point in trying again.
#[must_use]
pub fn is_namespace_terminating(error: &kube::Error) -> bool {
    status(error).is_some_and(|status| {
        status.code == 403
            && status.details.as_ref().is_some_and(|details| {
                details
                    .causes
                    .iter()
                    .any(|cause| cause.reason == "NamespaceTerminating")
            })
    })
}
