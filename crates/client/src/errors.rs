//! What a failed request means. Upstream: `k8s.io/apimachinery/pkg/api/errors`.

use kube::core::Status;

/// The `Status` that the server answered with; `None` if no answer came.
#[must_use]
pub fn status(error: &kube::Error) -> Option<&Status> {
    match error {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
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
