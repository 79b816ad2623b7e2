//! Requests as bytes: the few that pretend nodes and the benchmark send, without typed objects in between.

use bytes::Bytes;
use http::{Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt as _;
use kube::{Client, client, core::Status};
use serde::{Serialize, de::DeserializeOwned};

/// Kinds of bodies.
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

/// The bytes of an object.
pub(crate) fn bytes(object: &impl Serialize) -> kube::Result<Vec<u8>> {
    serde_json::to_vec(object).map_err(kube::Error::SerdeError)
}

/// Sends an object and reads only as much of the answer as `T` holds.
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

/// Sends an object; the answer is of no interest and thrown away unread.
pub(crate) async fn tell(
    client: &Client,
    method: Method,
    path: &str,
    body: Body,
    object: Vec<u8>,
) -> kube::Result<()> {
    let mut answer = exchange(client, request(method, path, body, object)?).await?;
    // A connection can be used again when its answer has been taken.
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

/// Begins to read what has no end.
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

/// The answer, if the server did what was asked.
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

/// The HTTP status that the server answered, if it did.
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
