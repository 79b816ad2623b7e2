//! Requests by path with JSON bodies, for code that works on many kinds of objects.
//!
//! ```ignore
//! let api = Rest::new(client);
//! let node: Option<Node> = api.get("/api/v1/nodes/n1").await?;       // None: not found
//! api.patch("/api/v1/nodes/n1", Patch::Merge, &json!({"spec": {"unschedulable": true}})).await?;
//! let found = api.delete("/api/v1/namespaces/a/pods/p", &json!({"gracePeriodSeconds": 0})).await?;
//! ```
//!
//! Every request has a timeout. Of a reply only the fields of the caller's type are decoded.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response,
    header::{self, HeaderName},
};
use http_body_util::BodyExt as _;
use kube::{
    Client,
    client::Body,
    core::{Status, response::StatusDetails},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::errors::{TimedOut, is_not_found};

/// The media type of an object.
pub const JSON: &str = "application/json";
/// How long a request may take, its reply included.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const METADATA: HeaderValue = HeaderValue::from_static(
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
);
const METADATA_LIST: HeaderValue = HeaderValue::from_static(
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
);

const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");
const IMPERSONATE_GROUP: HeaderName = HeaderName::from_static("impersonate-group");

/// The media type of a patch, and with it how the server merges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patch {
    /// JSON merge patch, RFC 7386: lists are replaced.
    Merge,
    /// Strategic merge patch: lists are merged by their keys. Built-in kinds only.
    Strategic,
    /// Server-side apply: the fields that a manager has set. The path names the manager
    /// (`?fieldManager=`).
    Apply,
}

impl Patch {
    /// The media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Apply => "application/apply-patch+yaml",
        }
    }
}

/// Sends requests by path through a `kube::Client`. Cheap to clone.
#[derive(Clone)]
pub struct Rest {
    client: Client,
    timeout: Duration,
    extensions: Option<Extensions>,
    /// Shared, and not in the value itself, which many futures hold.
    headers: Arc<HeaderMap>,
}

