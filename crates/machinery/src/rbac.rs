//! RBAC: which rules a user has, and what they allow. Upstream:
//! `plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac/validation` and
//! `component-helpers/auth/rbac/validation`.

mod binding;
mod coverage;
mod grant;
mod policy;
mod request;
mod role_set;
mod rule;

pub(crate) use self::coverage::not_covered;
pub use self::{
    binding::{Identity, RoleRef},
    coverage::{confirm_no_escalation, full_authority},
    grant::Grant,
    policy::{Policy, Resolved},
    request::Request,
    rule::PolicyRule,
};

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

#[cfg(test)]
mod tests;
