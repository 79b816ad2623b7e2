//! Approves the requests of nodes: their first client certificate and its renewals, if an access
//! review allows it, and their serving certificates, if the node itself asks. Upstream:
//! `pkg/controller/certificates/approver`; that of serving certificates is ours.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use futures::FutureExt as _;
use kube::Client;
use pandaemon_certificates::{request, signers};
use pandaemon_client::{
    errors,
    rest::{Patch, Rest},
};
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use serde_json::json;

use super::{
    request::{REQUESTS, Request},
    request_loop,
};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Why a request may be approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A node asks for its next client certificate.
    SelfNodeClient,
    /// Somebody asks for a client certificate of a node.
    NodeClient,
    /// A node asks for its serving certificate.
    OwnServing,
}

impl Kind {
    /// The subresource that the requester must be allowed to create; `None` if it needs no right.
    const fn right(self) -> Option<&'static str> {
        match self {
            Self::SelfNodeClient => Some("selfnodeclient"),
            Self::NodeClient => Some("nodeclient"),
            Self::OwnServing => None,
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::SelfNodeClient => {
                "Auto approving self kubelet client certificate after SubjectAccessReview."
            }
            Self::NodeClient => {
                "Auto approving kubelet client certificate after SubjectAccessReview."
            }
            Self::OwnServing => "Auto approving kubelet serving certificate of the node that asks.",
        }
    }
}

/// What a request is, in the order in which it is tried.
fn kinds(request: &Request) -> Vec<Kind> {
    let Ok(parsed) = request::parse(&request.pem()) else {
        return Vec::new();
    };
    let spec = &request.spec;
    let is_node = spec.groups.iter().any(|group| group == signers::NODES);
    let is_own = is_node && spec.username == parsed.common_name;
    match spec.signer_name.as_str() {
        signers::KUBE_APISERVER_CLIENT_KUBELET
            if signers::kubelet_client(&parsed, &spec.usages).is_ok() =>
        {
            match (is_own, is_node) {
                (true, _) => vec![Kind::SelfNodeClient, Kind::NodeClient],
                // Whatever its rights are.
                (false, true) => Vec::new(),
                (false, false) => vec![Kind::NodeClient],
            }
        }
        signers::KUBELET_SERVING
            if is_own && signers::kubelet_serving(&parsed, &spec.usages).is_ok() =>
        {
            vec![Kind::OwnServing]
        }
        _ => Vec::new(),
    }
}

/// Whether nobody has decided about a request that may be one of these.
fn is_due(request: &Request) -> bool {
    let signer = request.spec.signer_name.as_str();
    let is_ours = [
        signers::KUBE_APISERVER_CLIENT_KUBELET,
        signers::KUBELET_SERVING,
    ];
    request.status.certificate.is_empty() && !request.is_decided() && is_ours.contains(&signer)
}

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(client: Client, stop: Shutdown) -> anyhow::Result<()> {
    let rest = Rest::new(client.clone());
    let act = move |request| approve(rest.clone(), request).boxed();
    request_loop::run(client, stop, is_due, act).await
}

async fn approve(rest: Rest, request: Arc<Request>) -> anyhow::Result<()> {
    let kinds = kinds(&request);
    for kind in &kinds {
        let may = match kind.right() {
            None => true,
            Some(right) => is_allowed(&rest, &request, right).await?,
        };
        if may {
            return write(&rest, &request, kind.message()).await;
        }
    }
    match kinds.is_empty() {
        true => Ok(()),
        false => bail!("recognized as {kinds:?}, but the subject access review was not approved"),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Review {
    status: ReviewStatus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReviewStatus {
    allowed: bool,
}

async fn is_allowed(rest: &Rest, request: &Request, right: &str) -> anyhow::Result<bool> {
    let spec = &request.spec;
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {
            "user": spec.username, "uid": spec.uid, "groups": spec.groups, "extra": spec.extra,
            "resourceAttributes": {
                "group": "certificates.k8s.io", "version": "*", "verb": "create",
                "resource": "certificatesigningrequests", "subresource": right,
            },
        },
    });
    let review: Review = rest
        .create(REVIEWS, &review)
        .await
        .context("review the access")?;
    Ok(review.status.allowed)
}

async fn write(rest: &Rest, request: &Request, message: &str) -> anyhow::Result<()> {
    let metadata = &request.metadata;
    let path = format!("{REQUESTS}/{}/approval", metadata.name);
    let body = json!({
        "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
        "status": {"conditions": request.with("Approved", "AutoApproved", message)},
    });
    match rest.patch(&path, Patch::Merge, &body).await {
        // Another has changed or deleted it meanwhile: the watch tells.
        Err(error) if errors::is_conflict(&error) || errors::is_not_found(&error) => Ok(()),
        done => done.context("approve"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::{Condition, Spec, Status};
    use super::*;

    #[test]
    fn requests_that_somebody_decided_about_are_left_alone() {
        let request = |signer: &str, conditions: &[&str]| Request {
            spec: Spec {
                signer_name: signer.to_owned(),
                ..Spec::default()
            },
            status: Status {
                conditions: conditions
                    .iter()
                    .map(|&of_type| Condition {
                        of_type: of_type.to_owned(),
                        ..Condition::default()
                    })
                    .collect(),
                ..Status::default()
            },
            ..Request::default()
        };
        let kubelet = signers::KUBE_APISERVER_CLIENT_KUBELET;
        assert!(is_due(&request(kubelet, &[])));
        assert!(is_due(&request(signers::KUBELET_SERVING, &[])));
        assert!(!is_due(&request(signers::KUBE_APISERVER_CLIENT, &[])));
        assert!(!is_due(&request("example.com/own", &[])));
        assert!(!is_due(&request(kubelet, &["Denied"])));
        assert!(!is_due(&request(kubelet, &["Approved"])));
        // What cannot be read is of no kind.
        assert!(kinds(&request(kubelet, &[])).is_empty());
    }
}
