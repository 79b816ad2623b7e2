//! CertificateSigningRequests, as these controllers see them.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pandaemon_client::object_meta::{Object, ObjectMeta};
use serde::{Deserialize, Serialize};

/// The collection of requests.
pub(super) const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// A request for a certificate.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Request {
    pub(super) metadata: ObjectMeta,
    pub(super) spec: Spec,
    pub(super) status: Status,
}

/// What is asked for, and by whom.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    /// The request, in PEM and then in base64.
    pub(super) request: String,
    pub(super) signer_name: String,
    pub(super) usages: Vec<String>,
    pub(super) expiration_seconds: Option<u64>,
    pub(super) username: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

/// What has become of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) conditions: Vec<Condition>,
    /// The certificate, in PEM and then in base64.
    pub(super) certificate: String,
}

/// `Approved`, `Denied` or `Failed`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) of_type: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_update_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_transition_time: Option<String>,
}

impl Object for Request {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Request {
    /// The request, in PEM.
    pub(super) fn pem(&self) -> Vec<u8> {
        STANDARD.decode(&self.spec.request).unwrap_or_default()
    }

    /// The condition of a type, if it has it.
    pub(super) fn condition(&self, of_type: &str) -> Option<&Condition> {
        let mut conditions = self.status.conditions.iter();
        conditions.find(|condition| condition.of_type == of_type)
    }

    /// Whether somebody has decided about it.
    pub(super) fn is_decided(&self) -> bool {
        ["Approved", "Denied"]
            .iter()
            .any(|of_type| self.condition(of_type).is_some())
    }

    /// The conditions with one more, which is true.
    pub(super) fn with(&self, of_type: &str, reason: &str, message: &str) -> Vec<Condition> {
        let mut conditions = self.status.conditions.clone();
        conditions.push(Condition {
            of_type: of_type.to_owned(),
            status: "True".to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_update_time: None,
            last_transition_time: None,
        });
        conditions
    }
}
