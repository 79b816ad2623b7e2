//! Authentication, impersonation and authorization.

pub(crate) mod authenticator;
pub(crate) mod authorizer;
pub(crate) mod impersonation;
pub(crate) mod user;

pub(crate) use self::{
    authenticator::{authenticate, bearer_token, unauthorized},
    authorizer::AuthorizerChain,
    impersonation::impersonate,
    user::{AUTHENTICATED, Caller, MASTERS},
};
pub use self::{
    authorizer::{Attributes, Authorizer, Decision, DecisionFuture},
    user::User,
};
