//! Plugins for CertificateSigningRequests.

pub(super) mod approval;
pub(super) mod requester;
pub(super) mod signing;
pub(super) mod subject_restriction;

use pandaemon_machinery::status::Result;
use serde_json::Value;

use super::plugin::Attributes;
use crate::{auth, registry::meta};

const GROUP: &str = "certificates.k8s.io";
const REQUESTS: &str = "certificatesigningrequests";

/// The name of the signer of a request.
fn signer_name(request: &Value) -> &str {
    meta::text_at(request, &["spec", "signerName"])
}

/// Refuses the request, unless the user may do this as this signer, or as all signers of its
/// domain. Upstream: `certificates.IsAuthorizedForSignerName`.
async fn check_signer(attributes: &Attributes<'_>, verb: &str, signer: &str) -> Result<()> {
    let domain = signer.split_once('/').map(|(domain, _)| domain);
    let all = format!("{}/*", domain.unwrap_or_default());
    for name in [signer, &all] {
        let wanted = auth::Attributes {
            api_group: GROUP,
            api_version: "*",
            resource: "signers",
            name,
            ..auth::Attributes::new(attributes.user, verb)
        };
        if attributes.is_allowed(&wanted).await {
            return Ok(());
        }
    }
    let what = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(attributes.forbidden(&what))
}
