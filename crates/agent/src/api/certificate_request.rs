//! A request for a certificate of the node: a CertificateSigningRequest, made once, waited for, and
//! found again by a later attempt. Upstream: `k8s.io/client-go/util/certificate/csr`.

use std::{net::IpAddr, time::Duration};

use anyhow::Context as _;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequestSpec, CertificateSigningRequestStatus,
};
use kube::Client;
use pandaemon_certificates::{
    CertificateRequest, ClientSubject, request,
    signers::{KUBE_APISERVER_CLIENT_KUBELET, KUBELET_SERVING},
};
use pandaemon_client::{
    errors,
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Object, ObjectMeta},
    rest::Rest,
};
use pandaemon_runtime::Shutdown;
use pandaemon_types::hash::hex;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout_at};

use super::identity::{self, Identity};
use crate::tls;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// How long one attempt waits for a certificate. The next one goes on with the same request:
/// between them the log says what is waited for, and the credentials are used anew.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no certificate.
#[derive(Debug)]
pub(super) enum Failure {
    /// The API server refused to take the request, or was not reached.
    Api(kube::Error),
    /// The request was denied, or the signer refused it.
    Refused(String),
    /// There may be one later.
    Later(anyhow::Error),
}

fn later(text: String) -> Failure {
    Failure::Later(anyhow::Error::msg(text))
}

/// A request for a certificate. It is on disk until its certificate is in use or it was refused:
/// later attempts, also of later agents, find the same object by its digest and make no other.
pub(super) struct NodeRequest<'a> {
    identity: &'a Identity,
    file: &'static str,
    signer: &'static str,
    usage: &'static str,
    /// The request, in PEM.
    pem: String,
    /// The public key, in DER.
    key: Vec<u8>,
    /// The name of the object. A signature has random bytes, so that each request has its own.
    name: String,
}

impl<'a> NodeRequest<'a> {
    /// The request for the client certificate.
    ///
    /// # Errors
    /// If the key or the request can neither be read nor written.
    pub(super) fn client(identity: &'a Identity, node: &str) -> anyhow::Result<Self> {
        let pem = identity::client_request(&identity.key("client.key")?, node)?;
        Self::saved_or(identity, "client.csr", pem, |request| Self {
            signer: KUBE_APISERVER_CLIENT_KUBELET,
            usage: "client auth",
            ..request
        })
    }

    /// The request for the certificate with which the node serves.
    ///
    /// # Errors
    /// If the key or the request can neither be read nor written.
    pub(super) fn serving(
        identity: &'a Identity,
        node: &str,
        address: IpAddr,
    ) -> anyhow::Result<Self> {
        let pem = identity::serving_request(&identity.key("serving.key")?, node, address)?;
        Self::saved_or(identity, "serving.csr", pem, |request| Self {
            signer: KUBELET_SERVING,
            usage: "server auth",
            ..request
        })
    }

    /// The request of an earlier attempt, if it asks for the same as this one.
    fn saved_or(
        identity: &'a Identity,
        file: &'static str,
        pem: String,
        of_signer: impl FnOnce(Self) -> Self,
    ) -> anyhow::Result<Self> {
        let fresh = request::parse(pem.as_bytes())?;
        let asked = |of: &CertificateRequest| {
            let names = of.alternative_names.clone();
            (of.subject.clone(), of.public_key.clone(), names)
        };
        let is_same = |saved: &String| {
            request::parse(saved.as_bytes()).is_ok_and(|saved| asked(&saved) == asked(&fresh))
        };
        let pem = match identity.read(file).ok().filter(is_same) {
            Some(saved) => saved,
            None => {
                identity.write(file, &pem)?;
                pem
            }
        };
        let digest = hex(Sha256::digest(&pem).iter().take(16));
        Ok(of_signer(Self {
            identity,
            file,
            signer: "",
            usage: "",
            pem,
            key: fresh.public_key,
            name: format!("node-csr-{digest}"),
        }))
    }

    /// Forgets the request: the next one is another object.
    pub(super) fn forget(&self) {
        if let Err(error) = self.identity.remove_file(self.file) {
            tracing::warn!("cannot remove the request {}: {error:#}", self.name);
        }
    }

