//! The answer to an apply that would change fields of other managers.

use super::{
    entry::{Entry, Operation},
    field_set::FieldSet,
};
use crate::{
    bounds::{MAX_TEXTS, Texts},
    status::{Cause, Details, Status},
};

/// The fields of another manager that an apply would change.
pub(super) struct Conflict<'a> {
    pub(super) owner: &'a Entry,
    pub(super) fields: FieldSet,
}

/// 409 with a cause for each field, sorted by manager (upstream's `NewConflictError`); for the
/// first 100 if there are many.
pub(super) fn status(mut conflicts: Vec<Conflict<'_>>) -> Box<Status> {
    conflicts.sort_by(|a, b| a.owner.cmp_manager(b.owner));
    let count: usize = conflicts.iter().map(|c| c.fields.len()).sum();
    let mut causes: Vec<Cause> = Vec::new();
    let mut lines = Texts::default();
    for conflict in &conflicts {
        if lines.is_full() {
            break;
        }
        let owner = name(conflict.owner);
        lines.add(format_args!("conflicts with {owner}:"));
        for field in conflict.fields.paths(MAX_TEXTS - causes.len()) {
            lines.add(format_args!("- {field}"));
            causes.push(Cause {
                reason: "FieldManagerConflict".into(),
                message: format!("conflict with {owner}"),
                field,
            });
        }
    }
    let omitted = count - causes.len();
    let text = match causes.as_slice() {
        [one] if omitted == 0 => format!(
            "Apply failed with 1 conflict: {}: {}",
            one.message, one.field
        ),
        _ => {
            let mut lines = lines.into_vec();
            if omitted > 0 {
                lines.push(format!("and {omitted} more"));
            }
            format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
        }
    };
    Status::failure(409, "Conflict", text).with_details(Details {
        causes,
        ..Details::default()
    })
}

/// The manager as upstream's message names it: `"kubelet" with subresource "status" using v1`.
fn name(owner: &Entry) -> String {
    let mut text = format!("{:?}", owner.manager);
    if !owner.subresource.is_empty() {
        text = format!("{text} with subresource {:?}", owner.subresource);
    }
    match owner.operation {
        Operation::Apply => text,
        Operation::Update => format!("{text} using {}", owner.api_version),
    }
}
