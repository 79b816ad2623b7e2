//! Nobody gives rights to others that it does not have: checks of roles and bindings.
//! Upstream: `pkg/registry/rbac/*/policybased`.

use pandaemon_machinery::{
    Status,
    rbac::{Grant, PolicyRule, confirm_no_escalation, full_authority},
    status::Result,
};
use serde_json::Value;

use super::{Call, Registry, meta, unreadable};
use crate::auth::{Attributes, AuthorizerChain, MASTERS};

impl Registry {
    /// Checks that the user has the rights that a written object gives to others, or may `escalate`
    /// or `bind`.
    ///
    /// # Errors
    /// 403 if it has not, 404 if a binding refers to no role.
    pub(super) async fn check_grant(
        &self,
        call: &Call,
        old: Option<&Value>,
        new: &Value,
    ) -> Result<()> {
        let (Some(grant), Some(authorizers)) = (call.kind.strategy.grants(new), &call.authorizers)
        else {
            return Ok(());
        };
        if call.user.is_in(MASTERS) || old.is_some_and(|old| keeps_all_but_owners(old, new)) {
            return Ok(());
        }
        match grant {
            Grant::Rules { rules, aggregates } => {
                let escalate = Attributes {
                    api_version: "*",
                    ..call.attributes("escalate")
                };
                if authorizers.allows(&escalate).await {
                    return Ok(());
                }
                confirm(call, authorizers, new, &rules)?;
                if aggregates || old.is_some_and(|old| aggregated(call, old)) {
                    let why = "must have cluster-admin privileges to use the aggregationRule";
                    return confirm(call, authorizers, new, &full_authority())
                        .map_err(|_| Status::forbidden(&call.kind, meta::name(new), why));
                }
                Ok(())
            }
            Grant::Role { group, kind, name } => {
                let Some(role_kind) = call.scheme.find_kind(&group, "v1", &kind) else {
                    // Validation refuses it.
                    return Ok(());
                };
                let bind = Attributes {
                    api_group: &group,
                    api_version: "*",
                    resource: &role_kind.plural,
                    name: &name,
                    ..call.attributes("bind")
                };
                if authorizers.allows(&bind).await {
                    return Ok(());
                }
                let namespace = match role_kind.is_namespaced() {
                    true => call.namespace.as_str(),
                    false => "",
                };
                let role = self.find(role_kind, namespace, &name);
                let role = role.ok_or_else(|| Status::not_found(role_kind, &name))?;
                let role = role.value().map_err(unreadable)?;
                match role_kind.strategy.grants(&role) {
                    Some(Grant::Rules { rules, .. }) => confirm(call, authorizers, new, &rules),
                    _ => Ok(()),
                }
            }
        }
    }
}

/// Checks that the user has these rights in the namespace of the call.
fn confirm(
    call: &Call,
    authorizers: &AuthorizerChain,
    new: &Value,
    rules: &[PolicyRule],
) -> Result<()> {
    let held = authorizers.rules_for(&call.user, &call.namespace).resolved;
    confirm_no_escalation(call.user.identity(), &held, rules)
        .map_err(|why| Status::forbidden(&call.kind, meta::name(new), &why))
}

/// Whether a role got the rules of others.
fn aggregated(call: &Call, old: &Value) -> bool {
    let grant = call.kind.strategy.grants(old);
    matches!(
        grant,
        Some(Grant::Rules {
            aggregates: true,
            ..
        })
    )
}

/// Whether a write changes nothing but what the garbage collector needs. Upstream:
/// `IsOnlyMutatingGCFields`.
fn keeps_all_but_owners(old: &Value, new: &Value) -> bool {
    let rest = |object: &Value| {
        let mut object = object.clone();
        meta::edit(&mut object, |metadata| {
            for field in ["ownerReferences", "finalizers", "managedFields"] {
                metadata.remove(field);
            }
        });
        object
    };
    rest(old) == rest(new)
}
