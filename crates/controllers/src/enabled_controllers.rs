//! Which controllers run: the syntax of kube-controller-manager's `--controllers '*,-daemonset'`.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// The names of all controllers, in the order in which they start.
pub const CONTROLLER_NAMES: [&str; 13] = [
    "clusterrole-aggregation",
    "namespace",
    "serviceaccount",
    "rootca",
    "csrapproving",
    "csrsigning",
    "csrcleaner",
    "nodelifecycle",
    "daemonset",
    "scheduler",
    "endpoints",
    "endpointslice",
    "garbagecollector",
];

/// The controllers that run, parsed from a comma-separated list: `*` is all, `NAME` adds one,
/// `-NAME` removes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnabledControllers(BTreeSet<&'static str>);

/// A name in the list that no controller has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown controller {name:?}: known are {}", CONTROLLER_NAMES.join(", "))]
pub struct UnknownController {
    /// The name as it was written.
    pub name: String,
}

impl EnabledControllers {
    /// Every controller is enabled (`*`).
    #[must_use]
    pub fn all() -> Self {
        Self(CONTROLLER_NAMES.into_iter().collect())
    }

    /// Whether the controller runs.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The enabled controllers in the order in which they start.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> + '_ {
        CONTROLLER_NAMES
            .into_iter()
            .filter(|name| self.0.contains(name))
    }
}

impl Default for EnabledControllers {
    fn default() -> Self {
        Self::all()
    }
}

impl FromStr for EnabledControllers {
    type Err = UnknownController;

    fn from_str(text: &str) -> Result<Self, UnknownController> {
        let names: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|w| !w.is_empty())
            .collect();
        let mut enabled = BTreeSet::new();
        // As upstream, `*` counts at any position, and a minus has precedence over it.
        if names.contains(&"*") {
            enabled.extend(CONTROLLER_NAMES);
        }
        for word in names.iter().filter(|name| **name != "*") {
            let (name, add) = word
                .strip_prefix('-')
                .map_or((*word, true), |name| (name, false));
            let known = CONTROLLER_NAMES
                .into_iter()
                .find(|known| *known == name)
                .ok_or_else(|| UnknownController {
                    name: name.to_owned(),
                })?;
            if add {
                enabled.insert(known);
            } else {
                enabled.remove(known);
            }
        }
        Ok(Self(enabled))
    }
}

impl fmt::Display for EnabledControllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_parsed_as_upstream_parses_them() {
        for (text, expected) in [
            ("*", CONTROLLER_NAMES.join(",").as_str()),
            ("", ""),
            ("scheduler", "scheduler"),
            ("scheduler, namespace", "namespace,scheduler"),
            (
                "*,-daemonset,-scheduler",
                "clusterrole-aggregation,namespace,serviceaccount,rootca,csrapproving,csrsigning,csrcleaner,nodelifecycle,endpoints,endpointslice,garbagecollector",
            ),
            ("-daemonset,scheduler", "scheduler"),
        ] {
            assert_eq!(
                text.parse::<EnabledControllers>().unwrap().to_string(),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_with_the_known_names() {
        let error = "*,-deamonset"
            .parse::<EnabledControllers>()
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(
                "unknown controller \"deamonset\": known are clusterrole-aggregation, "
            ),
            "{error}"
        );
    }
}
