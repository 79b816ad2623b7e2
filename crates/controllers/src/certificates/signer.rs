//! Has approved requests signed. The keys of the CAs are not here: a
//! [`CertificateSigner`] has them. Upstream: `pkg/controller/certificates/signer`.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::FutureExt as _;
use kube::Client;
use pandaemon_certificates::{CertificateSigner, SigningError, SigningRequest};
use pandaemon_client::{
    errors,
    rest::{Patch, Rest},
};
use pandaemon_runtime::Shutdown;
use serde_json::{Value, json};

use super::{
    request::{REQUESTS, Request},
    request_loop,
};

/// Whether a request is approved and nothing has become of it.
fn is_due(request: &Request) -> bool {
    let has = |of_type| request.condition(of_type).is_some();
    has("Approved") && !has("Denied") && !has("Failed") && request.status.certificate.is_empty()
}

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(
    client: Client,
    signer: Arc<dyn CertificateSigner>,
    stop: Shutdown,
) -> anyhow::Result<()> {
    let rest = Rest::new(client.clone());
    let act = move |request| sign(rest.clone(), Arc::clone(&signer), request).boxed();
    request_loop::run(client, stop, is_due, act).await
}

async fn sign(
    rest: Rest,
    signer: Arc<dyn CertificateSigner>,
    request: Arc<Request>,
) -> anyhow::Result<()> {
    let spec = &request.spec;
    let signed = signer
        .sign(&SigningRequest {
            signer_name: spec.signer_name.clone(),
            request: request.pem(),
            usages: spec.usages.clone(),
            expiration_seconds: spec.expiration_seconds,
            username: spec.username.clone(),
            extra: spec.extra.clone(),
        })
        .await;
    let status = match signed {
        Ok(None) => return Ok(()),
        Ok(Some(certificate)) => json!({"certificate": STANDARD.encode(certificate)}),
        Err(SigningError::Refused(why)) => {
            json!({"conditions": request.with("Failed", "SignerValidationFailure", &why)})
        }
        Err(SigningError::Unavailable(why)) => bail!("sign: {why}"),
    };
    write(&rest, &request, &status).await
}

async fn write(rest: &Rest, request: &Request, status: &Value) -> anyhow::Result<()> {
    let metadata = &request.metadata;
    let path = format!("{REQUESTS}/{}/status", metadata.name);
    let body = json!({
        "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
        "status": status,
    });
    match rest.patch(&path, Patch::Merge, &body).await {
        // Another has changed or deleted it meanwhile: the watch tells.
        Err(error) if errors::is_conflict(&error) || errors::is_not_found(&error) => Ok(()),
        done => done.context("write the certificate"),
    }
}
