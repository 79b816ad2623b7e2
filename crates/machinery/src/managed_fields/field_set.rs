//! A set of fields: the `fieldsV1` of `metadata.managedFields` with set operations
//! (structured-merge-diff's `fieldpath.Set`).
//!
//! A path is a chain of elements in the form in which `fieldsV1` has them: `f:name` (a field or map
//! key), `k:{"name":"x"}` (a list item by its keys), `v:"x"` (an item of a list of scalars), `i:0`
//! (by index).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::path_element::{self, PathElementError};
use crate::bounds::shorten;

/// A set of field paths. Elements are sorted; branches without a member do not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    entries: BTreeMap<String, Entry>,
}

/// One path element of a set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    /// Whether the path up to this element is in the set.
    member: bool,
    /// Longer paths in the set that start with this element.
    below: FieldSet,
}

/// A `fieldsV1` that cannot be decoded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FieldSetError {
    /// The value of this path element is no object; empty for the root.
    #[error("field set node {0:?} is not an object")]
    NotAnObject(String),
    /// The text of a path element is malformed.
    #[error(transparent)]
    PathElement(#[from] PathElementError),
}

impl FieldSet {
    /// Whether the set has no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the field at `path`, without its parents. An empty path adds nothing.
    pub fn insert(&mut self, path: &[&str]) {
        let Some((last, parents)) = path.split_last() else {
            return;
        };
        let mut at = self;
        for element in parents {
            at = &mut at.entries.entry((*element).to_owned()).or_default().below;
        }
        at.entries.entry((*last).to_owned()).or_default().member = true;
    }

    /// Whether the field at `path` is a member.
    #[must_use]
    pub fn contains(&self, path: &[&str]) -> bool {
        let Some((last, parents)) = path.split_last() else {
            return false;
        };
        let mut at = self;
        for element in parents {
            match at.entries.get(*element) {
                Some(entry) => at = &entry.below,
                None => return false,
            }
        }
        at.contains_element(last)
    }

    /// Whether the path that consists of this element alone is a member.
    pub(super) fn contains_element(&self, element: &str) -> bool {
        self.entries.get(element).is_some_and(|entry| entry.member)
    }

    /// The members below an element, without that element.
    pub(super) fn below(&self, element: &str) -> Option<&Self> {
        self.entries.get(element).map(|entry| &entry.below)
    }

    /// Adds an element as a member (or not), and the members below it.
    pub(super) fn attach(&mut self, element: &str, member: bool, below: Self) {
        if !member && below.is_empty() {
            return;
        }
        match self.entries.get_mut(element) {
            Some(entry) => {
                entry.member |= member;
                entry.below.union(&below);
            }
            None => {
                self.entries
                    .insert(element.to_owned(), Entry { member, below });
            }
        }
    }

    /// The elements of this level: text, whether it is a member, and the members below it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, bool, &Self)> {
        self.entries
            .iter()
            .map(|(element, e)| (element.as_str(), e.member, &e.below))
    }

    /// Adds all members of `other`.
    pub fn union(&mut self, other: &Self) {
        for (element, theirs) in &other.entries {
            match self.entries.get_mut(element) {
                Some(ours) => {
                    ours.member |= theirs.member;
                    ours.below.union(&theirs.below);
                }
                None => {
                    self.entries.insert(element.clone(), theirs.clone());
                }
            }
        }
    }

    /// Removes the members of `other`, but not the members below them. True if a member was
    /// removed.
    pub fn subtract(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (element, theirs) in &other.entries {
            let Some(ours) = self.entries.get_mut(element) else {
                continue;
            };
            if theirs.member && ours.member {
                ours.member = false;
                changed = true;
            }
            changed |= ours.below.subtract(&theirs.below);
            if !ours.member && ours.below.is_empty() {
                self.entries.remove(element);
            }
        }
        changed
    }

    /// Removes an element and all members below it.
    pub(super) fn remove_branch(&mut self, element: &str) {
        self.entries.remove(element);
    }

    /// Changes an element (whether it is a member, and the members below it), and drops it if it is
    /// then empty.
    pub(super) fn edit(&mut self, element: &str, edit: impl FnOnce(&mut bool, &mut Self)) {
        let Some(entry) = self.entries.get_mut(element) else {
            return;
        };
        edit(&mut entry.member, &mut entry.below);
        if !entry.member && entry.below.is_empty() {
            self.entries.remove(element);
        }
    }

    /// The members that both sets have.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut both = Self::default();
        for (element, ours) in &self.entries {
            if let Some(theirs) = other.entries.get(element) {
                let below = ours.below.intersection(&theirs.below);
                both.attach(element, ours.member && theirs.member, below);
            }
        }
        both
    }

    /// The members of this set that `other` does not have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.subtract(other);
        rest
    }

    /// The number of members.
    pub(super) fn len(&self) -> usize {
        let entries = self.entries.values();
        entries
            .map(|entry| usize::from(entry.member) + entry.below.len())
            .sum()
    }

    /// The first members as errors show them, such as `.spec.containers[name="c"].image`, at most
    /// `limit`: the members of a level before the members below them.
    #[must_use]
    pub fn paths(&self, limit: usize) -> Vec<String> {
        let mut all = Vec::new();
        self.collect_paths("", limit, &mut all);
        all
    }

    fn collect_paths(&self, prefix: &str, limit: usize, all: &mut Vec<String>) {
        for (element, _) in self.entries.iter().filter(|(_, entry)| entry.member) {
            if all.len() >= limit {
                return;
            }
            let mut path = format!("{prefix}{}", path_element::display(element));
            shorten(&mut path);
            all.push(path);
        }
        for (element, entry) in &self.entries {
            if all.len() >= limit {
                return;
            }
            if !entry.below.is_empty() {
                let prefix = format!("{prefix}{}", path_element::display(element));
                entry.below.collect_paths(&prefix, limit, all);
            }
        }
    }

    /// Decodes `fieldsV1`. Elements of an unknown kind are dropped, as upstream does.
    ///
    /// # Errors
    /// If a node is no object, or the text of a path element is malformed.
    pub fn from_json(json: &Value) -> Result<Self, FieldSetError> {
        let Some(fields) = json.as_object() else {
            return Err(FieldSetError::NotAnObject(String::new()));
        };
        read(fields)
    }

    /// Encodes the set as `fieldsV1`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        for (element, entry) in &self.entries {
            let mut below = entry.below.to_json();
            if let (true, Some(below)) = (
                entry.member && !entry.below.is_empty(),
                below.as_object_mut(),
            ) {
                below.insert(".".into(), Value::Object(Map::new()));
            }
            fields.insert(element.clone(), below);
        }
        Value::Object(fields)
    }
}

fn read(fields: &Map<String, Value>) -> Result<FieldSet, FieldSetError> {
    let mut set = FieldSet::default();
    for (element, value) in fields {
        if element == "." {
            continue;
        }
        let Some(element) = path_element::canonical(element)? else {
            continue;
        };
        let Some(children) = value.as_object() else {
            return Err(FieldSetError::NotAnObject(element));
        };
        let below = read(children)?;
        let member = below.is_empty() || children.contains_key(".");
        set.attach(&element, member, below);
    }
    Ok(set)
}
