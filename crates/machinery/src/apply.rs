//! Server-side apply and `metadata.managedFields`: who set which field of an object.
//!
//! The order in which a server uses this, which is upstream's:
//!
//! - **Create and update** (POST, PUT, and the three other patches): decode the new object, set its
//!   defaults, then [`track_update`], then the strategy (what this write may not touch, generation,
//!   allocated values), validation and [`keep_times`]. Values that the strategy sets are nobody's.
//! - **Apply**: decode the body without setting defaults, [`apply`] it, check the result again as a body
//!   (`decode::check`), set defaults, then strategy, validation and [`keep_times`]. The applier owns exactly
//!   what its configuration sets, and no default. The keys of list items that the configuration may leave
//!   out because they have a default (`protocol`) are known from the field tables.
//!
//! Objects that differ in nothing but times are one object: compare after [`keep_times`], and write nothing
//! if nothing changed.

use serde_json::Value;

use crate::{
    Kind,
    schema::{self, Shape, Topology},
    status::{Result, Status},
};

mod base;
mod compare;
mod conflict;
mod fields;
mod ignored;
mod last_applied;
mod managers;
mod merge;
mod newborn;
mod node;
mod object;
mod path;
mod prune;
mod set;
mod steady;

pub use object::keep_times;
pub use set::{FieldSet, FieldsError};

use base::Base;
use compare::{Comparison, compare};
use conflict::Conflict;
use ignored::Ignored;
use managers::{Entry, Operation};
use node::Node;
use object::{managed_of, put_managed, take_managed};

/// Owner of all that was there before anybody applied, if nobody had been tracked.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes.
#[derive(Debug, Clone, Copy)]
pub struct Manager<'a> {
    /// `fieldManager`, or derived from the user agent.
    pub name: &'a str,
    /// `status` or empty.
    pub subresource: &'a str,
    /// RFC 3339, whole seconds.
    pub now: &'a str,
}

impl Manager<'_> {
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

/// Records in `new.metadata.managedFields` which fields this non-apply write changed.
///
/// The writer takes what it added and modified, from appliers too; what it removed is nobody's any more.
/// `managedFields` that the client sent in `new` are where this starts from; an empty list resets them, and
/// then nothing is tracked until the next apply.
pub fn track_update(kind: &Kind, old: Option<&Value>, new: &mut Value, manager: Manager<'_>) {
    let sent = take_managed(new);
    let stored = old.and_then(managed_of);
    let ignored = Ignored::of(kind, manager.subresource);
    if old.is_none() && sent.is_none() {
        return track_newborn(kind, new, manager, &ignored);
    }
    let changes = compare(root(kind), old, new, &ignored);
    let mut entries = match Base::of(stored, sent.as_ref(), manager.subresource) {
        Base::Sent(entries) => entries,
        Base::Stored if changes.is_empty() => {
            put_managed(new, stored.cloned());
            return;
        }
        Base::Stored => {
            let own = manager.entry(kind, Operation::Update, changes.taken());
            let mut list = sent
                .filter(|sent| Some(sent) == stored)
                .or_else(|| stored.cloned());
            if list
                .as_mut()
                .is_some_and(|list| steady::join(list, &own, &changes))
            {
                put_managed(new, list);
                return;
            }
            managers::decode(stored).unwrap_or_default()
        }
    };
    // Nobody was tracked so far: only a new object starts with it.
    if old.is_none() || !entries.is_empty() {
        take_over(&mut entries, &changes, |_| true);
        let taken = changes.taken();
        if !taken.is_empty() {
            add(&mut entries, manager.entry(kind, Operation::Update, taken));
        }
        managers::cap_updaters(&mut entries);
    }
    put_managed(new, managers::encode(entries));
}

/// A new object whose maker sent no `managedFields`: all of it is the maker's.
fn track_newborn(kind: &Kind, new: &mut Value, manager: Manager<'_>, ignored: &Ignored) {
    let fields = newborn::fields_v1(root(kind), new, ignored);
    if !fields.is_empty() {
        let entry = manager.entry(kind, Operation::Update, FieldSet::default());
        let list = vec![entry.encode_with(Value::Object(fields))];
        put_managed(new, Some(Value::Array(list)));
    }
}

/// Merges an applied configuration into the live object and records ownership.
///
/// # Errors
/// 400 if the configuration is of another kind or sets `managedFields`, 500 (as upstream) if it has unknown
/// fields or list items that cannot be told apart, 409 with a cause for each field that another manager
/// owns, unless forced.
pub fn apply(
    kind: &Kind,
    live: Option<&Value>,
    config: &Value,
    manager: Manager<'_>,
    force: bool,
) -> Result<Value> {
    check_config(kind, config)?;
    let apply = Apply {
        kind,
        root: root(kind),
        live,
        config,
        manager,
    };
    let entries = apply.owners()?;
    apply.run(entries, force)
}

