//! Requests as bytes: the few that pretend nodes send, without typed objects in between.

use http::{Method, Request, header::CONTENT_TYPE};
use kube::Client;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::Value;

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

/// Sends an object and reads only as much of the answer as `T` holds.
pub(crate) async fn send<T: DeserializeOwned>(
    client: &Client,
    method: Method,
    path: &str,
    body: Body,
    object: &Value,
) -> kube::Result<T> {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(CONTENT_TYPE, body.content_type());
    let bytes = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    client
        .request(request.body(bytes).map_err(kube::Error::HttpError)?)
        .await
}

/// Sends an object; the answer is of no interest.
pub(crate) async fn tell(
    client: &Client,
    method: Method,
    path: &str,
    body: Body,
    object: &Value,
) -> kube::Result<()> {
    send::<IgnoredAny>(client, method, path, body, object)
        .await
        .map(drop)
}

/// A GET request.
pub(crate) fn get(path: &str) -> kube::Result<Request<Vec<u8>>> {
    Request::get(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)
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
