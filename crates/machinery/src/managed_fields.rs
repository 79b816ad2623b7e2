//! Server-side apply and `metadata.managedFields`: which field manager set which field of an
//! object.
//!
//! The rules are those of `k8s.io/apimachinery/pkg/util/managedfields` and of
//! `sigs.k8s.io/structured-merge-diff`. A server calls this module at the same points as upstream:
//!
//! - **Create and update** (POST, PUT, JSON patch, merge patch, strategic merge patch): decode the
//!   new object, set its defaults, then [`track_update`], then the strategy, validation and
//!   [`ignore_timestamps`]. Values that the strategy sets (generation, allocated addresses) have no
//!   owner.
//! - **Apply**: decode the body without setting defaults, [`apply`] it, decode the result again
//!   (`decode::decode_value`), set defaults, then the strategy, validation and
//!   [`ignore_timestamps`]. The manager owns what its configuration sets, and no default. Keys of
//!   list items that have a default (`protocol: TCP`) may be left out of a configuration; the field
//!   tables hold these defaults.
//!
//! Objects that differ only in the times of their `managedFields` count as equal: compare them
//! after [`ignore_timestamps`], and write nothing if they are equal.

use serde_json::Value;

use crate::{
    Kind,
    schema::{Shape, Topology},
    status::{Result, Status},
};

mod check;
mod compare;
mod conflict;
mod create_fast_path;
mod entry;
mod equality;
mod field_set;
mod initial_entries;
mod last_applied;
mod merge;
mod merge_type;
mod path_element;
mod prune;
mod remove;
mod reset_fields;
mod to_field_set;
mod update_fast_path;

pub use equality::ignore_timestamps;
pub use field_set::{FieldSet, FieldSetError};
pub use path_element::PathElementError;

use crate::kind::ResetFields;
use compare::{Comparison, compare};
use conflict::Conflict;
use entry::{Entry, Operation, managed_fields_of, put_managed_fields, take_managed_fields};
use initial_entries::InitialEntries;
use merge_type::MergeType;

/// Manager that owns every field of an object that had no `managedFields` when it was first applied
/// to.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The client whose write is recorded.
#[derive(Debug, Clone, Copy)]
pub struct FieldManager<'a> {
    /// The query parameter `fieldManager`, or a name derived from the user agent. Empty counts as
    /// `unknown`.
    pub name: &'a str,
    /// The subresource that the request writes to, such as `status`; empty for the object itself.
    pub subresource: &'a str,
    /// Time of the write: RFC 3339 in UTC with whole seconds.
    pub now: &'a str,
}

impl FieldManager<'_> {
    fn entry(&self, kind: &Kind, operation: Operation, set: FieldSet) -> Entry {
        let name = if self.name.is_empty() {
            "unknown"
        } else {
            self.name
        };
        Entry {
            manager: name.to_owned(),
            operation,
            api_version: kind.api_version(),
            subresource: self.subresource.to_owned(),
            time: Some(self.now.to_owned()),
            set,
        }
    }
}

/// Records in `new.metadata.managedFields` which fields a write other than apply has changed
/// (upstream's `FieldManager.Update`). `old` is the stored object, `None` for a create.
///
/// The manager becomes the only owner of the fields that it added or modified, also of those that
/// an applier owned. Removed fields lose all their owners.
///
/// `managedFields` in `new` that differ from the stored ones replace them before the write is
/// recorded. An empty list resets them: nothing is tracked until the next apply.
pub fn track_update(kind: &Kind, old: Option<&Value>, new: &mut Value, manager: FieldManager<'_>) {
    let sent = take_managed_fields(new);
    let stored = old.and_then(managed_fields_of);
    let reset = kind.strategy.reset_fields(kind, manager.subresource);
    if old.is_none() && sent.is_none() {
        return track_create(kind, new, manager, &reset);
    }
    let changes = compare(root(kind), old, new, &reset);
    let mut entries = match InitialEntries::of(stored, sent.as_ref(), manager.subresource) {
        InitialEntries::FromRequest(entries) => entries,
        InitialEntries::Stored if changes.is_empty() => {
            put_managed_fields(new, stored.cloned());
            return;
        }
        InitialEntries::Stored => {
            let own = manager.entry(kind, Operation::Update, changes.changed());
            let mut list = sent
                .filter(|sent| Some(sent) == stored)
                .or_else(|| stored.cloned());
            if list
                .as_mut()
                .is_some_and(|list| update_fast_path::record(list, &own, &changes))
            {
                put_managed_fields(new, list);
                return;
            }
            entry::decode(stored).unwrap_or_default()
        }
    };
    // An object without entries is not tracked, except from its creation on.
    if old.is_none() || !entries.is_empty() {
        take_from_owners(&mut entries, &changes, |_| true);
        let changed = changes.changed();
        if !changed.is_empty() {
            let own = manager.entry(kind, Operation::Update, changed);
            add_to_manager(&mut entries, own);
        }
        entry::cap_update_managers(&mut entries);
    }
    put_managed_fields(new, entry::encode(entries));
}

