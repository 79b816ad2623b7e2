//! Kinds of `meta.k8s.io` that are bodies of requests to every group.

use super::BASE;
use crate::{Kind, Scope};

pub(super) static DELETE_OPTIONS: Kind = Kind {
    kind: "DeleteOptions",
    type_name: "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    scope: Scope::Cluster,
    verbs: &[],
    ..BASE
};