/// One apply request.
struct Apply<'a> {
    kind: &'a Kind,
    root: Node,
    live: Option<&'a Value>,
    config: &'a Value,
    manager: Manager<'a>,
}

impl Apply<'_> {
    /// Who owns the live object. Where nobody was tracked, all of it gets an owner now.
    fn owners(&self) -> Result<Vec<Entry>> {
        let Some(live) = self.live else {
            return Ok(Vec::new());
        };
        let entries = managers::decode(managed_of(live)).ok_or_else(|| {
            Status::failure(500, "", "failed to decode managed fields: malformed entry")
        })?;
        if !entries.is_empty() {
            return Ok(entries);
        }
        let before = Manager {
            name: BEFORE_FIRST_APPLY,
            ..self.manager
        };
        let ignored = Ignored::of(self.kind, self.manager.subresource);
        let set = compare(self.root, None, live, &ignored).taken();
        let entry = before.entry(self.kind, Operation::Update, set);
        Ok(if entry.set.is_empty() {
            Vec::new()
        } else {
            vec![entry]
        })
    }

    fn run(&self, mut entries: Vec<Entry>, force: bool) -> Result<Value> {
        let ignored = Ignored::of(self.kind, self.manager.subresource);
        let mut set = fields::fields_of(self.root, self.config);
        ignored.strip(&mut set);
        let mut own = self.manager.entry(self.kind, Operation::Apply, set);
        let at = entries.iter().position(|other| other.is_same_manager(&own));
        let last = at.map(|at| entries.swap_remove(at));

        let mut object = self
            .live
            .cloned()
            .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        take_managed(&mut object);
        merge::merge(self.root, &mut object, self.config);
        if let Some(last) = &last {
            let mut owned = own.set.clone();
            entries.iter().for_each(|entry| owned.union(&entry.set));
            prune::prune(self.root, &mut object, &last.set, &owned);
        }
        let changes = compare(self.root, self.live, &object, &ignored);
        fields::drop_nulls(self.root, &mut object);
        if !force {
            self.check_conflicts(&entries, &changes.taken())?;
        }
        take_over(&mut entries, &changes, |entry| !entry.is_same_manager(&own));
        if let Some(last) = last
            && changes.is_empty()
            && last.set == own.set
            && last.api_version == own.api_version
            && self.live.is_some_and(|live| object::is_same(live, &object))
        {
            own.time = last.time;
        }
        if !own.set.is_empty() {
            entries.push(own);
        }
        put_managed(&mut object, managers::encode(entries));
        if self.manager.name == last_applied::MANAGER {
            last_applied::refresh(&mut object, self.config);
        }
        Ok(object)
    }

    fn check_conflicts(&self, entries: &[Entry], taken: &FieldSet) -> Result<()> {
        let mut conflicts: Vec<Conflict<'_>> = entries
            .iter()
            .map(|owner| Conflict {
                owner,
                fields: owner.set.intersection(taken),
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

/// Whether a configuration, as it was sent, can be applied: its type, and each field by the schema.
///
/// # Errors
/// 400 for a wrong type, 500 (as upstream) for fields that the schema does not know.
pub fn check_config(kind: &Kind, config: &Value) -> Result<()> {
    let text = |pointer| {
        config
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (version, name) = (text("/apiVersion"), text("/kind"));
    if version != kind.api_version() || name != kind.kind {
        let slash = if version.contains('/') { "" } else { "/" };
        let text = format!("invalid object type: {slash}{version}, Kind={name}");
        return Err(Status::bad_request(text));
    }
    if managed_of(config).is_some() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let faults = fields::faults(root(kind), config);
    let list = match faults.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let slash = if version.contains('/') { "" } else { "/" };
    let (namespace, object) = (text("/metadata/namespace"), text("/metadata/name"));
    Err(Status::failure(
        500,
        "",
        format!(
            "failed to create typed patch object ({namespace}/{object}; {slash}{version}, Kind={name}): {list}"
        ),
    ))
}

fn root(kind: &Kind) -> Node {
    schema::find(kind.type_name).map_or(Node::Leaf, |table| {
        Node::of(Shape::Object(table), Topology::Default)
    })
}

/// Takes changed fields away from their owners, and removed ones from everybody.
fn take_over(entries: &mut Vec<Entry>, changes: &Comparison, affects: impl Fn(&Entry) -> bool) {
    for entry in entries.iter_mut().filter(|entry| affects(entry)) {
        for changed in [&changes.added, &changes.modified, &changes.removed] {
            entry.set.subtract(changed);
        }
    }
    entries.retain(|entry| !entry.set.is_empty());
}

/// Adds the fields of an update to what its manager owns already.
fn add(entries: &mut Vec<Entry>, entry: Entry) {
    match entries
        .iter_mut()
        .find(|other| other.is_same_manager(&entry))
    {
        Some(other) => {
            other.set.union(&entry.set);
            other.time = entry.time;
        }
        None => entries.push(entry),
    }
}

#[cfg(test)]
mod tests;
