//! The kinds that are served: one module a kind, with its row and its [`Strategy`]. To add a kind,
//! write its module and name its row here; `docs/design/api-server.md` has an example.

mod apps;
mod authentication;
mod authorization;
mod coordination;
mod core;
mod discovery;
mod events;
mod meta;
mod policy;
mod scheduling;

use crate::{
    Kind, Scope, Strategy,
    kind::{Subresource, Usual},
};

/// The kinds with a resource path of their own, in the order of discovery.
pub(crate) static WITH_PATH: &[&Kind] = &[
    &core::binding::KIND,
    &core::config_map::KIND,
    &core::endpoints::KIND,
    &core::event::KIND,
    &core::namespace::KIND,
    &core::node::KIND,
    &core::pod::KIND,
    &core::secret::KIND,
    &core::service_account::KIND,
    &core::service::KIND,
    &apps::controller_revision::KIND,
    &apps::daemon_set::KIND,
    &events::event::KIND,
    &authentication::SELF_SUBJECT_REVIEW,
    &authentication::TOKEN_REVIEW,
    &authorization::LOCAL_SUBJECT_ACCESS_REVIEW,
    &authorization::SELF_SUBJECT_ACCESS_REVIEW,
    &authorization::SELF_SUBJECT_RULES_REVIEW,
    &authorization::SUBJECT_ACCESS_REVIEW,
    &scheduling::priority_class::KIND,
    &coordination::lease::KIND,
    &discovery::endpoint_slice::KIND,
];

/// Kinds without a resource path: bodies of subresources, and options of requests.
pub(crate) static BODIES: &[&Kind] = &[
    &policy::EVICTION,
    &policy::EVICTION_V1BETA1,
    &authentication::TOKEN_REQUEST,
    &meta::DELETE_OPTIONS,
];

const ALL: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const CREATE: &[&str] = &["create"];
const READ_WRITE: &[&str] = &["get", "patch", "update"];

/// The values that most kinds have.
const BASE: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    list_kind: "",
    plural: "",
    singular: "",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: ALL,
    subresources: &[],
    type_name: "",
    storage: "",
    selectable_fields: &[],
    strategy: &Usual as &dyn Strategy,
};

/// A kind with its names: package of its types, kind, resource, resource in the singular. Fields
/// after the names replace those of [`BASE`].
macro_rules! kind {
    ($package:literal, $kind:literal, $plural:literal, $singular:literal
     $(, $field:ident: $value:expr)* $(,)?) => {
        $crate::Kind {
            kind: $kind,
            list_kind: concat!($kind, "List"),
            plural: $plural,
            singular: $singular,
            type_name: concat!("io.k8s.api.", $package, ".v1.", $kind),
            $($field: $value,)*
            ..$crate::kinds::BASE
        }
    };
}
use kind;

const fn sub(
    name: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource {
        name,
        group: "",
        version: "v1",
        kind,
        verbs,
    }
}
