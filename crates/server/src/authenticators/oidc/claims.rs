//! What the claims of a verified token say about its user.

use serde_json::{Map, Value};

use super::config::JwtAuthenticator;
use crate::auth::{TokenError, User};

/// Where a token says which of its claims are elsewhere (OpenID Connect Core, section 5.6.2).
const CLAIM_NAMES: &str = "_claim_names";

/// The claims of a token.
pub(super) type Claims = Map<String, Value>;

/// Why a token of an issuer is refused.
pub(super) fn invalid(why: impl std::fmt::Display) -> TokenError {
    TokenError::Invalid(format!("oidc: {why}"))
}

impl JwtAuthenticator {
    /// The user whom the claims of a verified token name.
    ///
    /// # Errors
    /// If a claim is missing, or is not as the configuration demands.
    pub(crate) fn user(&self, claims: &Claims) -> Result<User, TokenError> {
        self.check_required(claims)?;
        let mappings = &self.claim_mappings;
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
            None => match self.distributed_groups(claims) {
                Some(why) => return Err(invalid(why)),
                None => Vec::new(),
            },
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

    /// Why a token is refused whose groups are elsewhere: without them its user would be someone
    /// with fewer rights, or one whom a binding was not meant for. Upstream fetches them.
    pub(super) fn distributed_groups(&self, claims: &Claims) -> Option<String> {
        let groups = &self.claim_mappings.groups.claim;
        let elsewhere = claims.get(CLAIM_NAMES).and_then(|names| names.get(groups));
        if groups.is_empty() || claims.contains_key(groups) || elsewhere.is_none() {
            return None;
        }
        let issuer = &self.issuer.url;
        Some(format!(
            "could not expand distributed claims: the issuer {issuer} gives the claim {groups:?} \
             as a distributed claim, which is not supported: let it put the claim into the token"
        ))
    }

    fn check_required(&self, claims: &Claims) -> Result<(), TokenError> {
        for rule in &self.claim_validation_rules {
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

/// The groups of a claim: one, or a list.
fn group_names(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(name) => Some(vec![name]),
        Value::Array(names) => names.iter().map(Value::as_str).collect(),
        _ => None,
    }
}
