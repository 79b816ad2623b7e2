//! The group that may do everything. Upstream: `authorizerfactory.NewPrivilegedGroups`.

use pandaemon_machinery::rbac::full_authority;

use crate::auth::{Attributes, Authorizer, Decision, DecisionFuture, MASTERS, User, UserRules};

/// Allows everything to `system:masters`.
#[derive(Debug)]
pub(super) struct PrivilegedGroups;

impl Authorizer for PrivilegedGroups {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'_>) -> DecisionFuture<'a> {
        Decision::allow_if(attributes.user.is_in(MASTERS)).into()
    }

    fn rules_for(&self, user: &User, _namespace: &str) -> UserRules {
        let mut rules = UserRules::default();
        if user.is_in(MASTERS) {
            rules.resolved.rules = full_authority();
        }
        rules
    }
}
