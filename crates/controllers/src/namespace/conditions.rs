//! The conditions of a terminating namespace about its remaining content, in upstream's words.
//! Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pandaemon_client::{discovery::ApiResource, events::seconds, object_meta::ObjectMeta};
use serde_json::{Value, json};

/// The content that remains after a sync.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Remaining {
    /// Remaining objects by `plural.group`.
    pub objects: BTreeMap<String, usize>,
    /// Remaining objects by finalizer.
    pub finalizers: BTreeMap<String, usize>,
    /// Errors of kinds whose objects could not be deleted.
    pub failures: Vec<String>,
}

impl Remaining {
    /// Counts remaining objects of a kind.
    pub fn add(&mut self, kind: &ApiResource, left: &[ObjectMeta]) {
        if left.is_empty() {
            return;
        }
        *self.objects.entry(kind.dotted()).or_default() += left.len();
        for finalizer in left.iter().flat_map(|meta| &meta.finalizers) {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }

    /// Whether the namespace is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.failures.is_empty()
    }
}

/// The conditions in upstream's order. An unchanged condition keeps its transition time.
#[must_use]
pub fn conditions(
    remaining: &Remaining,
    old: &BTreeMap<String, Value>,
    now: Timestamp,
) -> Vec<Value> {
    let count = |map: &BTreeMap<String, usize>, words: &str| {
        map.iter()
            .map(|(name, n)| format!("{name} {words} {n} resource instances"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let content = match remaining.failures.as_slice() {
        [] => (
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned(),
        ),
        failures => (
            true,
            "ContentDeletionFailed",
            format!(
                "Failed to delete all resource types, {} remaining: {}",
                failures.len(),
                failures.join(", ")
            ),
        ),
    };
    let left = if remaining.objects.is_empty() {
        (
            false,
            "ContentRemoved",
            "All content successfully removed".to_owned(),
        )
    } else {
        let list = count(&remaining.objects, "has");
        (
            true,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {list}"),
        )
    };
    let finalizers = if remaining.finalizers.is_empty() {
        (
            false,
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished".to_owned(),
        )
    } else {
        let list = count(&remaining.finalizers, "in");
        (
            true,
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {list}"),
        )
    };
    let discovered = "All resources successfully discovered".to_owned();
    let parsed = "All legacy kube types successfully parsed".to_owned();
    [
        (
            "NamespaceDeletionDiscoveryFailure",
            (false, "ResourcesDiscovered", discovered),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            (false, "ParsedGroupVersions", parsed),
        ),
        ("NamespaceDeletionContentFailure", content),
        ("NamespaceContentRemaining", left),
        ("NamespaceFinalizersRemaining", finalizers),
    ]
    .into_iter()
    .map(|(kind, (status, reason, message))| {
        condition(kind, status, reason, &message, old.get(kind), now)
    })
    .collect()
}

fn condition(
    kind: &str,
    status: bool,
    reason: &str,
    message: &str,
    old: Option<&Value>,
    now: Timestamp,
) -> Value {
    let status = if status { "True" } else { "False" };
    let since = old
        .filter(|old| old["status"] == status && old["reason"] == reason)
        .and_then(|old| old["lastTransitionTime"].as_str())
        .map_or_else(|| seconds(now), str::to_owned);
    json!({
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": since,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(remaining: &Remaining) -> Vec<String> {
        conditions(remaining, &BTreeMap::new(), Timestamp::UNIX_EPOCH)
            .iter()
            .map(|c| {
                let text = |field: &str| c[field].as_str().unwrap().to_owned();
                format!(
                    "{}={} {}: {}",
                    text("type"),
                    text("status"),
                    text("reason"),
                    text("message")
                )
            })
            .collect()
    }

    #[test]
    fn all_conditions_of_an_empty_namespace_are_false() {
        assert_eq!(
            lines(&Remaining::default()),
            [
                "NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered: All resources successfully discovered",
                "NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types successfully parsed",
                "NamespaceDeletionContentFailure=False ContentDeleted: All content successfully deleted, may be waiting on finalization",
                "NamespaceContentRemaining=False ContentRemoved: All content successfully removed",
                "NamespaceFinalizersRemaining=False ContentHasNoFinalizers: All content-preserving finalizers finished",
            ]
        );
    }

    #[test]
    fn remaining_objects_and_finalizers_are_counted() {
        let kind = ApiResource {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "configmaps".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespaced: true,
            verbs: Vec::new(),
        };
        let mut remaining = Remaining::default();
        let held = ObjectMeta {
            finalizers: vec!["a.io/x".to_owned()],
            ..ObjectMeta::default()
        };
        remaining.add(&kind, &[held, ObjectMeta::default()]);
        let lines = lines(&remaining);
        assert_eq!(
            lines[3],
            "NamespaceContentRemaining=True SomeResourcesRemain: Some resources are remaining: configmaps. has 2 resource instances"
        );
        assert_eq!(
            lines[4],
            "NamespaceFinalizersRemaining=True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: a.io/x in 1 resource instances"
        );
    }

    #[test]
    fn an_unchanged_condition_keeps_its_time() {
        let first = conditions(
            &Remaining::default(),
            &BTreeMap::new(),
            Timestamp::UNIX_EPOCH,
        );
        let old = first
            .iter()
            .map(|c| (c["type"].as_str().unwrap().to_owned(), c.clone()))
            .collect();
        let later = Timestamp::from_second(100).unwrap();
        assert_eq!(conditions(&Remaining::default(), &old, later), first);
    }
}