impl Rest {
    /// Wraps a client. A request may take 30 s.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self {
            client,
            timeout: REQUEST_TIMEOUT,
            extensions: None,
            headers: Arc::default(),
        }
    }

    /// Gives requests another timeout. `Duration::MAX` is for clients that have timeouts
    /// themselves.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Adds a value to the extensions of every HTTP request, for the layers of the client.
    #[must_use]
    pub fn extension<E: Clone + Send + Sync + 'static>(mut self, value: E) -> Self {
        self.extensions.get_or_insert_default().insert(value);
        self
    }

    /// Sends requests as another user of one group, which the client's own user must be allowed to
    /// impersonate.
    ///
    /// # Errors
    /// When a name cannot be in a header.
    pub fn impersonating(&self, user: &str, group: &str) -> kube::Result<Self> {
        let value = |name: &str| {
            let value = HeaderValue::from_str(name).map_err(http::Error::from);
            value.map_err(kube::Error::HttpError)
        };
        let mut headers = HeaderMap::clone(&self.headers);
        headers.insert(IMPERSONATE_USER, value(user)?);
        headers.insert(IMPERSONATE_GROUP, value(group)?);
        Ok(Self {
            headers: Arc::new(headers),
            ..self.clone()
        })
    }

    /// The client below.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// Reads an object, or a list; `None` if it is not there.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> kube::Result<Option<T>> {
        optional(self.decoded(get(path)?).await)
    }

    /// Reads only the metadata of an object; `None` if it is not there.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
    pub async fn get_metadata<T: DeserializeOwned>(&self, path: &str) -> kube::Result<Option<T>> {
        self.get_as(path, METADATA).await
    }

    /// Reads only the metadata of a collection's objects; `None` if the kind is not served.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
    pub async fn get_metadata_list<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> kube::Result<Option<T>> {
        self.get_as(path, METADATA_LIST).await
    }

    async fn get_as<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: HeaderValue,
    ) -> kube::Result<Option<T>> {
        let mut request = get(path)?;
        request.headers_mut().insert(header::ACCEPT, accept);
        optional(self.decoded(request).await)
    }

    /// Creates an object in a collection, or posts to a subresource. `IgnoredAny` reads nothing of
    /// the reply.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
    pub async fn create<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> kube::Result<T> {
        let body = bytes(body)?;
        self.send(Method::POST, path, JSON, body).await
    }

    /// Replaces an object. `IgnoredAny` reads nothing of the reply.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
    pub async fn replace<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> kube::Result<T> {
        let body = bytes(body)?;
        self.send(Method::PUT, path, JSON, body).await
    }

    /// Patches an object; the reply is not decoded.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
    pub async fn patch(&self, path: &str, form: Patch, body: &impl Serialize) -> kube::Result<()> {
        let body = bytes(body)?;
        self.send_only(Method::PATCH, path, form.media_type(), body)
            .await
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
        let body = bytes(&options)?;
        let sent = self.send_only(Method::DELETE, path, JSON, body).await;
        optional(sent).map(|reply| reply.is_some())
    }

    /// Sends an encoded body and decodes the reply.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
    pub async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> kube::Result<T> {
        self.decoded(request(method, path, media_type, body)?).await
    }

    /// Sends an encoded body; the reply is read, so that the connection can be used again, and not
    /// decoded.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
    pub async fn send_only(
        &self,
        method: Method,
        path: &str,
        media_type: &'static str,
        body: Vec<u8>,
    ) -> kube::Result<()> {
        let request = self.extended(request(method, path, media_type, body)?);
        let work = async {
            let mut reply = exchange(&self.client, request).await?;
            while let Some(frame) = reply.body_mut().frame().await {
                frame?;
            }
            Ok(())
        };
        self.limited(Box::pin(work)).await
    }

    /// Posts nothing to a path, and reads the reply part by part. Each part may take as long as a
    /// request.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses the request.
    pub async fn post_for_parts(&self, path: &str) -> kube::Result<Parts> {
        let request = self.extended(request(Method::POST, path, JSON, Vec::new())?);
        let work = exchange(&self.client, request);
        let reply = self.limited(Box::pin(work)).await?;
        Ok(Parts {
            body: reply.into_body(),
            timeout: self.timeout,
        })
    }

    async fn decoded<T: DeserializeOwned>(&self, request: Request<Body>) -> kube::Result<T> {
        let request = self.extended(request);
        let reply = self.limited(Box::pin(read(&self.client, request))).await?;
        serde_json::from_slice(&reply).map_err(kube::Error::SerdeError)
    }

    fn extended(&self, mut request: Request<Body>) -> Request<Body> {
        if let Some(extensions) = &self.extensions {
            request.extensions_mut().extend(extensions.clone());
        }
        for (name, value) in &*self.headers {
            request.headers_mut().insert(name, value.clone());
        }
        request
    }

    /// Boxed, as the layers above would hold the whole request several times.
    async fn limited<T>(
        &self,
        work: Pin<Box<impl Future<Output = kube::Result<T>>>>,
    ) -> kube::Result<T> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(TimedOut(self.timeout).into()),
        }
    }
}

/// A reply that is read part by part.
#[derive(Debug)]
pub struct Parts {
    body: Body,
    timeout: Duration,
}

impl Parts {
    /// The next part; `None` after the last one.
    ///
    /// # Errors
    /// When the reply breaks off, or no part comes in time.
    pub async fn next(&mut self) -> kube::Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(self.timeout, self.body.frame()).await;
            match frame.map_err(|_| TimedOut(self.timeout))? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(part) = frame?.into_data() {
                        return Ok(Some(part));
                    }
                }
            }
        }
    }
}

/// DeleteOptions with a precondition: only the object with this uid is deleted, no later one of the
/// same name.
#[must_use]
pub fn uid_precondition(uid: &str) -> Value {
    json!({ "preconditions": { "uid": uid } })
}

fn get(path: &str) -> kube::Result<Request<Body>> {
    let request = Request::get(path).body(Body::empty());
    request.map_err(kube::Error::HttpError)
}

fn request(
    method: Method,
    path: &str,
    media_type: &'static str,
    body: Vec<u8>,
) -> kube::Result<Request<Body>> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::CONTENT_TYPE, media_type);
    request.body(body.into()).map_err(kube::Error::HttpError)
}

fn bytes(object: &impl Serialize) -> kube::Result<Vec<u8>> {
    serde_json::to_vec(object).map_err(kube::Error::SerdeError)
}

