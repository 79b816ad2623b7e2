//! Tokens that name no audience. Upstream: `authenticator.WrapAudienceAgnosticToken`.

use futures::{FutureExt as _, future::Either};

use crate::auth::{TokenAuthenticator, TokenError, TokenFuture, TokenInfo, known};

/// An authenticator of tokens that name no audience: they are for the API server.
#[derive(Debug)]
pub(super) struct ForApiServer<T> {
    /// The audiences of the API server.
    pub(super) audiences: Vec<String>,
    pub(super) inner: T,
}

impl<T: TokenAuthenticator> TokenAuthenticator for ForApiServer<T> {
    fn authenticate_token<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> TokenFuture<'a> {
        let common: Vec<String> = self
            .audiences
            .iter()
            .filter(|own| audiences.contains(own))
            .cloned()
            .collect();
        if common.is_empty() {
            return known(Err(TokenError::Unknown));
        }
        let asked = self.inner.authenticate_token(token, audiences);
        Either::Right(Box::pin(asked.map(|result| {
            result.map(|info| TokenInfo {
                audiences: common,
                ..info
            })
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::User;

    #[derive(Debug)]
    struct Anyone;

    impl TokenAuthenticator for Anyone {
        fn authenticate_token<'a>(&'a self, _: &'a str, _: &'a [String]) -> TokenFuture<'a> {
            known(Ok(TokenInfo {
                user: User::known("bob", &[]),
                audiences: Vec::new(),
            }))
        }
    }

    #[tokio::test]
    async fn a_token_without_audience_is_for_the_api_server_only() {
        let texts = |texts: &[&str]| {
            texts
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>()
        };
        let authenticator = ForApiServer {
            audiences: texts(&["a", "b"]),
            inner: Anyone,
        };
        for (asked, expected) in [
            (&["a"][..], Some(texts(&["a"]))),
            (&["x", "b", "a"], Some(texts(&["a", "b"]))),
            (&["x"], None),
        ] {
            let asked = texts(asked);
            let found = authenticator.authenticate_token("t", &asked).await;
            assert_eq!(found.ok().map(|info| info.audiences), expected, "{asked:?}");
        }
    }
}
