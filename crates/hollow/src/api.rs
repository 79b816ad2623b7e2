//! Requests with bodies that are serialized already, for hollow nodes and the benchmark.

use bytes::Bytes;
use http::{Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use kube::{Client, client, core::Status};
use serde::{Serialize, de::DeserializeOwned};

/// The content type of a request's body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body {
    Json,
    MergePatch,
    StrategicPatch,
}

impl Body {
    const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::MergePatch => "application/merge-patch+json",
            Self::StrategicPatch => "application/strategic-merge-patch+json",
        }
    }
}

/// Serializes an object as JSON.
pub(crate) fn bytes(object: &impl Serialize) -> kube::Result<Vec<u8>> {
    serde_json::to_vec(object).map_err(kube::Error::SerdeError)
}

/// Sends an object and decodes the fields of the response that `T` has.
pub(crate) async fn send<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: &str,
    body: Body,
    object: Vec<u8>,
) -> kube::Result<T> {
    let answer = exchange(client, request(method, path, body, object)?).await?;
    serde_json::from_slice(&collect(answer).await?).map_err(kube::Error::SerdeError)
}

/// Sends an object and drops the response's body.
pub(crate) async fn tell(
    client: &Client,
    method: Method,
    path: &str,
    body: Body,
    object: Vec<u8>,
) -> kube::Result<()> {
    let mut answer = exchange(client, request(method, path, body, object)?).await?;
    // The connection can be reused once the body was read.
    while let Some(frame) = answer.body_mut().frame().await {
        frame?;
    }
    Ok(())
}

/// Reads an object or a list.
pub(crate) async fn get<T: DeserializeOwned>(client: &Client, path: &str) -> kube::Result<T> {
    let answer = exchange(client, get_request(path)?).await?;
    serde_json::from_slice(&collect(answer).await?).map_err(kube::Error::SerdeError)
}

/// Starts a watch and returns the response's body.
pub(crate) async fn stream(client: &Client, path: &str) -> kube::Result<client::Body> {
    Ok(exchange(client, get_request(path)?).await?.into_body())
}

fn request(
    method: Method,
    path: &str,
    body: Body,
    object: Vec<u8>,
) -> kube::Result<Request<client::Body>> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(CONTENT_TYPE, body.content_type());
    request.body(object.into()).map_err(kube::Error::HttpError)
}

fn get_request(path: &str) -> kube::Result<Request<client::Body>> {
    let request = Request::get(path).body(client::Body::empty());
    request.map_err(kube::Error::HttpError)
}

/// Sends a request. A status other than 2xx is an error with the server's `Status`.
async fn exchange(
    client: &Client,
    request: Request<client::Body>,
) -> kube::Result<Response<client::Body>> {
    let answer = client.send(request).await?;
    if answer.status().is_success() {
        return Ok(answer);
    }
    let code = answer.status().as_u16();
    let text = collect(answer).await?;
    let status = serde_json::from_slice(&text).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(&text);
        Status::failure(text.trim(), "NotAStatus")
    });
    Err(kube::Error::Api(status.with_code(code).boxed()))
}

async fn collect(answer: Response<client::Body>) -> kube::Result<Bytes> {
    Ok(answer.into_body().collect().await?.to_bytes())
}

/// The HTTP status of an error response; `None` if no response came.
pub(crate) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// Whether the same request may succeed later.
pub(crate) fn is_transient(error: &kube::Error) -> bool {
    code(error).is_none_or(|code| matches!(code, 408 | 409 | 429 | 500..))
}
