//! Authentication and authorization.

pub(crate) mod authenticator;
pub(crate) mod authorizer;
pub(crate) mod user;

pub(crate) use self::{
    authenticator::{authenticate, bearer_token, unauthorized},
    authorizer::{Attributes, authorize},
    user::{Caller, User},
};
