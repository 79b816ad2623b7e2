//! Signs approved certificate requests with the CAs of the cluster. Upstream:
//! `pkg/controller/certificates/signer`.

use std::{pin::Pin, sync::Arc, time::Duration};

use pandaemon_certificates::{
    CertificateRequest, CertificateSigner, Signature, SigningError, SigningRequest, request,
    signers,
};
use pandaemon_machinery::Status;

use crate::{
    auth::{CERTIFICATE_KEY, JOIN_TOKEN_USER, NODE_NAME},
    pki::{Pki, check_node_name, sha256_hex},
    registry::{
        Registry,
        node_record::{Claim, Proof},
    },
};

/// Signs with the CAs of the data directory.
#[derive(Debug)]
pub(crate) struct Signer {
    /// With what it signs.
    pub pki: Arc<Pki>,
    /// Where the keys of nodes are recorded.
    pub registry: Arc<Registry>,
}

impl CertificateSigner for Signer {
    fn sign<'a>(
        &'a self,
        request: &'a SigningRequest,
    ) -> Pin<Box<dyn Future<Output = Signature> + Send + 'a>> {
        Box::pin(self.sign_request(request))
    }
}

impl Signer {
    async fn sign_request(&self, request: &SigningRequest) -> Signature {
        let lifetime = request.expiration_seconds.map(Duration::from_secs);
        let parsed = || request::parse(&request.request).map_err(refused);
        let signed = match request.signer_name.as_str() {
            signers::KUBE_APISERVER_CLIENT => {
                signers::client(&request.usages).map_err(refused)?;
                self.pki.sign_client(&parsed()?, lifetime)
            }
            signers::KUBE_APISERVER_CLIENT_KUBELET => {
                let parsed = parsed()?;
                let node = signers::kubelet_client(&parsed, &request.usages).map_err(refused)?;
                self.claim(request, &parsed, node).await?;
                self.pki.sign_node_client(&parsed, node, lifetime)
            }
            signers::KUBELET_SERVING => {
                let parsed = parsed()?;
                let node = signers::kubelet_serving(&parsed, &request.usages).map_err(refused)?;
                check_node_name(node).map_err(refused)?;
                if request.username != parsed.common_name {
                    return Err(refused("the requester is not the node of the certificate"));
                }
                self.pki.sign_node_serving(&parsed, node, lifetime)
            }
            _ => return Ok(None),
        };
        signed.map(Some).map_err(refused)
    }

    /// Enters the key in the record of the node, if the requester may have certificates of it.
    async fn claim(
        &self,
        request: &SigningRequest,
        parsed: &CertificateRequest,
        node: &str,
    ) -> Result<(), SigningError> {
        check_node_name(node).map_err(refused)?;
        let extra = |name| request.extra.get(name).and_then(|values| values.first());
        let only_node = extra(NODE_NAME);
        if only_node.is_some_and(|only| only != node) {
            return Err(refused("the token of the requester is for another node"));
        }
        let own_key = extra(CERTIFICATE_KEY).cloned();
        let claim = Claim {
            node,
            key: &sha256_hex(&parsed.public_key),
            proof: own_key.map_or(Proof::None, Proof::Key),
            node_may_exist: only_node.is_some() || request.username == JOIN_TOKEN_USER,
        };
        let claimed = self.registry.claim_node(&claim).await;
        claimed.map_err(|status: Box<Status>| match status.code {
            403 => refused(status.message),
            _ => SigningError::Unavailable(status.message),
        })
    }
}

fn refused(why: impl std::fmt::Display) -> SigningError {
    SigningError::Refused(why.to_string())
}
