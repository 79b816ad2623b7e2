//! The authenticators of bearer tokens, in the order in which they are asked. A new one is a file of
//! its own, its `mod` line and its line of [`chain`].

mod admin_token;
mod service_account_token;

use std::sync::Arc;

use crate::{
    auth::AuthenticatorChain, cache::watch_cache::WatchCache, pki::Pki,
    service_accounts::TokenIssuer,
};

/// The chain of a server.
#[must_use]
pub(crate) fn chain(
    pki: &Arc<Pki>,
    issuer: &Arc<TokenIssuer>,
    cache: &Arc<WatchCache>,
) -> AuthenticatorChain {
    AuthenticatorChain::new(
        vec![
            Arc::new(admin_token::AdminToken(Arc::clone(pki))),
            Arc::new(service_account_token::ServiceAccountTokens {
                issuer: Arc::clone(issuer),
                cache: Arc::clone(cache),
            }),
        ],
        issuer.options.api_audiences.clone(),
    )
}
