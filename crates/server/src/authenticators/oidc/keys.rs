//! The keys of an issuer, read from it when they are first needed, and again for an unknown key.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::{sync::Mutex, time::Instant};

use super::config::Issuer;

/// How long reading a document may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 1 << 20;
/// How long no keys are read after they were, whatever tokens come: they may be anybody's.
const PAUSE: Duration = Duration::from_secs(5);

/// Whether keys are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fresh {
    Yes,
    No,
}

/// The keys of an issuer.
#[derive(Debug)]
pub(super) struct Keys {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    issuer: String,
    /// The URL of the discovery document.
    discovery: String,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    keys: Arc<Vec<Jwk>>,
    /// When they were read last, also without success.
    read_at: Option<Instant>,
    failure: Option<String>,
}

/// The part of the discovery document that is used.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Keys {
    /// The keys of this issuer. Nothing is read yet.
    ///
    /// # Errors
    /// If no certificates to trust are found.
    pub(super) fn new(issuer: &Issuer) -> Result<Self, String> {
        let builder = HttpsConnectorBuilder::new();
        let builder = match issuer.certificate_authority.as_str() {
            "" => builder
                .with_provider_and_native_roots(ring::default_provider())
                .map_err(|error| {
                    format!("read the certificates that this machine trusts: {error}")
                })?,
            pem => builder.with_tls_config(trusting(pem)?),
        };
        let discovery = match issuer.discovery_url.as_str() {
            "" => format!(
                "{}/.well-known/openid-configuration",
                issuer.url.trim_end_matches('/')
            ),
            url => url.to_owned(),
        };
        let connector = builder.https_only().enable_http1().build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            issuer: issuer.url.clone(),
            discovery,
            known: Mutex::default(),
        })
    }

    /// The keys as they are known, or as they are now. They are read if that is asked for or they
    /// never were, but not if they were read a moment ago.
    ///
    /// # Errors
    /// Why they could not be read.
    pub(super) async fn get(&self, fresh: Fresh) -> Result<Arc<Vec<Jwk>>, String> {
        let mut known = self.known.lock().await;
        if fresh == Fresh::Yes || known.keys.is_empty() {
            self.refresh(&mut known).await;
        }
        known.outcome()
    }

    async fn refresh(&self, known: &mut Known) {
        if known.read_at.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        known.read_at = Some(Instant::now());
        match self.read().await {
            Ok(keys) => {
                known.keys = Arc::new(keys);
                known.failure = None;
            }
            Err(why) => {
                tracing::warn!(
                    issuer = self.issuer,
                    error = why,
                    "cannot read the keys of an issuer"
                );
                known.failure = Some(why);
            }
        }
    }

    async fn read(&self) -> Result<Vec<Jwk>, String> {
        let discovery: Discovery = self.document(&self.discovery).await?;
        if discovery.issuer != self.issuer {
            return Err(format!(
                "issuer did not match the issuer returned by provider, expected {:?} got {:?}",
                self.issuer, discovery.issuer
            ));
        }
        let set: JwkSet = self.document(&discovery.jwks_uri).await?;
        Ok(set.keys)
    }

    async fn document<T: DeserializeOwned>(&self, url: &str) -> Result<T, String> {
        let failed = |why: &dyn std::fmt::Display| format!("GET {url}: {why}");
        let uri: Uri = url.parse().map_err(|error| failed(&error))?;
        let reading = async {
            let response = self.client.get(uri).await.map_err(|error| {
                // The outer error says no more than that connecting failed.
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                failed(&cause.unwrap_or_else(|| error.to_string()))
            })?;
            if !response.status().is_success() {
                return Err(failed(&response.status()));
            }
            let body = Limited::new(response.into_body(), MAX_DOCUMENT)
                .collect()
                .await;
            let body = body.map_err(|error| failed(&error))?.to_bytes();
            serde_json::from_slice(&body).map_err(|error| failed(&error))
        };
        let read = tokio::time::timeout(TIMEOUT, reading).await;
        read.unwrap_or_else(|_| Err(failed(&"no answer in time")))
    }
}

impl Known {
    fn outcome(&self) -> Result<Arc<Vec<Jwk>>, String> {
        match (&self.failure, self.keys.is_empty()) {
            (Some(why), true) => Err(why.clone()),
            _ => Ok(Arc::clone(&self.keys)),
        }
    }
}

/// A TLS configuration that trusts these certificates alone.
fn trusting(pem: &str) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
