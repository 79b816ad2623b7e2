//! Events: `audit.k8s.io/v1` Event, one JSON line each.

use std::collections::BTreeMap;

use pandaemon_machinery::{Status, status::Details};
use serde::Serialize;
use serde_json::Value;

use super::policy::{Level, Stage};
use crate::auth::User;

/// Size of an event in bytes from which it loses its objects.
const MAX_EVENT: usize = 100 << 10;

/// The kind of events in the log.
pub(super) const KIND: &str = "Event";
/// Group and version of [`KIND`].
pub(super) const API_VERSION: &str = "audit.k8s.io/v1";

/// An event of a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    pub kind: &'static str,
    pub api_version: &'static str,
    pub level: Level,
    #[serde(rename = "auditID")]
    pub audit_id: &'a str,
    pub stage: Stage,
    #[serde(rename = "requestURI")]
    pub request_uri: &'a str,
    pub verb: &'a str,
    pub user: UserInfo<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<UserInfo<'a>>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "<[String]>::is_empty")]
    pub source_ips: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<&'a ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<&'a ResponseStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_object: Option<&'a Value>,
    pub request_received_timestamp: &'a str,
    pub stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Upstream: `authentication.k8s.io/v1` UserInfo.
#[derive(Debug, Serialize)]
pub(super) struct UserInfo<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: &'a BTreeMap<String, Vec<String>>,
}

impl<'a> UserInfo<'a> {
    pub(super) fn of(user: &'a User) -> Self {
        Self {
            username: &user.name,
            uid: &user.uid,
            groups: &user.groups,
            extra: &user.extra,
        }
    }
}

/// The object that a request is about.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectRef {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

/// The outcome of a request.
#[derive(Debug, Serialize)]
pub(super) struct ResponseStatus {
    metadata: serde_json::Map<String, Value>,
    #[serde(skip_serializing_if = "String::is_empty")]
    status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Box<Details>>,
    code: u16,
}

impl ResponseStatus {
    /// The outcome with this code, and the Status of a failure.
    pub(super) fn new(code: u16, failure: Option<&Status>) -> Self {
        let failure = failure.cloned();
        let (status, message, reason, details) = match failure {
            Some(it) => (it.status, it.message, it.reason, it.details),
            None => Default::default(),
        };
        Self {
            metadata: serde_json::Map::new(),
            status,
            message,
            reason,
            details,
            code,
        }
    }

    /// Without the text of a refusal of what the request says, which may quote a part of it.
    pub(super) fn without_quotations(self) -> Self {
        match self.code {
            400 | 422 => Self {
                message: String::new(),
                details: None,
                ..self
            },
            _ => self,
        }
    }

    /// The outcome of a request whose client has gone before it was answered.
    pub(super) fn closed_early() -> Self {
        let mut new = Self::new(200, None);
        new.status = "Success".into();
        new.message = "Connection closed early".into();
        new
    }

    /// The outcome of a request whose handler panicked.
    pub(super) fn panicked() -> Self {
        let status = Status::failure(500, "InternalError", "APIServer panic'd");
        Self::new(500, Some(&status))
    }
}

impl Event<'_> {
    /// The line of this event. One that is too long loses the object of the response, then that of
    /// the request.
    pub(super) fn line(mut self) -> Vec<u8> {
        let mut line = self.encoded();
        for part in 0..2 {
            if line.len() <= MAX_EVENT {
                break;
            }
            let dropped = match part {
                0 => self.response_object.take(),
                _ => self.request_object.take(),
            };
            if dropped.is_some() {
                let (key, value) = ("audit.k8s.io/truncated", "true");
                self.annotations.insert(key.to_owned(), value.to_owned());
                line = self.encoded();
            }
        }
        line
    }

    fn encoded(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}