fn optional<T>(result: kube::Result<T>) -> kube::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sends a request and reads the whole reply.
pub(crate) async fn read(client: &Client, request: Request<Body>) -> kube::Result<Bytes> {
    let reply = exchange(client, request).await?;
    Ok(reply.into_body().collect().await?.to_bytes())
}

/// Sends a request. A reply that says no becomes an error, with the `Status` in it or one made of
/// its text.
pub(crate) async fn exchange(
    client: &Client,
    request: Request<Body>,
) -> kube::Result<Response<Body>> {
    let reply = client.send(request).await?;
    if reply.status().is_success() {
        return Ok(reply);
    }
    let code = reply.status().as_u16();
    let retry_after = retry_after(reply.headers());
    let text = reply.into_body().collect().await?.to_bytes();
    let mut status: Status = serde_json::from_slice(&text).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&text);
        Status::failure(text.trim(), "NotAStatus")
    });
    if let Some(seconds) = retry_after {
        let details = status.details.get_or_insert_with(|| StatusDetails {
            name: String::new(),
            group: String::new(),
            kind: String::new(),
            uid: String::new(),
            causes: Vec::new(),
            retry_after_seconds: 0,
        });
        details.retry_after_seconds = details.retry_after_seconds.max(seconds);
    }
    Err(kube::Error::Api(status.with_code(code).boxed()))
}

/// The seconds of a `Retry-After` header.
fn retry_after(headers: &HeaderMap) -> Option<u32> {
    headers
        .get(header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::StreamExt as _;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use serde::de::IgnoredAny;
    use tower::BoxError;

    use super::*;
    use crate::errors;

    fn client(reply: fn() -> Response<Body>) -> Rest {
        let service =
            tower::service_fn(move |_: Request<Body>| async move { Ok::<_, Infallible>(reply()) });
        Rest::new(Client::new(service, "default"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_times_out() {
        let service = tower::service_fn(|_: Request<Body>| {
            std::future::pending::<Result<Response<Body>, Infallible>>()
        });
        let api = Rest::new(Client::new(service, "default"));
        let began = tokio::time::Instant::now();
        let error = api.get::<IgnoredAny>("/api").await.unwrap_err();
        assert_eq!(began.elapsed(), REQUEST_TIMEOUT);
        assert!(error.to_string().contains("no answer"), "{error}");
    }

    #[tokio::test]
    async fn a_refusal_says_when_to_come_again() {
        let api = client(|| {
            let reply = Response::builder().status(429).header("Retry-After", "7");
            reply.body(Body::from(b"slow down".to_vec())).unwrap()
        });
        let error = api.get::<IgnoredAny>("/api").await.unwrap_err();
        assert_eq!(errors::code(&error), Some(429));
        assert_eq!(errors::retry_after(&error), Some(Duration::from_secs(7)));
        assert!(error.to_string().contains("slow down"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_is_read_in_parts_and_its_silence_is_given_up() {
        let service = tower::service_fn(|_: Request<Body>| async {
            let part = |part: &'static str| Ok::<_, BoxError>(Frame::data(Bytes::from(part)));
            let parts = futures::stream::iter(["one", "two"].map(part));
            let parts = parts.chain(futures::stream::pending());
            Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(parts))))
        });
        let api = Rest::new(Client::new(service, "default"));
        let mut parts = api.post_for_parts("/").await.unwrap();
        assert_eq!(parts.next().await.unwrap().unwrap(), "one");
        assert_eq!(parts.next().await.unwrap().unwrap(), "two");
        let began = tokio::time::Instant::now();
        assert!(parts.next().await.is_err());
        assert_eq!(began.elapsed(), REQUEST_TIMEOUT);
        let refuses = client(|| Response::builder().status(409).body(Body::empty()).unwrap());
        let refused = refuses.post_for_parts("/").await.unwrap_err();
        assert_eq!(errors::code(&refused), Some(409));
        let empty = client(|| Response::new(Body::empty()));
        let mut empty = empty.post_for_parts("/").await.unwrap();
        assert!(empty.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_not_there_is_none_and_no_error() {
        let api = client(|| Response::builder().status(404).body(Body::empty()).unwrap());
        assert!(api.get::<IgnoredAny>("/api").await.unwrap().is_none());
        assert!(!api.delete("/api", &json!({})).await.unwrap());
        assert!(api.create::<IgnoredAny>("/api", &json!({})).await.is_err());
    }
}
