//! Bootstrap tokens: Secrets in `kube-system`. Upstream:
//! `plugin/pkg/auth/authenticator/token/bootstrap`.

use std::sync::Arc;

use jiff::Timestamp;

use crate::{
    auth::{TokenAuthenticator, TokenError, TokenFuture, TokenInfo, known},
    cache::watch_cache::WatchCache,
    pki::Pki,
    registry::bootstrap_tokens,
};

/// Lengths of the ID and of the secret.
const ID: usize = 6;
const SECRET: usize = 16;

/// Knows tokens of the form `ID.SECRET`, which may be preceded by the hash of the CA.
#[derive(Debug)]
pub(super) struct BootstrapToken {
    pub pki: Arc<Pki>,
    pub cache: Arc<WatchCache>,
}

impl TokenAuthenticator for BootstrapToken {
    fn authenticate_token<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> TokenFuture<'a> {
        let Some((id, secret)) = parse(token, &self.pki.tokens.ca_hash) else {
            return known(Err(TokenError::Unknown));
        };
        let user = bootstrap_tokens::find_user(&self.cache, id, secret, Timestamp::now());
        known(match user {
            Ok(user) => Ok(TokenInfo {
                user,
                audiences: audiences.to_vec(),
            }),
            Err(why) => Err(TokenError::Invalid(why)),
        })
    }
}

/// ID and secret of a token.
fn parse<'a>(token: &'a str, ca_hash: &str) -> Option<(&'a str, &'a str)> {
    let rest = token.strip_prefix(ca_hash);
    let rest = rest.and_then(|rest| rest.strip_prefix('.'));
    let (id, secret) = rest.unwrap_or(token).split_once('.')?;
    let is_word = |word: &str, length: usize| {
        let is_letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        word.len() == length && word.bytes().all(is_letter)
    };
    (is_word(id, ID) && is_word(secret, SECRET)).then_some((id, secret))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn tokens_have_an_id_and_a_secret_after_the_hash() {
        let good = Some(("abcdef", "0123456789abcdef"));
        assert_eq!(parse("abcdef.0123456789abcdef", "HASH"), good);
        assert_eq!(parse("HASH.abcdef.0123456789abcdef", "HASH"), good);
        for bad in [
            "",
            ".",
            "other.abcdef.0123456789abcdef",
            "HASH.abcdef",
            "abcde.0123456789abcdef",
            "Abcdef.0123456789abcdef",
            "abcdef.0123456789abcde",
            "abcdef.0123456789abcdef.x",
        ] {
            assert_eq!(parse(bad, "HASH"), None, "{bad}");
        }
    }
}
