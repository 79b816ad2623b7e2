//! The content that remains in a terminating namespace, and the conditions that report it. Pure.
//!
//! Types, reasons and messages are upstream's (pkg/controller/namespace/deletion).

use std::collections::BTreeMap;

use jiff::Timestamp;
use pandaemon_client::{discovery::ApiResource, object_meta::ObjectMeta};
use pandaemon_types::time::rfc3339_seconds;
use serde_json::{Value, json};

/// What one sync of a namespace has found, after its deletions.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Content {
    /// Remaining objects by `plural.group`.
    pub objects: BTreeMap<String, usize>,
    /// Remaining objects by finalizer.
    pub finalizers: BTreeMap<String, usize>,
    /// Groups whose resources are not known, with the errors.
    pub discovery_failures: BTreeMap<String, String>,
    /// Group versions of discovery that are malformed.
    pub malformed_group_versions: Vec<String>,
    /// Errors of objects that could not be deleted or listed.
    pub deletion_failures: Vec<String>,
}

impl Content {
    /// Counts the objects of a kind that remain after their deletion. `age`: seconds since the
    /// deletion of the namespace. Only pods end gracefully; an object of another kind that remains
    /// without a finalizer is a failure.
    pub fn add(&mut self, kind: &ApiResource, namespace: &str, left: &[ObjectMeta], age: i64) {
        if left.is_empty() {
            return;
        }
        *self.objects.entry(kind.dotted()).or_default() += left.len();
        for finalizer in left.iter().flat_map(|meta| &meta.finalizers) {
            *self.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        let grace = |meta: &ObjectMeta| meta.deletion_grace_period_seconds.unwrap_or(0);
        let longest = left.iter().map(grace).max().unwrap_or(0);
        let is_graceful = is_pods(kind) && age < longest;
        if !is_graceful && left.iter().all(|meta| meta.finalizers.is_empty()) {
            let resource = resource_text(kind);
            self.deletion_failures.push(format!(
                "unexpected items still remain in namespace: {namespace} for gvr: {resource}"
            ));
        }
    }

    /// Whether the namespace is empty for certain.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
            && self.discovery_failures.is_empty()
            && self.malformed_group_versions.is_empty()
            && self.deletion_failures.is_empty()
    }

    /// The conditions in upstream's order. A condition keeps its transition time until its status
    /// changes.
    #[must_use]
    pub fn conditions(&self, old: &BTreeMap<String, Value>, now: Timestamp) -> Vec<Value> {
        [
            self.discovery_failure(),
            self.parsing_failure(),
            self.content_failure(),
            self.content_remaining(),
            self.finalizers_remaining(),
        ]
        .into_iter()
        .map(|condition| condition.to_value(old, now))
        .collect()
    }

    fn discovery_failure(&self) -> Condition {
        let count = self.discovery_failures.len();
        Condition::new(
            "NamespaceDeletionDiscoveryFailure",
            [
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ],
            "DiscoveryFailed",
            (count > 0).then(|| {
                let errors = self.discovery_failures.iter();
                let errors: Vec<String> = errors
                    .map(|(group, error)| format!("{group}: {error}"))
                    .collect();
                let list = errors.join(", ");
                format!(
                    "Discovery failed for some groups, {count} failing: unable to retrieve the \
                     complete list of server APIs: {list}"
                )
            }),
        )
    }

    fn parsing_failure(&self) -> Condition {
        Condition::new(
            "NamespaceDeletionGroupVersionParsingFailure",
            [
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ],
            "GroupVersionParsingFailed",
            self.malformed_group_versions
                .first()
                .map(|malformed| format!("unexpected GroupVersion string: {malformed}")),
        )
    }

    fn content_failure(&self) -> Condition {
        let count = self.deletion_failures.len();
        Condition::new(
            "NamespaceDeletionContentFailure",
            [
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ],
            "ContentDeletionFailed",
            (count > 0).then(|| {
                let mut errors = self.deletion_failures.clone();
                errors.sort_unstable();
                let list = errors.join(", ");
                format!("Failed to delete all resource types, {count} remaining: {list}")
            }),
        )
    }

    fn content_remaining(&self) -> Condition {
        Condition::new(
            "NamespaceContentRemaining",
            ["ContentRemoved", "All content successfully removed"],
            "SomeResourcesRemain",
            (!self.objects.is_empty()).then(|| {
                let list = counts(&self.objects, "has");
                format!("Some resources are remaining: {list}")
            }),
        )
    }

    fn finalizers_remaining(&self) -> Condition {
        Condition::new(
            "NamespaceFinalizersRemaining",
            [
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ],
            "SomeFinalizersRemain",
            (!self.finalizers.is_empty()).then(|| {
                let list = counts(&self.finalizers, "in");
                format!("Some content in the namespace has finalizers remaining: {list}")
            }),
        )
    }
}

/// Whether the kind is that of pods, which are deleted before everything else.
#[must_use]
pub fn is_pods(kind: &ApiResource) -> bool {
    kind.group.is_empty() && kind.plural == "pods"
}

