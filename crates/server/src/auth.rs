//! Authentication, impersonation and authorization.

pub(crate) mod attributes;
pub(crate) mod authenticator;
pub(crate) mod authorizer;
pub(crate) mod front_proxy;
pub(crate) mod impersonation;
pub(crate) mod service_account;
pub(crate) mod user;
mod user_headers;

pub use self::{
    attributes::Attributes,
    authorizer::{Authorizer, Decision, DecisionFuture, UserRules},
    user::User,
};
pub(crate) use self::{
    attributes::verb_of,
    authenticator::{
        Anonymous, AuthenticatorChain, TokenAuthenticator, TokenError, TokenFuture, TokenInfo,
        TokenResult, bearer_token, known, unauthorized,
    },
    authorizer::{AuthorizerChain, check_request},
    impersonation::impersonate,
    user::{
        ANONYMOUS, BOOTSTRAP_USER, BOOTSTRAPPERS, CERTIFICATE_KEY, Caller, JOIN_TOKEN_USER,
        MASTERS, NODE_NAME,
    },
};
