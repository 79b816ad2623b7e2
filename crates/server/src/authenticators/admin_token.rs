//! The administrator's token in the data directory.

use std::sync::Arc;

use crate::{
    auth::{TokenAuthenticator, TokenError, TokenFuture, TokenInfo, User, known},
    pki::{Pki, constant_time_eq},
};

/// Knows the token of the file `admin-token`. It names no audience.
#[derive(Debug)]
pub(super) struct AdminToken(pub Arc<Pki>);

impl TokenAuthenticator for AdminToken {
    fn authenticate_token<'a>(&'a self, token: &'a str, _: &'a [String]) -> TokenFuture<'a> {
        known(match constant_time_eq(token, &self.0.tokens.admin) {
            true => Ok(TokenInfo {
                user: User::admin(),
                audiences: Vec::new(),
            }),
            false => Err(TokenError::Unknown),
        })
    }
}
