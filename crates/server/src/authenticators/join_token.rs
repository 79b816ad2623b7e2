//! The join token in the data directory.

use std::sync::Arc;

use crate::{
    auth::{
        BOOTSTRAPPERS, JOIN_TOKEN_USER, TokenAuthenticator, TokenError, TokenFuture, TokenInfo,
        User, known,
    },
    pki::{Pki, constant_time_eq},
};

/// Knows the token of the file `token`. Its user may do what those of bootstrap tokens may.
#[derive(Debug)]
pub(super) struct JoinToken(pub Arc<Pki>);

impl TokenAuthenticator for JoinToken {
    fn authenticate_token<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> TokenFuture<'a> {
        known(match constant_time_eq(token, &self.0.tokens.agent) {
            true => Ok(TokenInfo {
                user: User::known(JOIN_TOKEN_USER, &[BOOTSTRAPPERS.into()]),
                audiences: audiences.to_vec(),
            }),
            false => Err(TokenError::Unknown),
        })
    }
}