    fn object(&self) -> Value {
        json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": self.name},
            "spec": CertificateSigningRequestSpec {
                request: k8s_openapi::ByteString(self.pem.clone().into_bytes()),
                signer_name: self.signer.to_owned(),
                // As the kubelet for keys that only sign.
                usages: Some(vec!["digital signature".to_owned(), self.usage.to_owned()]),
                ..CertificateSigningRequestSpec::default()
            },
        })
    }

    /// Makes the request, unless an earlier attempt has, and waits for its certificate.
    ///
    /// # Errors
    /// [`Failure`] states the reason.
    pub(super) async fn issue(&self, rest: &Rest) -> Result<String, Failure> {
        match rest.create::<IgnoredAny>(REQUESTS, &self.object()).await {
            Ok(_) => tracing::debug!(name = self.name, signer = self.signer, "asked"),
            Err(error) if errors::is_already_exists(&error) => (),
            Err(error) => return Err(Failure::Api(error)),
        }
        self.wait(rest.client()).await
    }

    async fn wait(&self, client: &Client) -> Result<String, Failure> {
        let name = &self.name;
        let source = ListWatch::all(REQUESTS).fields(format!("metadata.name={name}"));
        // It ends with its receiver.
        let mut deltas = watch::<Seen>(client.clone(), source, Shutdown::default());
        let deadline = Instant::now() + ATTEMPT_TIMEOUT;
        let mut is_approved = false;
        loop {
            let Ok(delta) = timeout_at(deadline, deltas.recv()).await else {
                return Err(later(self.waits_for(is_approved)));
            };
            let seen = match delta {
                Some(Delta::Listed(all)) => all.into_iter().next(),
                Some(Delta::Applied(one)) => Some(one),
                Some(Delta::Deleted(_)) | None => None,
            };
            let Some(seen) = seen else {
                return Err(later(format!("the certificate request {name} was deleted")));
            };
            if let Some(certificate) = self.outcome(&seen)? {
                return Ok(certificate);
            }
            is_approved = seen.condition("Approved").is_some();
        }
    }

    fn waits_for(&self, is_approved: bool) -> String {
        let name = &self.name;
        match is_approved {
            true => format!("the certificate request {name} is approved, and not signed yet"),
            false => format!(
                "the certificate request {name} is not approved yet; if the controllers of the \
                 control plane do not do that: kubectl certificate approve {name}"
            ),
        }
    }

    /// What has become of the request: the certificate, if there is one.
    fn outcome(&self, seen: &Seen) -> Result<Option<String>, Failure> {
        let name = &self.name;
        if seen.spec.request.0 != self.pem.as_bytes() {
            self.forget();
            let text = format!("the certificate request {name} is one of another machine");
            return Err(later(text));
        }
        for (of_type, what) in [("Denied", "was denied"), ("Failed", "failed")] {
            if let Some((reason, message)) = seen.condition(of_type) {
                // A person may mend the cause: the next attempt asks anew.
                self.forget();
                let text = format!("the certificate request {name} {what} ({reason}): {message}");
                return Err(Failure::Refused(text));
            }
        }
        let certificate = seen.status.certificate.as_ref();
        let Some(certificate) = certificate.filter(|pem| !pem.0.is_empty()) else {
            return Ok(None);
        };
        let pem = String::from_utf8_lossy(&certificate.0).into_owned();
        match self.is_of_this_key(&pem) {
            Ok(true) => Ok(Some(pem)),
            checked => {
                self.forget();
                let error = checked
                    .err()
                    .unwrap_or_else(|| anyhow::anyhow!("another key"));
                let text = format!("use the certificate of the certificate request {name}");
                Err(Failure::Later(error.context(text)))
            }
        }
    }

    fn is_of_this_key(&self, pem: &str) -> anyhow::Result<bool> {
        let der = tls::first_certificate(pem)?;
        let subject = ClientSubject::of(&der).context("it names nobody")?;
        Ok(subject.public_key == self.key)
    }
}

/// A CertificateSigningRequest, as far as its sender looks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Seen {
    metadata: ObjectMeta,
    spec: CertificateSigningRequestSpec,
    status: CertificateSigningRequestStatus,
}

impl Object for Seen {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Seen {
    /// Reason and message of a condition, if the request has it.
    fn condition(&self, of_type: &str) -> Option<(&str, &str)> {
        let mut conditions = self.status.conditions.iter().flatten();
        let found = conditions.find(|condition| condition.type_ == of_type)?;
        let reason = found.reason.as_deref().unwrap_or_default();
        Some((reason, found.message.as_deref().unwrap_or_default()))
    }
}