/// Records a create whose request has no `managedFields`: the manager owns every field.
fn track_create(kind: &Kind, new: &mut Value, manager: FieldManager<'_>, reset: &ResetFields) {
    let fields = create_fast_path::fields_v1(root(kind), new, reset);
    if !fields.is_empty() {
        let entry = manager.entry(kind, Operation::Update, FieldSet::default());
        let list = vec![entry.encode_with(Value::Object(fields))];
        put_managed_fields(new, Some(Value::Array(list)));
    }
}

/// Merges an applied configuration into the live object and records which fields the manager owns
/// (upstream's `FieldManager.Apply`). `live` is `None` if the object does not exist yet.
///
/// # Errors
/// - 400 if the configuration is of another kind or sets `managedFields`
/// - 500, as upstream, if it has unknown fields, or list items with no or the same key
/// - 409 with a cause for each field that another manager owns and whose value would change, unless
///   `force`
pub fn apply(
    kind: &Kind,
    live: Option<&Value>,
    config: &Value,
    manager: FieldManager<'_>,
    force: bool,
) -> Result<Value> {
    check_applied_config(kind, config)?;
    let apply = Apply {
        kind,
        root: root(kind),
        live,
        config,
        manager,
    };
    let entries = apply.initial_entries()?;
    apply.run(entries, force)
}

/// One apply request.
struct Apply<'a> {
    kind: &'a Kind,
    root: MergeType<'a>,
    live: Option<&'a Value>,
    config: &'a Value,
    manager: FieldManager<'a>,
}

