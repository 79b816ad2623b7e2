//! Kinds of `meta.k8s.io` that are bodies of requests to every group.

use super::base;
use crate::{Kind, Scope};

pub(super) fn delete_options() -> Kind {
    Kind {
        kind: "DeleteOptions".into(),
        type_name: "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions".into(),
        scope: Scope::Cluster,
        verbs: Vec::new(),
        ..base()
    }
}
