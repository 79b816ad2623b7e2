//! `Binding`: the body of `pods/binding` and of `bindings`; it is not stored.

use crate::{
    Kind,
    kinds::{kind, names},
};

pub(in crate::kinds) fn kind() -> Kind {
    kind!("core", "Binding", "bindings", "binding",
    storage: "bindings".into(), verbs: names!["create"])
}
