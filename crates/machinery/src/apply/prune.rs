//! Removes what an applier no longer applies.

use serde_json::Value;

use super::{
    fields::{fields_of, remove, with_structs},
    node::Node,
    set::FieldSet,
};

/// Removes a field, list item or map key from the merged object if the applier set it last time, does not
/// set it now, and nobody else owns it. `owned` is what all managers own now, this one included.
pub(super) fn prune(root: Node, merged: &mut Value, last: &FieldSet, owned: &FieldSet) {
    if last.difference(owned).is_empty() {
        return;
    }
    let last = with_structs(root, last);
    let all = with_structs(root, &fields_of(root, merged));
    let set_of = |without: &FieldSet| {
        let mut rest = merged.clone();
        remove(root, &mut rest, without);
        with_structs(root, &fields_of(root, &rest))
    };
    // Without all that was applied last time, but with what somebody owns.
    let mut keep = set_of(&last);
    keep.union(&with_structs(root, owned));
    let kept = set_of(&all.difference(&keep));
    // Of what is missing now, only fields of the last time really go: the rest was nobody's.
    let gone = all.difference(&kept).intersection(&last);
    remove(root, merged, &gone);
}
