//! The authenticators of bearer tokens, in the order in which they are asked. A new one is a file of
//! its own, its `mod` line and its line of [`chain`].

mod admin_token;
mod bootstrap_token;
mod join_token;

use std::sync::Arc;

use crate::{auth::AuthenticatorChain, pki::Pki, registry::Registry};

/// The audience of tokens for the API server.
const API_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// The chain of a server.
#[must_use]
pub(crate) fn chain(pki: &Arc<Pki>, registry: &Arc<Registry>) -> AuthenticatorChain {
    AuthenticatorChain::new(
        vec![
            Arc::new(admin_token::AdminToken(Arc::clone(pki))),
            Arc::new(join_token::JoinToken(Arc::clone(pki))),
            Arc::new(bootstrap_token::BootstrapToken {
                pki: Arc::clone(pki),
                registry: Arc::clone(registry),
            }),
        ],
        vec![API_AUDIENCE.to_owned()],
    )
}
