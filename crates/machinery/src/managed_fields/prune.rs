//! Removes fields that a manager has applied before and does not apply any more.

use serde_json::Value;

use super::{
    field_set::FieldSet,
    merge_type::MergeType,
    remove::remove,
    to_field_set::{to_field_set, with_structs},
};

/// Removes a field, list item or map key from the merged object if the manager applied it last
/// time, does not apply it now, and no other manager owns it (the `prune` of
/// structured-merge-diff's `Updater`). `last` is what the manager applied last time, `owned` what
/// all managers own now.
pub(super) fn prune(root: MergeType<'_>, merged: &mut Value, last: &FieldSet, owned: &FieldSet) {
    if last.difference(owned).is_empty() {
        return;
    }
    let last = with_structs(root, last);
    let all = with_structs(root, &to_field_set(root, merged));
    let set_of = |without: &FieldSet| {
        let mut rest = merged.clone();
        remove(root, &mut rest, without);
        with_structs(root, &to_field_set(root, &rest))
    };
    // Without all that was applied last time, but with every field that a manager owns.
    let mut keep = set_of(&last);
    keep.union(&with_structs(root, owned));
    let kept = set_of(&all.difference(&keep));
    // Of the fields that are missing now, only those applied last time are removed: the others had
    // no owner.
    let removed = all.difference(&kept).intersection(&last);
    remove(root, merged, &removed);
}
