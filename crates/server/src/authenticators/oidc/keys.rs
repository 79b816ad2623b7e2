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
use jsonwebtoken::jwk::Jwk;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

use super::{config::Issuer, supported_algorithms};
use crate::jwt_provider;

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

/// The keys of a document.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    pub keys: Vec<Jwk>,
    /// Those with which no token can be verified here.
    pub unsupported: Vec<UnsupportedKey>,
}

/// A key with which no token can be verified here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnsupportedKey {
    pub id: Option<String>,
    /// What it is, such as `EC P-521`.
    pub what: String,
}

#[derive(Debug, Default)]
struct Known {
    keys: Arc<KeySet>,
    /// When they were read last, also without success.
    read_at: Option<Instant>,
    failure: Option<String>,
}

/// The part of the discovery document that is used.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
    /// The algorithms with which the issuer signs. Empty if it does not say so.
    #[serde(default)]
    id_token_signing_alg_values_supported: Vec<String>,
}

impl Discovery {
    /// Checks that the document is that of this issuer, and that it signs with an algorithm that is
    /// supported here.
    fn check(&self, issuer: &str) -> Result<(), String> {
        if self.issuer != issuer {
            return Err(format!(
                "issuer did not match the issuer returned by provider, expected {issuer:?} got {:?}",
                self.issuer
            ));
        }
        let (own, supported) = (
            &self.id_token_signing_alg_values_supported,
            supported_algorithms(),
        );
        if own.is_empty() || own.iter().any(|name| supported.contains(name)) {
            return Ok(());
        }
        Err(format!(
            "the issuer {issuer} signs with {}, which is not supported: let it sign with one of {}",
            own.join(", "),
            supported.join(", ")
        ))
    }
}

/// The keys of a document (RFC 7517, section 5). One that cannot be used does not take the others
/// with it.
#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl Document {
    fn sorted(self) -> KeySet {
        let mut set = KeySet::default();
        for key in self.keys {
            match readable(&key) {
                Ok(key) => set.keys.push(key),
                // It signs no tokens.
                Err(_) if key["use"] == "enc" => {}
                Err(what) => set.unsupported.push(UnsupportedKey {
                    id: key["kid"].as_str().map(str::to_owned),
                    what,
                }),
            }
        }
        set
    }
}

/// A key as it can be used, or what it is.
fn readable(key: &Value) -> Result<Jwk, String> {
    let text = |name: &str| key[name].as_str().unwrap_or_default();
    match (text("kty"), text("crv")) {
        (kind @ "RSA", _) | (kind @ "EC", "P-256" | "P-384") => {
            let unreadable = |why: &dyn std::fmt::Display| format!("{kind}, malformed ({why})");
            let key = Jwk::deserialize(key).map_err(|error| unreadable(&error))?;
            jwt_provider::public_key(&key).map_err(|error| unreadable(&error))?;
            Ok(key)
        }
        (kind, "") => Err(kind.to_owned()),
        (kind, curve) => Err(format!("{kind} {curve}")),
    }
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
    pub(super) async fn get(&self, fresh: Fresh) -> Result<Arc<KeySet>, String> {
        let mut known = self.known.lock().await;
        if fresh == Fresh::Yes || known.is_empty() {
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
                for key in &keys.unsupported {
                    tracing::warn!(
                        issuer = self.issuer,
                        key = key.id,
                        kind = key.what,
                        "a key of an issuer is not supported: tokens that it signs are refused"
                    );
                }
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

    async fn read(&self) -> Result<KeySet, String> {
        let discovery: Discovery = self.document(&self.discovery).await?;
        discovery.check(&self.issuer)?;
        let document: Document = self.document(&discovery.jwks_uri).await?;
        Ok(document.sorted())
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
    fn is_empty(&self) -> bool {
        self.keys.keys.is_empty() && self.keys.unsupported.is_empty()
    }

    fn outcome(&self) -> Result<Arc<KeySet>, String> {
        match (&self.failure, self.is_empty()) {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_that_are_not_supported_are_named_and_take_no_others_with_them() {
        let coordinate = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        let ec = |curve: &str, id: &str| json!({"kty": "EC", "crv": curve, "kid": id, "x": coordinate, "y": coordinate});
        let document = Document {
            keys: vec![
                ec("P-521", "large"),
                ec("P-256", "good"),
                json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": coordinate}),
                json!({"kty": "AKP", "alg": "ML-DSA-44", "kid": "new", "pub": coordinate}),
                json!({"kty": "RSA", "kid": "broken", "e": "AQAB"}),
                json!({"kty": "oct", "k": "AAAA"}),
                json!({"kty": "EC", "crv": "P-521", "kid": "not-for-tokens", "use": "enc"}),
            ],
        };
        let set = document.sorted();
        let ids: Vec<_> = set.keys.iter().map(|key| &key.common.key_id).collect();
        assert_eq!(ids, [&Some("good".to_owned())]);
        let named: Vec<_> = set
            .unsupported
            .iter()
            .map(|key| (key.id.as_deref().unwrap_or_default(), key.what.as_str()))
            .collect();
        let (broken, others) = (named[3], [named[0], named[1], named[2], named[4]]);
        assert_eq!(
            others,
            [
                ("large", "EC P-521"),
                ("ed", "OKP Ed25519"),
                ("new", "AKP"),
                ("", "oct")
            ]
        );
        assert_eq!(broken.0, "broken");
        assert!(broken.1.starts_with("RSA, malformed ("), "{broken:?}");
        assert_eq!(named.len(), 5);
    }

    #[test]
    fn an_issuer_without_a_supported_algorithm_is_refused_by_name() {
        let check = |algorithms: Value| {
            let document = json!({"issuer": "https://a", "jwks_uri": "", "id_token_signing_alg_values_supported": algorithms});
            let discovery: Discovery = serde_json::from_value(document).unwrap();
            discovery.check("https://a")
        };
        assert_eq!(check(json!([])), Ok(()));
        assert_eq!(check(json!(["ES512", "ES256"])), Ok(()));
        assert_eq!(
            check(json!(["ES512", "EdDSA"])).unwrap_err(),
            "the issuer https://a signs with ES512, EdDSA, which is not supported: let it sign with \
             one of RS256, RS384, RS512, ES256, ES384, PS256, PS384, PS512"
        );
    }
}
