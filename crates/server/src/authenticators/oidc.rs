//! ID tokens of OpenID Connect issuers. Upstream: `plugin/pkg/authenticator/token/oidc`.

pub(crate) mod config;
mod keys;

use std::sync::atomic::{AtomicBool, Ordering};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::future::Either;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, dangerous, jwk::Jwk};
use serde::Deserialize;
use serde_json::{Map, Value};

use self::{
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
/// Where a token says which of its claims are elsewhere (OpenID Connect Core, section 5.6.2).
const CLAIM_NAMES: &str = "_claim_names";
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

/// The claims of a token.
type Claims = Map<String, Value>;

fn invalid(why: impl std::fmt::Display) -> TokenError {
    TokenError::Invalid(format!("oidc: {why}"))
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
        self.check_required(&claims)?;
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
        let mappings = &self.config.claim_mappings;
        let username = &mappings.username;
        let name = text(claims, &username.claim).map_err(|why| {
            invalid(format_args!(
                "parse username claims {:?}: {why}",
                username.claim
            ))
        })?;
        if username.claim == "email" && claims.get("email_verified").is_some_and(|it| *it != true) {
            return Err(invalid("email not verified"));
        }
        let groups = &mappings.groups;
        let prefix = groups.prefix.as_deref().unwrap_or_default();
        let named = match claims
            .get(&groups.claim)
            .filter(|_| !groups.claim.is_empty())
        {
            Some(value) => group_names(value).ok_or_else(|| {
                invalid(format_args!(
                    "parse groups claim {:?}: it must be a string or a list of strings",
                    groups.claim
                ))
            })?,
            None => {
                self.check_not_distributed(claims, &groups.claim)?;
                Vec::new()
            }
        };
        let named: Vec<String> = named.iter().map(|name| format!("{prefix}{name}")).collect();
        let uid = match mappings.uid.claim.as_str() {
            "" => String::new(),
            claim => text(claims, claim)
                .map_err(|why| invalid(format_args!("parse uid claim {claim:?}: {why}")))?
                .to_owned(),
        };
        let prefix = username.prefix.as_deref().unwrap_or_default();
        Ok(User {
            uid,
            ..User::known(&format!("{prefix}{name}"), &named)
        })
    }

    /// Refuses a token whose groups are elsewhere: without them its user would be someone with
    /// fewer rights, or one whom a binding was not meant for. Upstream fetches them.
    fn check_not_distributed(&self, claims: &Claims, groups: &str) -> Result<(), TokenError> {
        let elsewhere = claims.get(CLAIM_NAMES).and_then(|names| names.get(groups));
        if groups.is_empty() || elsewhere.is_none() {
            return Ok(());
        }
        let issuer = &self.config.issuer.url;
        let why = format!(
            "could not expand distributed claims: the issuer {issuer} gives the claim {groups:?} as a distributed \
             claim, which is not supported: let it put the claim into the token"
        );
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                why,
                "refused an ID token; others of the issuer are refused without a line here"
            );
        }
        Err(invalid(why))
    }

    fn check_required(&self, claims: &Claims) -> Result<(), TokenError> {
        for rule in &self.config.claim_validation_rules {
            let claim = &rule.claim;
            if !claims.contains_key(claim) {
                return Err(invalid(format_args!(
                    "required claim {claim} not present in ID token"
                )));
            }
            let found = text(claims, claim)
                .map_err(|why| invalid(format_args!("parse claim {claim}: {why}")))?;
            if found != rule.required_value {
                return Err(invalid(format_args!(
                    "required claim {claim} value does not match. Got = {found}, want = {}",
                    rule.required_value
                )));
            }
        }
        Ok(())
    }
}

fn text<'a>(claims: &'a Claims, claim: &str) -> Result<&'a str, &'static str> {
    let value = claims.get(claim).ok_or("claim not present")?;
    value.as_str().ok_or("it must be a string")
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

/// The groups of a claim: one, or a list.
fn group_names(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(name) => Some(vec![name]),
        Value::Array(names) => names.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// The key that has signed a token.
fn signing_key(keys: &[Jwk], header: &Header, token: &str) -> Option<DecodingKey> {
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
