//! The answer to an apply that would change fields of other managers.

use super::{
    entry::{Entry, Operation},
    field_set::FieldSet,
};
use crate::status::{Cause, Details, Status};

/// The fields of another manager that an apply would change.
pub(super) struct Conflict<'a> {
    pub(super) owner: &'a Entry,
    pub(super) fields: FieldSet,
}

/// 409 with a cause for each field, sorted by manager (upstream's `NewConflictError`).
pub(super) fn status(mut conflicts: Vec<Conflict<'_>>) -> Box<Status> {
    conflicts.sort_by(|a, b| a.owner.cmp_manager(b.owner));
    let fields: Vec<(String, Vec<String>)> = conflicts
        .iter()
        .map(|c| (name(c.owner), c.fields.paths()))
        .collect();
    let causes: Vec<Cause> = fields
        .iter()
        .flat_map(|(owner, paths)| paths.iter().map(move |path| (owner, path)))
        .map(|(owner, path)| Cause {
            reason: "FieldManagerConflict".into(),
            message: format!("conflict with {owner}"),
            field: path.clone(),
        })
        .collect();
    let text = match causes.as_slice() {
        [one] => format!(
            "Apply failed with 1 conflict: {}: {}",
            one.message, one.field
        ),
        many => format!(
            "Apply failed with {} conflicts: {}",
            many.len(),
            list(&fields)
        ),
    };
    Status::failure(409, "Conflict", text).with_details(Details {
        causes,
        ..Details::default()
    })
}

fn list(fields: &[(String, Vec<String>)]) -> String {
    let mut lines = Vec::new();
    for (owner, paths) in fields {
        lines.push(format!("conflicts with {owner}:"));
        lines.extend(paths.iter().map(|path| format!("- {path}")));
    }
    lines.join("\n")
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
