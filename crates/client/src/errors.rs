//! What a failed request means. Upstream: `k8s.io/apimachinery/pkg/api/errors`.

use std::time::Duration;

use kube::core::Status;

/// A request was given up because no answer came in time. The server may have carried it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no answer from the API server within {0:?}")]
pub struct TimedOut(pub Duration);

impl From<TimedOut> for kube::Error {
    fn from(error: TimedOut) -> Self {
        Self::Service(Box::new(error))
    }
}

/// The `Status` that the server answered with; `None` if no answer came.
#[must_use]
pub fn status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// The HTTP status of the answer; `None` if no answer came.
#[must_use]
pub fn code(error: &kube::Error) -> Option<u16> {
    status(error).map(|status| status.code)
}

/// Whether the same request may succeed later.
#[must_use]
pub fn is_transient(error: &kube::Error) -> bool {
    code(error).is_none_or(|code| matches!(code, 408 | 409 | 429 | 500..))
}

/// How long the server asks to wait before the next request (`Retry-After`).
#[must_use]
pub fn retry_after(error: &kube::Error) -> Option<Duration> {
    let seconds = status(error)?.details.as_ref()?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// 504: the server has not reached the resource version that the request names, and may never do so
/// after a restore. Upstream: `CauseTypeResourceVersionTooLarge`.
#[must_use]
pub fn is_too_large_version(error: &kube::Error) -> bool {
    status(error).is_some_and(|status| {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let named = |reason: &str| reason == "ResourceVersionTooLarge";
        status.code == 504
            && (causes.into_iter().any(|cause| named(&cause.reason))
                || status.message.contains("Too large resource version"))
    })
}

/// 404: the object or the collection does not exist.
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
