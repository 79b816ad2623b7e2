//! `Binding`: the body of `pods/binding` and of `bindings`; it is not stored.

use crate::{
    Kind,
    kinds::{CREATE, kind},
};

pub(in crate::kinds) static KIND: Kind = kind!("core", "Binding", "bindings", "binding",
    storage: "bindings", verbs: CREATE);
