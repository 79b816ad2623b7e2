//! Which loops run: the `--controllers '*,-daemonset'` syntax of upstream's controller manager.

use std::{collections::BTreeSet, fmt, str::FromStr};

/// Every loop by name, in the order in which they start.
pub const LOOPS: [&str; 9] = [
    "namespace",
    "serviceaccount",
    "rootca",
    "nodelifecycle",
    "daemonset",
    "binder",
    "endpoints",
    "endpointslice",
    "garbagecollector",
];

/// A set of loops, parsed from a comma-separated list: `*` is all, `NAME` one more, `-NAME` one less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(BTreeSet<&'static str>);

/// A word of the list that names no loop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown controller {name:?}: known are {}", LOOPS.join(", "))]
pub struct UnknownLoop {
    /// The word as it was written.
    pub name: String,
}

impl Selection {
    /// Every loop.
    #[must_use]
    pub fn all() -> Self {
        Self(LOOPS.into_iter().collect())
    }

    /// Whether the loop runs.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// The chosen loops in the order in which they start.
    pub fn iter(&self) -> impl Iterator<Item = &'static str> + '_ {
        LOOPS.into_iter().filter(|name| self.0.contains(name))
    }
}

impl Default for Selection {
    fn default() -> Self {
        Self::all()
    }
}

impl FromStr for Selection {
    type Err = UnknownLoop;

    fn from_str(text: &str) -> Result<Self, UnknownLoop> {
        let words: Vec<&str> = text
            .split(',')
            .map(str::trim)
            .filter(|w| !w.is_empty())
            .collect();
        let mut chosen = BTreeSet::new();
        // As upstream: `*` counts wherever it stands, and a minus wins over it.
        if words.contains(&"*") {
            chosen.extend(LOOPS);
        }
        for word in words.iter().filter(|word| **word != "*") {
            let (name, add) = word
                .strip_prefix('-')
                .map_or((*word, true), |name| (name, false));
            let known = LOOPS
                .into_iter()
                .find(|known| *known == name)
                .ok_or_else(|| UnknownLoop {
                    name: name.to_owned(),
                })?;
            if add {
                chosen.insert(known);
            } else {
                chosen.remove(known);
            }
        }
        Ok(Self(chosen))
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iter().collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_upstream_reads_them() {
        for (text, expected) in [
            ("*", LOOPS.join(",").as_str()),
            ("", ""),
            ("binder", "binder"),
            ("binder, namespace", "namespace,binder"),
            (
                "*,-daemonset,-binder",
                "namespace,serviceaccount,rootca,nodelifecycle,endpoints,endpointslice,garbagecollector",
            ),
            ("-daemonset,binder", "binder"),
        ] {
            assert_eq!(
                text.parse::<Selection>().unwrap().to_string(),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_unknown_name_is_told_with_the_known_ones() {
        let error = "*,-deamonset".parse::<Selection>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown controller \"deamonset\": known are namespace, "),
            "{error}"
        );
    }
}
