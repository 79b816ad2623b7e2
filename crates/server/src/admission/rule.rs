//! What a plugin declares: which requests it concerns, which fields it reads and writes, and which
//! kinds it looks up. Upstream: `RuleWithOperations` of `admissionregistration/v1` for the
//! requests.

use pandaemon_machinery::Kind;

/// What a request does. Upstream: `admission.Operation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Creates an object, by POST or by a PUT or PATCH of a missing one, or posts to a
    /// subresource, such as an eviction.
    Create,
    /// Changes an object.
    Update,
    /// Deletes one object; a DELETE of a collection is a deletion of each.
    Delete,
    /// Opens a connection, such as `pods/exec` or `nodes/proxy`.
    Connect,
}

/// A resource in any version. Upstream: `schema.GroupResource`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupResource {
    /// API group, empty for the core group.
    pub group: String,
    /// The resource, such as `daemonsets`.
    pub resource: String,
}

impl GroupResource {
    /// Whether this is the resource of that group.
    pub(super) fn is(&self, group: &str, resource: &str) -> bool {
        self.resource == resource && self.group == group
    }
}

/// Fields of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fields {
    /// The whole object, managedFields included.
    All,
    /// The fields at these JSON pointers, such as `/spec/nodeName`, with all that is below them.
    At(Vec<String>),
}

impl Fields {
    fn at(pointers: &[&str]) -> Self {
        Self::At(pointers.iter().map(|pointer| (*pointer).into()).collect())
    }

    /// Whether the field at this pointer, or one above or below it, is among them.
    pub(crate) fn overlap(&self, pointer: &str) -> bool {
        match self {
            Self::All => true,
            Self::At(own) => own
                .iter()
                .any(|own| is_below(own, pointer) || is_below(pointer, own)),
        }
    }
}

/// Whether a pointer is another one or a field below it.
fn is_below(pointer: &str, above: &str) -> bool {
    let rest = pointer.strip_prefix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Requests that a plugin concerns, and what it does with them.
///
/// A new rule reads and writes all fields and looks up nothing. Less is declared with
/// [`Rule::reads`] and [`Rule::writes`], on which fast paths depend: a field that is read without a
/// declaration may be missing, and a request that differs from an earlier one in no field that is
/// read may be answered without a call of the plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What the requests do.
    pub operations: Vec<Operation>,
    /// API groups of the resources; `*` for all.
    pub groups: Vec<String>,
    /// Resources: `pods` for the objects themselves, `pods/status` for a subresource, `pods/*` for
    /// both, `*` for the objects of all kinds, `*/*` for everything.
    pub resources: Vec<String>,
    /// The fields on which the outcome depends, of the object and of its old state. A plugin whose
    /// outcome depends on anything but these, the kinds that it looks up, the namespace and the
    /// user (a clock, a counter, another server) reads [`Fields::All`].
    pub reads: Fields,
    /// The fields that it may change.
    pub writes: Fields,
    /// The kinds of which it looks up objects.
    pub lookups: Vec<GroupResource>,
}

impl Rule {
    /// A rule for these operations on resources of one group.
    #[must_use]
    pub fn new(operations: &[Operation], group: &str, resources: &[&str]) -> Self {
        Self {
            operations: operations.into(),
            groups: vec![group.into()],
            resources: resources.iter().map(|name| (*name).into()).collect(),
            reads: Fields::All,
            writes: Fields::All,
            lookups: Vec::new(),
        }
    }

    /// The rule with these JSON pointers as the only fields that are read.
    #[must_use]
    pub fn reads(self, pointers: &[&str]) -> Self {
        let reads = Fields::at(pointers);
        Self { reads, ..self }
    }

    /// The rule with these JSON pointers as the only fields that are written.
    #[must_use]
    pub fn writes(self, pointers: &[&str]) -> Self {
        let writes = Fields::at(pointers);
        Self { writes, ..self }
    }

    /// The rule with one more kind that is looked up.
    #[must_use]
    pub fn looks_up(mut self, group: &str, resource: &str) -> Self {
        self.lookups.push(GroupResource {
            group: group.into(),
            resource: resource.into(),
        });
        self
    }

    /// Whether the rule is for such requests.
    pub(super) fn matches(&self, operation: Operation, kind: &Kind, subresource: &str) -> bool {
        let is = |pattern: &str, name: &str| pattern == "*" || pattern == name;
        self.operations.contains(&operation)
            && self.resources.iter().any(|pattern| {
                let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
                is(resource, &kind.plural) && is(sub, subresource)
            })
            && self.groups.iter().any(|group| is(group, &kind.group))
    }
}

#[cfg(test)]
mod tests {
    use pandaemon_machinery::scheme;

    use super::*;

    #[test]
    fn a_rule_matches_the_resources_and_subresources_that_it_names() {
        let kind = |group, plural| {
            let found = scheme::built_in().find_resource(group, "v1", plural);
            found.unwrap()
        };
        let (pods, sets) = (kind("", "pods"), kind("apps", "daemonsets"));
        for (group, resource, expected) in [
            ("", "pods", [true, false, false]),
            ("", "pods/status", [false, true, false]),
            ("", "pods/*", [true, true, false]),
            ("*", "*", [true, false, true]),
            ("*", "*/*", [true, true, true]),
            ("apps", "*", [false, false, true]),
            ("", "daemonsets", [false, false, false]),
        ] {
            let rule = Rule::new(&[Operation::Update], group, &[resource]);
            let found = [(pods, ""), (pods, "status"), (sets, "")]
                .map(|(kind, sub)| rule.matches(Operation::Update, kind, sub));
            assert_eq!(found, expected, "{group} {resource}");
            assert!(!rule.matches(Operation::Create, pods, ""));
        }
    }

    #[test]
    fn fields_overlap_with_those_above_and_below() {
        let fields = Fields::at(&["/spec/nodeName", "/metadata"]);
        for (pointer, expected) in [
            ("/spec/nodeName", true),
            ("/spec", true),
            ("", true),
            ("/metadata/name", true),
            ("/spec/nodeNameX", false),
            ("/spec/node", false),
            ("/status", false),
        ] {
            assert_eq!(fields.overlap(pointer), expected, "{pointer}");
        }
        assert!(Fields::All.overlap("/status"));
        assert!(!Fields::at(&[]).overlap("/status"));
    }
}
