//! The authenticators of bearer tokens, in the order in which they are asked. A new one is a file of
//! its own, its `mod` line and its line of [`chain`].

mod admin_token;

use std::sync::Arc;

use crate::{auth::AuthenticatorChain, pki::Pki};

/// The audience of tokens for the API server.
const API_AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// The chain of a server.
#[must_use]
pub(crate) fn chain(pki: &Arc<Pki>) -> AuthenticatorChain {
    AuthenticatorChain::new(
        vec![Arc::new(admin_token::AdminToken(Arc::clone(pki)))],
        vec![API_AUDIENCE.to_owned()],
    )
}
