//! The rights of machines that join. Upstream: the roles `system:node-bootstrapper`,
//! `system:certificates.k8s.io:certificatesigningrequests:nodeclient` and `...:selfnodeclient`, as
//! kubeadm binds them.

use crate::auth::{Attributes, Authorizer, BOOTSTRAPPERS, Decision, DecisionFuture};

/// Allows joining machines to ask for certificates of a node, and nodes to renew theirs.
#[derive(Debug)]
pub(super) struct NodeBootstrapper;

impl Authorizer for NodeBootstrapper {
    fn authorize<'a>(&'a self, attributes: &'a Attributes<'_>) -> DecisionFuture<'a> {
        let is_about_requests = attributes.is_resource_request
            && (attributes.api_group, attributes.resource)
                == ("certificates.k8s.io", "certificatesigningrequests");
        Decision::allow_if(is_about_requests && may(attributes)).into()
    }
}

fn may(attributes: &Attributes<'_>) -> bool {
    let user = attributes.user;
    match (attributes.subresource, attributes.verb) {
        ("", "create" | "get" | "list" | "watch") | ("nodeclient", "create") => {
            user.is_in(BOOTSTRAPPERS)
        }
        ("selfnodeclient", "create") => user.node().is_some(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::User;

    #[test]
    fn machines_that_join_may_ask_for_certificates_and_nothing_else() {
        let joining = User::known("system:bootstrap:a", &[BOOTSTRAPPERS.into()]);
        let node = User::known("system:node:a", &["system:nodes".into()]);
        let table = [
            (&joining, "", "create", true),
            (&joining, "", "watch", true),
            (&joining, "", "delete", false),
            (&joining, "approval", "update", false),
            (&joining, "nodeclient", "create", true),
            (&joining, "selfnodeclient", "create", false),
            (&node, "nodeclient", "create", false),
            (&node, "selfnodeclient", "create", true),
        ];
        for (user, subresource, verb, expected) in table {
            let attributes = Attributes {
                api_group: "certificates.k8s.io",
                resource: "certificatesigningrequests",
                subresource,
                ..Attributes::new(user, verb)
            };
            assert_eq!(
                may(&attributes),
                expected,
                "{} {subresource} {verb}",
                user.name
            );
        }
    }
}
