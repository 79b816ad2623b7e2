//! The tokens of service accounts: signed JSON web tokens. Upstream: `pkg/serviceaccount`.

mod claims;
mod jwt;
pub(crate) mod openid;
mod verified_tokens;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    auth::TokenError,
    jwt_provider,
    pki::{Error, ServiceAccountKeys},
};

use self::verified_tokens::{VerifiedTokens, hash_of};

pub(crate) use self::claims::{Claims, KubernetesClaims, LEGACY_ISSUER, LegacyClaims, ObjectRef};

/// The issuer of tokens if none is configured.
const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// How tokens of service accounts are issued and verified. Upstream: the flags
/// `--service-account-*` and `--api-audiences`.
#[derive(Debug, Clone)]
pub struct ServiceAccountOptions {
    /// The issuers whose tokens are accepted. New tokens name the first.
    pub issuers: Vec<String>,
    /// The audiences of the API server. If it is empty, the issuers.
    pub api_audiences: Vec<String>,
    /// The URL at which other services get the public keys. If it is `None`, that of this server.
    pub jwks_uri: Option<String>,
    /// Whether a pod's token for the API server is valid for a year, as long as the pod exists.
    /// Its agent renews it every hour all the same; old clients read it only once.
    pub extend_token_expiration: bool,
    /// The longest lifetime of a token that clients may request; `None` for no limit.
    pub max_token_expiration: Option<Duration>,
}

impl Default for ServiceAccountOptions {
    fn default() -> Self {
        Self {
            issuers: vec![DEFAULT_ISSUER.to_owned()],
            api_audiences: Vec::new(),
            jwks_uri: None,
            extend_token_expiration: true,
            max_token_expiration: None,
        }
    }
}

/// Signs and verifies tokens of service accounts.
#[derive(Debug)]
pub(crate) struct TokenIssuer {
    /// The keys that sign and verify.
    pub keys: ServiceAccountKeys,
    /// The options; they name an issuer and an audience.
    pub options: ServiceAccountOptions,
    verified: VerifiedTokens,
}

#[derive(Deserialize)]
struct UnverifiedClaims {
    iss: String,
}

impl TokenIssuer {
    pub(crate) fn new(keys: ServiceAccountKeys, mut options: ServiceAccountOptions) -> Self {
        if options.issuers.is_empty() {
            options.issuers.push(DEFAULT_ISSUER.to_owned());
        }
        if options.api_audiences.is_empty() {
            options.api_audiences.clone_from(&options.issuers);
        }
        jwt_provider::install();
        Self {
            keys,
            options,
            verified: VerifiedTokens::default(),
        }
    }

    /// The issuer of new tokens.
    pub(crate) fn issuer(&self) -> &str {
        self.options.issuers.first().map_or("", String::as_str)
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// When a key cannot be used or stored.
    pub(crate) fn sign(&self, claims: &Claims, now: Timestamp) -> Result<String, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Certificate(error.to_string());
        // A token without an end is void with its Secret, but its key is kept for ever.
        let expires = match claims.exp {
            Some(seconds) => Timestamp::from_second(seconds).map_err(|error| failed(&error))?,
            None => Timestamp::MAX,
        };
        let key = self.keys.signer(expires, now)?;
        jwt::sign(&key, claims).map_err(|error| failed(&error))
    }

    /// The claims of a token that one of the keys has signed. Whether they still hold is not
    /// checked.
    ///
    /// # Errors
    /// `Unknown` for what is no token of this issuer.
    pub(crate) fn verify(&self, token: &str) -> Result<Arc<Claims>, TokenError> {
        let hash = hash_of(token);
        if let Some((key, claims)) = self.verified.get(&hash)
            && self.keys.find(&key).is_some()
        {
            return Ok(claims);
        }
        let unverified: UnverifiedClaims = jwt::unverified_claims(token)?;
        self.check_issuer(&unverified.iss)?;
        let keys = match jwt::key_id(token)? {
            Some(id) => self.keys.find(&id).into_iter().collect(),
            None => self.keys.all(),
        };
        if keys.is_empty() {
            let why = "invalid signature, no keys found";
            return Err(TokenError::Invalid(why.into()));
        }
        let mut attempts = keys
            .iter()
            .filter_map(|key| Some((key, jwt::verify(key, token)?)));
        let Some((key, claims)) = attempts.next() else {
            return Err(TokenError::Invalid("invalid signature".into()));
        };
        self.check_issuer(&claims.iss)?;
        let claims = Arc::new(claims);
        self.verified
            .insert(hash, (key.id.clone(), Arc::clone(&claims)));
        Ok(claims)
    }

    fn check_issuer(&self, issuer: &str) -> Result<(), TokenError> {
        let is_own = issuer == LEGACY_ISSUER || self.options.issuers.iter().any(|i| i == issuer);
        is_own.then_some(()).ok_or(TokenError::Unknown)
    }
}

#[cfg(test)]
mod tests;
