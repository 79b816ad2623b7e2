//! The group that may do everything. Upstream: `authorizerfactory.NewPrivilegedGroups`.

use crate::auth::{Attributes, Authorizer, Decision, DecisionFuture, MASTERS};

/// Allows everything to `system:masters`.
#[derive(Debug)]
pub(super) struct PrivilegedGroups;

impl Authorizer for PrivilegedGroups {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'_>) -> DecisionFuture<'a> {
        Decision::allow_if(attributes.user.is_in(MASTERS)).into()
    }
}
