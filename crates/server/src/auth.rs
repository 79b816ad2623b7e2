//! Authentication and authorization.

pub mod authenticator;
pub mod authorizer;
pub mod user;

pub use self::{
    authenticator::{authenticate, bearer_token, unauthorized},
    authorizer::{Attributes, authorize},
    user::{Caller, User},
};
