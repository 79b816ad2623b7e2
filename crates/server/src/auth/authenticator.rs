//! Authentication: who sends a request. Upstream: `k8s.io/apiserver/pkg/authentication`.
//!
//! A client certificate is verified in the TLS handshake. A bearer token is shown to each
//! [`TokenAuthenticator`] of the chain.

use std::{fmt::Debug, sync::Arc};

use futures::future::{BoxFuture, Either, Ready, ready};
use http::{HeaderMap, header, request::Parts};
use pandaemon_machinery::{Status, status::Result};

use super::{
    front_proxy,
    user::{Caller, User},
};

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenInfo {
    /// The user of the token.
    pub user: User,
    /// Those of the asked audiences that the token is for.
    pub audiences: Vec<String>,
}

/// Why a token is refused. The text must not contain the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    /// It is not one of this authenticator's tokens: the next one is asked.
    #[error("invalid bearer token")]
    Unknown,
    /// It is one of this authenticator's tokens, and it is not valid. The next one is asked, too;
    /// if none knows the token, this is the reason.
    #[error("{0}")]
    Invalid(String),
}

/// What an authenticator says about a token.
pub(crate) type TokenResult = Result<TokenInfo, TokenError>;

/// A result that is known at once (`known(result)`), or the future of one.
pub(crate) type TokenFuture<'a> = Either<Ready<TokenResult>, BoxFuture<'a, TokenResult>>;

/// A result that is known at once.
pub(crate) fn known(result: TokenResult) -> TokenFuture<'static> {
    Either::Left(ready(result))
}

/// Knows one kind of bearer tokens. Upstream: `authenticator.Token`.
pub(crate) trait TokenAuthenticator: Debug + Send + Sync {
    /// The user of a token that is for one of these audiences. A token that names no audience is
    /// for all of them.
    fn authenticate_token<'a>(&'a self, token: &'a str, audiences: &'a [String])
    -> TokenFuture<'a>;
}

/// To which paths users without credentials are let in. What they may do there, authorizers decide.
#[derive(Debug, Clone, Default)]
pub(crate) enum Anonymous {
    #[default]
    Everywhere,
    Paths(Vec<String>),
    Nowhere,
}

impl Anonymous {
    fn includes(&self, path: &str) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Paths(paths) => paths.iter().any(|one| one == path),
            Self::Nowhere => false,
        }
    }
}

/// An ordered list of authenticators of tokens: the first that knows a token decides. Clones share
/// it. Upstream: `authentication/token/union`.
#[derive(Debug, Clone)]
pub(crate) struct AuthenticatorChain {
    tokens: Arc<[Arc<dyn TokenAuthenticator>]>,
    /// The audiences of the API server: those of tokens that are sent to it.
    audiences: Arc<[String]>,
    anonymous: Arc<Anonymous>,
}

impl AuthenticatorChain {
    /// A chain of these authenticators, in the order in which they are asked.
    #[must_use]
    pub(crate) fn new(
        tokens: Vec<Arc<dyn TokenAuthenticator>>,
        audiences: Vec<String>,
        anonymous: Anonymous,
    ) -> Self {
        Self {
            tokens: tokens.into(),
            audiences: audiences.into(),
            anonymous: Arc::new(anonymous),
        }
    }

    /// The user of a token, for one of these audiences; if none are given, for those of the API
    /// server.
    ///
    /// # Errors
    /// Why no authenticator accepts it.
    pub(crate) async fn authenticate_token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> TokenResult {
        let audiences = match audiences {
            [] => &*self.audiences,
            asked => asked,
        };
        let mut reasons = Vec::new();
        for authenticator in &*self.tokens {
            match authenticator.authenticate_token(token, audiences).await {
                Err(TokenError::Invalid(reason)) => reasons.push(reason),
                Err(TokenError::Unknown) => {}
                Ok(info) => return Ok(info),
            }
        }
        Err(match reasons.is_empty() {
            true => TokenError::Unknown,
            false => TokenError::Invalid(reasons.join(", ")),
        })
    }

    /// The user of a request: the one that a front proxy names, else from its client certificate,
    /// else its bearer token, else anonymous.
    ///
    /// # Errors
    /// 401 for a token that is not valid, and for a front proxy that names no user.
    pub(crate) async fn authenticate(&self, parts: &Parts) -> Result<User> {
        let mut may_be_anonymous = true;
        match parts.extensions.get::<Caller>() {
            Some(Caller::FrontProxy(name)) => {
                if let Some(user) = front_proxy::user(name, &parts.headers) {
                    return Ok(user);
                }
                // It has credentials, which are not valid for anyone.
                may_be_anonymous = false;
            }
            Some(Caller::User(user)) => return Ok(user.clone()),
            Some(Caller::Unknown) | None => {}
        }
        let Some(token) = bearer_token(&parts.headers) else {
            return match may_be_anonymous && self.anonymous.includes(parts.uri.path()) {
                true => Ok(User::anonymous()),
                false => Err(unauthorized()),
            };
        };
        match self.authenticate_token(token, &[]).await {
            Ok(info) => Ok(info.user),
            Err(reason) => {
                tracing::debug!(%reason, "refused a bearer token");
                Err(unauthorized())
            }
        }
    }
}

/// The token of an `Authorization: Bearer` header.
#[must_use]
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The status of a request without valid credentials (401).
#[must_use]
pub(crate) fn unauthorized() -> Box<Status> {
    Status::failure(401, "Unauthorized", "Unauthorized")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Always(TokenResult);

    impl TokenAuthenticator for Always {
        fn authenticate_token<'a>(
            &'a self,
            _: &'a str,
            audiences: &'a [String],
        ) -> TokenFuture<'a> {
            let result = self.0.clone().map(|mut info| {
                info.audiences = audiences.to_vec();
                info
            });
            Either::Right(Box::pin(async { result }))
        }
    }

    #[tokio::test]
    async fn the_first_authenticator_that_knows_a_token_decides() {
        let user = |name: &str| {
            Ok(TokenInfo {
                user: User::known(name, &[]),
                audiences: Vec::new(),
            })
        };
        let invalid = |why: &str| Err(TokenError::Invalid(why.into()));
        let unknown = || Err(TokenError::Unknown);
        let table = [
            (vec![], Err("invalid bearer token")),
            (vec![unknown(), unknown()], Err("invalid bearer token")),
            (
                vec![unknown(), invalid("expired"), invalid("revoked")],
                Err("expired, revoked"),
            ),
            (vec![invalid("expired"), user("a"), user("b")], Ok("a")),
        ];
        for (results, expected) in table {
            let authenticators = results
                .into_iter()
                .map(|result| Arc::new(Always(result)) as Arc<dyn TokenAuthenticator>);
            let chain = AuthenticatorChain::new(
                authenticators.collect(),
                vec!["api".into()],
                Anonymous::Everywhere,
            );
            let found = chain.authenticate_token("t", &[]).await;
            let found = found.map(|info| (info.user.name, info.audiences));
            let expected = expected.map(|name| (name.to_owned(), vec!["api".to_owned()]));
            assert_eq!(
                found.map_err(|e| e.to_string()),
                expected.map_err(str::to_owned)
            );
        }
    }
}
