//! Cases and properties of the three patch types.

mod json;
mod merge;
mod strategic;
mod syntax;

use crate::{Kind, scheme};

fn kind(group: &str, plural: &str) -> &'static Kind {
    scheme::built_in()
        .find_resource(group, "v1", plural)
        .unwrap()
}

fn daemonset() -> &'static Kind {
    kind("apps", "daemonsets")
}
