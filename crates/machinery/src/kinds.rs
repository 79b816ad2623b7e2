//! The kinds that are served: one module a kind, with its row and its
//! [`Strategy`](crate::Strategy). To add a kind, write its module and name its row here;
//! `docs/design/api-server.md` has an example.

mod apps;
mod authentication;
mod authorization;
mod certificates;
mod coordination;
mod core;
mod discovery;
mod events;
mod flow_control;
mod meta;
mod policy;
mod rbac;
mod scheduling;

use crate::{
    Kind, Scope,
    kind::{Subresource, Usual},
};

/// The kinds with a resource path of their own, in the order of discovery.
pub(crate) fn with_path() -> Vec<Kind> {
    vec![
        core::binding::kind(),
        core::config_map::kind(),
        core::endpoints::kind(),
        core::event::kind(),
        core::namespace::kind(),
        core::node::kind(),
        core::pod::kind(),
        core::secret::kind(),
        core::service_account::kind(),
        core::service::kind(),
        apps::controller_revision::kind(),
        apps::daemon_set::kind(),
        events::event::kind(),
        authentication::self_subject_review(),
        authentication::token_review(),
        authorization::local_subject_access_review(),
        authorization::self_subject_access_review(),
        authorization::self_subject_rules_review(),
        authorization::subject_access_review(),
        certificates::certificate_signing_request::kind(),
        rbac::cluster_role_binding::kind(),
        rbac::cluster_role::kind(),
        rbac::role_binding::kind(),
        rbac::role::kind(),
        scheduling::priority_class::kind(),
        coordination::lease::kind(),
        discovery::endpoint_slice::kind(),
        flow_control::flow_schema(),
        flow_control::priority_level_configuration(),
    ]
}

/// Kinds without a resource path: bodies of subresources, and options of requests.
pub(crate) fn bodies() -> Vec<Kind> {
    vec![
        policy::eviction(),
        policy::eviction_v1beta1(),
        authentication::token_request(),
        meta::delete_options(),
    ]
}

/// A list of names, as rows have them.
macro_rules! names {
    ($($name:literal),* $(,)?) => { vec![$(String::from($name)),*] };
}
use names;

/// The values that most kinds have.
fn base() -> Kind {
    Kind {
        group: String::new(),
        version: "v1".into(),
        kind: String::new(),
        list_kind: String::new(),
        plural: String::new(),
        singular: String::new(),
        scope: Scope::Namespaced,
        short_names: Vec::new(),
        categories: Vec::new(),
        verbs: names![
            "create",
            "delete",
            "deletecollection",
            "get",
            "list",
            "patch",
            "update",
            "watch"
        ],
        subresources: Vec::new(),
        type_name: String::new(),
        built_type: None,
        storage: String::new(),
        selectable_fields: Vec::new(),
        strategy: Box::new(Usual),
    }
}

/// A kind with its names: package of its types, kind, resource, resource in the singular. Fields
/// after the names replace those of [`base`].
macro_rules! kind {
    ($package:literal, $kind:literal, $plural:literal, $singular:literal
     $(, $field:ident: $value:expr)* $(,)?) => {
        $crate::Kind {
            kind: $kind.into(),
            list_kind: concat!($kind, "List").into(),
            plural: $plural.into(),
            singular: $singular.into(),
            type_name: concat!("io.k8s.api.", $package, ".v1.", $kind).into(),
            $($field: $value,)*
            ..$crate::kinds::base()
        }
    };
}
use kind;

/// Verbs of subresources that read and write a part of the object.
const READ_WRITE: &[&str] = &["get", "patch", "update"];

/// A subresource with bodies of the core group.
fn sub(name: &str, kind: &str, verbs: &[&str]) -> Subresource {
    sub_of("", name, kind, verbs)
}

/// A subresource with bodies of this group.
fn sub_of(group: &str, name: &str, kind: &str, verbs: &[&str]) -> Subresource {
    Subresource {
        name: name.into(),
        group: group.into(),
        version: "v1".into(),
        kind: kind.into(),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
    }
}
