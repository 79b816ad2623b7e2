//! The patch strategies of the field tables (`x-kubernetes-patch-strategy`,
//! `x-kubernetes-patch-merge-key`).

use super::errors::internal;
use crate::{schema::Shape, status::Result};

/// The patch strategy of a field.
pub(super) struct Strategy<'t> {
    pub(super) shape: Shape<'t>,
    /// Whether lists merge item by item.
    pub(super) merge: bool,
    /// The field that identifies an item; empty for scalars.
    pub(super) merge_key: &'t str,
}

/// The patch strategy of the field `key` in a value of this shape.
///
/// # Errors
/// 500, as upstream, for a field that the struct does not have.
pub(super) fn of_field<'t>(shape: Shape<'t>, key: &str) -> Result<Strategy<'t>> {
    let plain = |shape| Strategy {
        shape,
        merge: false,
        merge_key: "",
    };
    match shape {
        Shape::Object(struct_type) => match struct_type.field(key) {
            Some(field) => Ok(Strategy {
                shape: field.shape,
                merge: field.patch_merge,
                merge_key: field.patch_merge_key,
            }),
            None => Err(internal(format!(
                "unable to find api field in struct {} for the json field {key:?}",
                struct_type.short_name()
            ))),
        },
        Shape::Map(value) => Ok(plain(value.shape())),
        _ => Ok(plain(Shape::Any)),
    }
}
