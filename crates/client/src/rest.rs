//! Requests by path with JSON bodies, for code that works on many kinds of objects.
//!
//! ```ignore
//! let api = Rest::new(client);
//! let node: Option<Node> = api.get("/api/v1/nodes/n1").await?;       // None: not found
//! api.patch("/api/v1/nodes/n1", Patch::Merge, &json!({"spec": {"unschedulable": true}})).await?;
//! let gone = !api.delete("/api/v1/namespaces/a/pods/p", &json!({"gracePeriodSeconds": 0})).await?;
//! ```

use http::{Method, Request, header};
use kube::Client;
use serde::{de::DeserializeOwned, de::IgnoredAny};
use serde_json::{Value, json};

use crate::errors::is_not_found;

/// The media type of a patch, and with it how the server merges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// JSON merge patch, RFC 7386: lists are replaced.
    Merge,
    /// Strategic merge patch: lists are merged by their keys. Built-in kinds only.
    Strategic,
    /// JSON patch, RFC 6902: a list of operations.
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

/// Sends requests by path through a `kube::Client`. Cheap to clone.
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
    /// When the server cannot be reached or refuses the request.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> kube::Result<Option<T>> {
        optional(self.0.request(build(Method::GET, path, None, None)?).await)
    }

    /// Reads only the metadata of an object; `None` if it is not there.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
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
    /// When the server cannot be reached or refuses the request.
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
    /// When the server cannot be reached or refuses the request.
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
    /// When the server cannot be reached or refuses the request.
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

    /// Patches an object; the reply is parsed no further than its end.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
    pub async fn patch(&self, path: &str, form: Patch, body: &Value) -> kube::Result<()> {
        let request = build(Method::PATCH, path, Some(form.media_type()), Some(body))?;
        self.0.request::<IgnoredAny>(request).await.map(drop)
    }

    /// Deletes an object or a collection with DeleteOptions; false if it was not there.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
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

/// DeleteOptions with a precondition: only the object with this uid is deleted, no later one of the same name.
#[must_use]
pub fn uid_precondition(uid: &str) -> Value {
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