impl Apply<'_> {
    /// The entries of the live object. If it has none, [`BEFORE_FIRST_APPLY`] gets all of its
    /// fields.
    fn initial_entries(&self) -> Result<Vec<Entry>> {
        let Some(live) = self.live else {
            return Ok(Vec::new());
        };
        let entries = entry::decode(managed_fields_of(live)).ok_or_else(|| {
            Status::failure(500, "", "failed to decode managed fields: malformed entry")
        })?;
        if !entries.is_empty() {
            return Ok(entries);
        }
        let before = FieldManager {
            name: BEFORE_FIRST_APPLY,
            ..self.manager
        };
        let reset = self
            .kind
            .strategy
            .reset_fields(self.kind, self.manager.subresource);
        let set = compare(self.root, None, live, &reset).changed();
        let entry = before.entry(self.kind, Operation::Update, set);
        Ok(if entry.set.is_empty() {
            Vec::new()
        } else {
            vec![entry]
        })
    }

    fn run(&self, mut entries: Vec<Entry>, force: bool) -> Result<Value> {
        let reset = self
            .kind
            .strategy
            .reset_fields(self.kind, self.manager.subresource);
        let mut set = to_field_set::to_field_set(self.root, self.config);
        reset.remove_from(&mut set);
        let mut own = self.manager.entry(self.kind, Operation::Apply, set);
        let at = entries.iter().position(|other| other.same_manager(&own));
        let last = at.map(|at| entries.swap_remove(at));

        let mut object = self
            .live
            .cloned()
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        take_managed_fields(&mut object);
        merge::merge(self.root, &mut object, self.config);
        if let Some(last) = &last {
            let mut owned = own.set.clone();
            entries.iter().for_each(|entry| owned.union(&entry.set));
            prune::prune(self.root, &mut object, &last.set, &owned);
        }
        let changes = compare(self.root, self.live, &object, &reset);
        remove::remove_nulls(self.root, &mut object);
        if !force {
            self.check_conflicts(&entries, &changes.changed())?;
        }
        take_from_owners(&mut entries, &changes, |entry| !entry.same_manager(&own));
        if let Some(last) = last
            && changes.is_empty()
            && last.set == own.set
            && last.api_version == own.api_version
            && self
                .live
                .is_some_and(|live| equality::equal_but_managed_fields(live, &object))
        {
            own.time = last.time;
        }
        if !own.set.is_empty() {
            entries.push(own);
        }
        put_managed_fields(&mut object, entry::encode(entries));
        if self.manager.name == last_applied::MANAGER {
            last_applied::refresh(&mut object, self.config);
        }
        Ok(object)
    }

    /// Refuses to change fields that other managers own.
    fn check_conflicts(&self, entries: &[Entry], changed: &FieldSet) -> Result<()> {
        let mut conflicts: Vec<Conflict<'_>> = entries
            .iter()
            .map(|owner| Conflict {
                owner,
                fields: owner.set.intersection(changed),
            })
            .filter(|conflict| !conflict.fields.is_empty())
            .collect();
        if conflicts.is_empty() {
            return Ok(());
        }
        if let (last_applied::MANAGER, Some(live)) = (self.manager.name, self.live) {
            let allowed = last_applied::allowed(self.root, live, &self.kind.api_version());
            for conflict in &mut conflicts {
                conflict.fields.subtract(&allowed);
            }
            conflicts.retain(|conflict| !conflict.fields.is_empty());
        }
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(conflict::status(conflicts))
        }
    }
}

/// Checks a configuration as it was sent, before it is applied: its kind, and its fields against
/// the field tables.
///
/// # Errors
/// 400 for another kind or for `managedFields`, 500 (as upstream) for fields that the kind does not
/// have.
pub fn check_applied_config(kind: &Kind, config: &Value) -> Result<()> {
    let text = |pointer| {
        config
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (version, name) = (text("/apiVersion"), text("/kind"));
    let slash = if version.contains('/') { "" } else { "/" };
    if version != kind.api_version() || name != kind.kind {
        let text = format!("invalid object type: {slash}{version}, Kind={name}");
        return Err(Status::bad_request(text));
    }
    if managed_fields_of(config).is_some() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let errors = check::errors(root(kind), config);
    let omitted = errors.omitted();
    let mut errors = errors.into_vec();
    if omitted > 0 {
        errors.push(format!("and {omitted} more errors"));
    }
    let list = match errors.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let (namespace, object) = (text("/metadata/namespace"), text("/metadata/name"));
    Err(Status::failure(
        500,
        "",
        format!(
            "failed to create typed patch object ({namespace}/{object}; {slash}{version}, Kind={name}): {list}"
        ),
    ))
}

/// How an object of the kind is merged as a whole.
fn root(kind: &Kind) -> MergeType<'_> {
    kind.object_type().map_or(MergeType::Atomic, |table| {
        MergeType::of(Shape::Object(table), Topology::Default)
    })
}

/// Removes added, modified and removed fields from the entries that `affects` selects, and then the
/// entries without a field.
fn take_from_owners(
    entries: &mut Vec<Entry>,
    changes: &Comparison,
    affects: impl Fn(&Entry) -> bool,
) {
    for entry in entries.iter_mut().filter(|entry| affects(entry)) {
        for changed in [&changes.added, &changes.modified, &changes.removed] {
            entry.set.subtract(changed);
        }
    }
    entries.retain(|entry| !entry.set.is_empty());
}

/// Adds the fields of `entry` to the entry of the same manager; a manager without one gets it.
fn add_to_manager(entries: &mut Vec<Entry>, entry: Entry) {
    match entries.iter_mut().find(|other| other.same_manager(&entry)) {
        Some(other) => {
            other.set.union(&entry.set);
            other.time = entry.time;
        }
        None => entries.push(entry),
    }
}

#[cfg(test)]
mod tests;
