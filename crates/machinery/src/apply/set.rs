//! A set of fields: the `fieldsV1` of `metadata.managedFields` as a value with set operations.
//!
//! A path is a chain of elements, kept in the form in which `fieldsV1` writes them: `f:name` (a field or
//! map key), `k:{"name":"x"}` (a list item by its keys), `v:"x"` (an item of a set), `i:0` (by index).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of fields, ordered and without empty branches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    entries: BTreeMap<String, Entry>,
}

/// What the set says about one path element.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    member: bool,
    below: FieldSet,
}

/// Why a `fieldsV1` cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FieldsError {
    /// Every node is an object.
    #[error("field set node {0:?} is not an object")]
    NotAnObject(String),
    /// Such as `k:` without JSON behind it.
    #[error("path element {0:?} cannot be read")]
    BadElement(String),
}

impl FieldSet {
    /// Whether no field is a member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds the field at `path`, not its parents.
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

    /// Whether the element itself is a member.
    pub(super) fn contains_element(&self, element: &str) -> bool {
        self.entries.get(element).is_some_and(|entry| entry.member)
    }

    /// The fields below an element.
    pub(super) fn below(&self, element: &str) -> Option<&Self> {
        self.entries.get(element).map(|entry| &entry.below)
    }

    /// Adds an element with everything below it, unless that is nothing.
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

    /// The elements of this level: text, membership, and what is below.
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

    /// Removes the members of `other`; their children stay. True if something was removed.
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

    /// Removes an element and all that is below it.
    pub(super) fn remove_branch(&mut self, element: &str) {
        self.entries.remove(element);
    }

    /// Changes what is below an element, and drops the element if nothing is left of it.
    pub(super) fn edit(&mut self, element: &str, edit: impl FnOnce(&mut bool, &mut Self)) {
        let Some(entry) = self.entries.get_mut(element) else {
            return;
        };
        edit(&mut entry.member, &mut entry.below);
        if !entry.member && entry.below.is_empty() {
            self.entries.remove(element);
        }
    }

    /// The members of both sets.
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

    /// The members of this set that `other` lacks.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.subtract(other);
        rest
    }

    /// Every member as people read it, such as `.spec.containers[name="c"].image`: the members of a level
    /// before what is below them.
    #[must_use]
    pub fn paths(&self) -> Vec<String> {
        let mut all = Vec::new();
        self.collect_paths("", &mut all);
        all
    }

    fn collect_paths(&self, prefix: &str, all: &mut Vec<String>) {
        for (element, entry) in &self.entries {
            if entry.member {
                all.push(format!("{prefix}{}", super::path::display(element)));
            }
        }
        for (element, entry) in &self.entries {
            if !entry.below.is_empty() {
                let prefix = format!("{prefix}{}", super::path::display(element));
                entry.below.collect_paths(&prefix, all);
            }
        }
    }

    /// Reads `fieldsV1`. Elements of a kind that nobody knows are dropped, as upstream does.
    ///
    /// # Errors
    /// If a node is no object, or the text of an element is malformed.
    pub fn from_json(json: &Value) -> Result<Self, FieldsError> {
        let Some(fields) = json.as_object() else {
            return Err(FieldsError::NotAnObject(String::new()));
        };
        read(fields)
    }

    /// The `fieldsV1` form.
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

fn read(fields: &Map<String, Value>) -> Result<FieldSet, FieldsError> {
    let mut set = FieldSet::default();
    for (element, value) in fields {
        if element == "." {
            continue;
        }
        let Some(element) = super::path::canonical(element)? else {
            continue;
        };
        let Some(children) = value.as_object() else {
            return Err(FieldsError::NotAnObject(element));
        };
        let below = read(children)?;
        let member = below.is_empty() || children.contains_key(".");
        set.attach(&element, member, below);
    }
    Ok(set)
}