/// The resource in the form of upstream's `GroupVersionResource`.
fn resource_text(kind: &ApiResource) -> String {
    let ApiResource {
        group,
        version,
        plural,
        ..
    } = kind;
    format!("{group}/{version}, Resource={plural}")
}

fn counts(map: &BTreeMap<String, usize>, word: &str) -> String {
    map.iter()
        .map(|(name, count)| format!("{name} {word} {count} resource instances"))
        .collect::<Vec<_>>()
        .join(", ")
}

struct Condition {
    kind: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Condition {
    /// True with the failure's message, else False with the usual reason and message.
    fn new(
        kind: &'static str,
        [ok_reason, ok_message]: [&'static str; 2],
        reason: &'static str,
        failure: Option<String>,
    ) -> Self {
        match failure {
            Some(message) => Self {
                kind,
                status: "True",
                reason,
                message,
            },
            None => Self {
                kind,
                status: "False",
                reason: ok_reason,
                message: ok_message.to_owned(),
            },
        }
    }

    fn to_value(&self, old: &BTreeMap<String, Value>, now: Timestamp) -> Value {
        let since = old
            .get(self.kind)
            .filter(|old| old["status"] == self.status)
            .and_then(|old| old["lastTransitionTime"].as_str())
            .map_or_else(|| rfc3339_seconds(now), str::to_owned);
        json!({
            "type": self.kind, "status": self.status, "reason": self.reason,
            "message": self.message, "lastTransitionTime": since,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(plural: &str) -> ApiResource {
        ApiResource {
            group: String::new(),
            version: "v1".to_owned(),
            plural: plural.to_owned(),
            kind: "K".to_owned(),
            namespaced: true,
            verbs: Vec::new(),
        }
    }

    /// An object that remains, with a finalizer and a grace period in seconds.
    fn left(finalizer: &str, grace: i64) -> ObjectMeta {
        let finalizers = (!finalizer.is_empty()).then(|| finalizer.to_owned());
        ObjectMeta {
            finalizers: finalizers.into_iter().collect(),
            deletion_grace_period_seconds: Some(grace),
            ..ObjectMeta::default()
        }
    }

    fn lines(content: &Content) -> Vec<String> {
        content
            .conditions(&BTreeMap::new(), Timestamp::UNIX_EPOCH)
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
            lines(&Content::default()),
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
        let mut content = Content::default();
        content.add(
            &kind("configmaps"),
            "a",
            &[left("a.io/x", 0), left("", 0)],
            100,
        );
        let lines = lines(&content);
        assert!(lines[2].contains("=False"), "{}", lines[2]);
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
    fn objects_that_remain_without_a_reason_are_a_failure() {
        let failure = |plural: &str, grace: i64, age: i64| {
            let mut content = Content::default();
            content.add(&kind(plural), "a", &[left("", 0), left("", grace)], age);
            lines(&content).swap_remove(2)
        };
        let unexpected = "NamespaceDeletionContentFailure=True ContentDeletionFailed: Failed to delete all resource \
             types, 1 remaining: unexpected items still remain in namespace: a for gvr: /v1, Resource=";
        assert_eq!(failure("secrets", 0, 0), format!("{unexpected}secrets"));
        assert_eq!(failure("pods", 30, 30), format!("{unexpected}pods"));
        assert!(failure("pods", 30, 29).contains("=False"));
    }

    #[test]
    fn failures_of_discovery_are_reported_and_keep_the_namespace() {
        let mut content = Content::default();
        content
            .discovery_failures
            .insert("a.io/v1".to_owned(), "no answer".to_owned());
        content.malformed_group_versions.push("a/b/c".to_owned());
        assert!(!content.is_empty());
        let lines = lines(&content);
        assert_eq!(
            lines[0],
            "NamespaceDeletionDiscoveryFailure=True DiscoveryFailed: Discovery failed for some groups, 1 failing: \
             unable to retrieve the complete list of server APIs: a.io/v1: no answer"
        );
        assert_eq!(
            lines[1],
            "NamespaceDeletionGroupVersionParsingFailure=True GroupVersionParsingFailed: \
             unexpected GroupVersion string: a/b/c"
        );
    }

    #[test]
    fn a_condition_keeps_its_time_until_its_status_changes() {
        let by_type = |conditions: Vec<Value>| -> BTreeMap<String, Value> {
            let named = |c: Value| (c["type"].as_str().unwrap().to_owned(), c);
            conditions.into_iter().map(named).collect()
        };
        let time = |conditions: &[Value], index: usize| {
            conditions[index]["lastTransitionTime"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut content = Content::default();
        content.deletion_failures.push("one".to_owned());
        let first = content.conditions(&BTreeMap::new(), at(0));
        content.deletion_failures.push("two".to_owned());
        let second = content.conditions(&by_type(first.clone()), at(100));
        assert_eq!(
            time(&second, 2),
            time(&first, 2),
            "only the message has changed"
        );
        let third = Content::default().conditions(&by_type(second), at(200));
        assert_eq!(time(&third, 2), "1970-01-01T00:03:20Z");
        assert_eq!(time(&third, 3), time(&first, 3));
    }
}
