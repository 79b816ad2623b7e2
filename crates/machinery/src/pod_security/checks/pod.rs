//! A pod as the checks see it, and the words in which they name its parts.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::json_fields::ReadFields;

/// A pod, or a pod template.
pub(super) struct Pod<'a> {
    object: &'a Value,
    pub(super) spec: &'a Value,
}

impl<'a> Pod<'a> {
    pub(super) fn new(object: &'a Value) -> Self {
        let spec = &object["spec"];
        Self { object, spec }
    }

    pub(super) fn annotations(&self) -> Option<&'a Map<String, Value>> {
        self.object["metadata"].entries("annotations")
    }

    /// All containers, in the order in which upstream visits them.
    pub(super) fn containers(&self) -> impl Iterator<Item = &'a Value> + use<'a> {
        let spec = self.spec;
        let lists = ["initContainers", "containers", "ephemeralContainers"];
        lists.into_iter().flat_map(|list| spec.items(list))
    }

    /// The names of the containers of which this is true.
    pub(super) fn containers_that(&self, is: impl FnMut(&&'a Value) -> bool) -> Vec<&'a str> {
        let found = self.containers().filter(is);
        found.map(|container| container.text("name")).collect()
    }

    /// The security context of the pod.
    pub(super) fn context(&self) -> &'a Value {
        &self.spec["securityContext"]
    }

    /// Whether it runs on Windows, by `os`.
    pub(super) fn is_windows(&self) -> bool {
        self.spec["os"].text("name") == "windows"
    }

    /// Whether it has a user namespace, by `hostUsers`.
    pub(super) fn has_user_namespace(&self) -> bool {
        self.spec["hostUsers"] == false
    }

    /// Those that have a bad security context: `pod and container "a"`; `None` if all are good. A
    /// missing context is null.
    pub(super) fn setters(&self, mut is_bad: impl FnMut(&'a Value) -> bool) -> Option<String> {
        let mut setters = Vec::new();
        if is_bad(self.context()) {
            setters.push("pod".to_owned());
        }
        let bad = self.containers_that(|container| is_bad(context(container)));
        if !bad.is_empty() {
            setters.push(containers(&bad));
        }
        (!setters.is_empty()).then(|| setters.join(" and "))
    }
}

/// The security context of a container.
pub(super) fn context(container: &Value) -> &Value {
    &container["securityContext"]
}

/// A word for one thing or for several.
pub(super) const fn plural(one: &'static str, many: &'static str, count: usize) -> &'static str {
    if count == 1 { one } else { many }
}

/// The items in quotes: `"a", "b"`.
pub(super) fn quoted<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items
        .into_iter()
        .map(|item| format!("\"{item}\""))
        .collect();
    items.join(", ")
}

/// Values of a set in quotes.
pub(super) fn quoted_set(items: &BTreeSet<&str>) -> String {
    quoted(items.iter().copied())
}

/// Containers by name: `container "a"`, `containers "a", "b"`.
pub(super) fn containers(names: &[&str]) -> String {
    let word = plural("container", "containers", names.len());
    format!("{word} {}", quoted(names.iter().copied()))
}
