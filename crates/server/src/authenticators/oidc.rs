//! ID tokens of OpenID Connect issuers. Upstream: `plugin/pkg/authenticator/token/oidc`.

mod claims;
pub(crate) mod config;
mod keys;

use std::sync::atomic::{AtomicBool, Ordering};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::future::Either;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, dangerous, jwk::Jwk};
use serde::Deserialize;
use serde_json::Value;

use self::{
    claims::{Claims, invalid},
    config::JwtAuthenticator,
    keys::{Fresh, Keys},
};
use crate::{
    auth::{TokenAuthenticator, TokenError, TokenFuture, TokenInfo, TokenResult, User, known},
    jwt_provider,
};

/// The algorithms that are accepted: those of upstream that `ring` has.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];
/// How far the clock of an issuer may be ahead, in seconds.
const LEEWAY: i64 = 300;

/// Knows the tokens of one issuer.
#[derive(Debug)]
pub(super) struct OidcIssuer {
    config: JwtAuthenticator,
    keys: Keys,
    /// Whether the log says that claims are elsewhere. One line is enough.
    has_warned: AtomicBool,
}

impl OidcIssuer {
    /// The authenticator of an issuer of the configuration.
    ///
    /// # Errors
    /// If no certificates to trust are found.
    pub(super) fn new(config: JwtAuthenticator) -> Result<Self, String> {
        jwt_provider::install();
        Ok(Self {
            keys: Keys::new(&config.issuer)?,
            config,
            has_warned: AtomicBool::new(false),
        })
    }

    async fn authenticate(&self, token: &str) -> TokenResult {
        let claims = self.verified(token).await?;
        Ok(TokenInfo {
            user: self.user(&claims)?,
            audiences: Vec::new(),
        })
    }

    async fn verified(&self, token: &str) -> Result<Claims, TokenError> {
        let issuer = &self.config.issuer.url;
        let supported = supported_algorithms();
        if let Some(name) = algorithm_name(token).filter(|name| !supported.contains(name)) {
            return Err(invalid(format_args!(
                "verify token: the algorithm {name:?} of the issuer {issuer} is not supported, expected one of {}",
                supported.join(", ")
            )));
        }
        let header = jsonwebtoken::decode_header(token)
            .map_err(|error| invalid(format_args!("verify token: {error}")))?;
        let unavailable = |why| invalid(format_args!("authenticator not initialized: {why}"));
        for fresh in [Fresh::No, Fresh::Yes] {
            let keys = self.keys.get(fresh).await.map_err(unavailable)?;
            if let Some(key) = signing_key(&keys.keys, &header, token) {
                return self.claims(&key, header.alg, token);
            }
            let mut unsupported = keys.unsupported.iter();
            let named = unsupported.find(|key| key.id.is_some() && key.id == header.kid);
            if let Some(key) = named {
                return Err(invalid(format_args!(
                    "verify token: the key {:?} of the issuer {issuer} is not supported: {}",
                    header.kid.unwrap_or_default(),
                    key.what
                )));
            }
        }
        Err(invalid("verify token: failed to verify signature"))
    }

    /// The claims of a token that this key has signed, if it is for us and valid now.
    fn claims(
        &self,
        key: &DecodingKey,
        algorithm: Algorithm,
        token: &str,
    ) -> Result<Claims, TokenError> {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[&self.config.issuer.url]);
        validation.set_audience(&self.config.issuer.audiences);
        // Upstream's verifier has no leeway for the end; that for the beginning is checked below.
        validation.leeway = 0;
        let decoded = jsonwebtoken::decode::<Claims>(token, key, &validation)
            .map_err(|error| invalid(format_args!("verify token: {error}")))?;
        let begins = decoded.claims.get("nbf").and_then(Value::as_i64);
        let latest = jiff::Timestamp::now().as_second() + LEEWAY;
        if begins.is_some_and(|begins| begins > latest) {
            return Err(invalid(
                "verify token: current time before the nbf (not before) time",
            ));
        }
        Ok(decoded.claims)
    }

    fn user(&self, claims: &Claims) -> Result<User, TokenError> {
        if let Some(why) = self.config.distributed_groups(claims)
            && !self.has_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                why,
                "refused an ID token; others of the issuer are refused without a line here"
            );
        }
        self.config.user(claims)
    }
}

/// The names of [`ALGORITHMS`].
fn supported_algorithms() -> Vec<String> {
    ALGORITHMS.iter().map(|one| format!("{one:?}")).collect()
}

/// The name of the algorithm of a token, whether the library knows it or not.
fn algorithm_name(token: &str) -> Option<String> {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next()?).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    header["alg"].as_str().map(str::to_owned)
}

/// The key that has signed a token.
pub(crate) fn signing_key(keys: &[Jwk], header: &Header, token: &str) -> Option<DecodingKey> {
    let (message, signature) = token.rsplit_once('.')?;
    let candidates = keys.iter().filter(|key| {
        let id = key.common.key_id.as_deref();
        header.kid.is_none() || id.is_none() || id == header.kid.as_deref()
    });
    candidates
        .filter_map(|key| jwt_provider::public_key(key).ok())
        .find(|key| {
            let verified =
                jsonwebtoken::crypto::verify(signature, message.as_bytes(), key, header.alg);
            verified.unwrap_or(false)
        })
}

impl TokenAuthenticator for OidcIssuer {
    fn authenticate_token<'a>(&'a self, token: &'a str, _: &'a [String]) -> TokenFuture<'a> {
        #[derive(Deserialize)]
        struct Unverified {
            iss: String,
        }
        let claims = dangerous::insecure_decode_claims::<Unverified>(token);
        if !claims.is_ok_and(|claims| claims.iss == self.config.issuer.url) {
            return known(Err(TokenError::Unknown));
        }
        Either::Right(Box::pin(self.authenticate(token)))
    }
}
