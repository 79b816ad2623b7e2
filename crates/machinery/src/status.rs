//! `metav1.Status`: every error of the API, and the response to a deletion. The constructors and
//! their texts are those of `k8s.io/apimachinery/pkg/api/errors`.

use serde::{Deserialize, Serialize};

use crate::{
    bounds::cut_off,
    kind::{Kind, qualify},
};

/// One entry of `details.causes` (`metav1.StatusCause`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Cause {
    /// Machine-readable kind of the cause, such as `FieldValueRequired`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Explanation for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Path of the field at fault, such as `spec.containers[0].image`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// `metav1.StatusDetails`: the object at fault, and the causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// Name of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group of the resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Resource (plural) or kind, as upstream fills it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// UID of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// One cause for each fault that was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// Seconds after which a client should try again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if asks for it"
)]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// A response of kind `Status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    pub kind: String,
    /// Always `v1`.
    pub api_version: String,
    /// Always empty; upstream writes it too.
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// `Success` or `Failure`.
    pub status: String,
    /// Explanation for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Reason for a program (`NotFound`, `Invalid`, ...; upstream's `StatusReason`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The object at fault, and the causes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<Details>>,
    /// HTTP status code.
    #[serde(default)]
    pub code: u16,
}

/// The result of a function that can refuse a request.
pub type Result<T, E = Box<Status>> = std::result::Result<T, E>;

impl Status {
    /// A failure with this HTTP status code, reason and message, and without details.
    #[must_use]
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            kind: "Status".into(),
            api_version: "v1".into(),
            metadata: serde_json::Map::new(),
            status: "Failure".into(),
            message: message.into(),
            reason: reason.into(),
            details: None,
            code,
        })
    }

    /// A success with code 200, such as the response to a completed DELETE.
    #[must_use]
    pub fn success(details: Option<Details>) -> Box<Self> {
        let mut status = Self::failure(200, "", "");
        status.status = "Success".into();
        status.details = details.map(Box::new);
        status
    }

    /// The same status with these details.
    #[must_use]
    pub fn with_details(mut self: Box<Self>, details: Details) -> Box<Self> {
        self.details = Some(Box::new(details));
        self
    }

    /// 429 for a client that should try again in a second.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>) -> Box<Self> {
        Self::failure(429, "TooManyRequests", message).with_details(Details {
            retry_after_seconds: 1,
            ..Details::default()
        })
    }

    /// Details that name an object.
    fn details_of(kind: &Kind, name: &str) -> Details {
        Details {
            name: name.into(),
            group: kind.group.clone(),
            kind: kind.plural.clone(),
            ..Details::default()
        }
    }

    /// 404 `daemonsets.apps "x" not found`.
    #[must_use]
    pub fn not_found(kind: &Kind, name: &str) -> Box<Self> {
        let text = format!("{} \"{name}\" not found", kind.qualified_resource());
        Self::failure(404, "NotFound", text).with_details(Self::details_of(kind, name))
    }

    /// 404 for a path that is not served.
    #[must_use]
    pub fn path_not_found() -> Box<Self> {
        Self::failure(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with_details(Details::default())
    }

    /// 409 `daemonsets.apps "x" already exists`.
    #[must_use]
    pub fn already_exists(kind: &Kind, name: &str) -> Box<Self> {
        let text = format!("{} \"{name}\" already exists", kind.qualified_resource());
        Self::failure(409, "AlreadyExists", text).with_details(Self::details_of(kind, name))
    }

    /// 409 `Operation cannot be fulfilled on daemonsets.apps "x": WHY`.
    #[must_use]
    pub fn conflict(kind: &Kind, name: &str, why: &str) -> Box<Self> {
        let resource = kind.qualified_resource();
        let text = format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}");
        Self::failure(409, "Conflict", text).with_details(Self::details_of(kind, name))
    }

    /// 409 for a write with a stale `resourceVersion` (upstream's `OptimisticLockErrorMsg`).
    #[must_use]
    pub fn modified_since_read(kind: &Kind, name: &str) -> Box<Self> {
        Self::conflict(
            kind,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 400 `BadRequest` with this message.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Box<Self> {
        Self::failure(400, "BadRequest", message)
    }

    /// 403 `daemonsets.apps "x" is forbidden: WHY`.
    #[must_use]
    pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Box<Self> {
        let resource = kind.qualified_resource();
        let text = if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} \"{name}\" is forbidden: {why}")
        };
        Self::failure(403, "Forbidden", text).with_details(Self::details_of(kind, name))
    }

    /// 405 for a method that the resource does not support.
    #[must_use]
    pub fn method_not_allowed() -> Box<Self> {
        Self::failure(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(Details::default())
    }

    /// 410 for a resource version or continue token that is too old (upstream's
    /// `NewResourceExpired`).
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Box<Self> {
        Self::failure(410, "Expired", message)
    }

    /// 413 for a request body or patch that is too large.
    #[must_use]
    pub fn too_large(message: impl Into<String>) -> Box<Self> {
        Self::failure(413, "RequestEntityTooLarge", message)
    }

    /// 500 `Internal error occurred: MESSAGE`.
    #[must_use]
    pub fn internal(message: impl std::fmt::Display) -> Box<Self> {
        Self::failure(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
    }

    /// 422 `DaemonSet.apps "x" is invalid: [a, b]`, with a cause for each error.
    #[must_use]
    pub fn invalid(kind: &Kind, name: &str, errors: &[crate::validation::FieldError]) -> Box<Self> {
        Self::invalid_kind(&kind.group, &kind.kind, name, errors)
    }

    /// As [`Status::invalid`], for objects of a kind that is not served, such as options of a
    /// subresource.
    #[must_use]
    pub fn invalid_kind(
        group: &str,
        kind: &str,
        name: &str,
        errors: &[crate::validation::FieldError],
    ) -> Box<Self> {
        let name = &*cut_off(name);
        // The message names an error once, the causes as often as it was found.
        let mut texts: Vec<String> = Vec::new();
        for text in errors.iter().map(ToString::to_string) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = qualify(kind, group);
        let text = format!("{qualified} \"{name}\" is invalid: {list}");
        let causes = errors
            .iter()
            .map(|e| Cause {
                reason: e.reason().into(),
                message: e.detail_text(),
                field: e.field.clone(),
            })
            .collect();
        Self::failure(422, "Invalid", text).with_details(Details {
            name: name.into(),
            group: group.into(),
            kind: kind.into(),
            causes,
            ..Details::default()
        })
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}
