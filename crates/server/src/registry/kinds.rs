//! The kinds that the server itself reads and writes.

use pandaemon_machinery::{KindRef, Status, scheme, status::Result};

/// The namespace of the leases of nodes.
pub(crate) const NODE_LEASES: &str = "kube-node-lease";

/// A function for each kind: its name, group and resource in version `v1`.
macro_rules! kinds {
    ($($name:ident: $group:literal, $plural:literal;)*) => {
        $(
            #[doc = concat!("The kind of `", $plural, "`.")]
            ///
            /// # Errors
            /// 404 if it is not served.
            pub(crate) fn $name() -> Result<&'static KindRef> {
                let kind = scheme::built_in().find_resource($group, "v1", $plural);
                kind.ok_or_else(Status::path_not_found)
            }
        )*
    };
}

kinds! {
    bindings: "", "bindings";
    config_maps: "", "configmaps";
    endpoint_slices: "discovery.k8s.io", "endpointslices";
    endpoints: "", "endpoints";
    events: "", "events";
    namespaces: "", "namespaces";
    nodes: "", "nodes";
    pods: "", "pods";
    secrets: "", "secrets";
    service_accounts: "", "serviceaccounts";
    services: "", "services";
}
