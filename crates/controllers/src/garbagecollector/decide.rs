//! What one object needs, given what is known of its owners and dependents. Pure.

use super::graph::{Case, Dependent, Seen};
use pandaemon_client::object_meta::OwnerReference;

/// How an object is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// At once; its dependents follow.
    Background,
    /// After its dependents.
    Foreground,
    /// At once; its dependents stay.
    Orphan,
}

impl Propagation {
    /// The word of the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Background => "Background",
            Self::Foreground => "Foreground",
            Self::Orphan => "Orphan",
        }
    }
}

/// What to do for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// Take this owner out of the dependents' references, then the orphan finalizer off the object.
    Orphan(Vec<Dependent>),
    /// It waits for its dependents: decide about those first.
    Wait(Vec<String>),
    /// Nothing blocks it any more: take the foreground finalizer off.
    Release,
    /// Look for these owners live, then decide again.
    LookFor(Vec<OwnerReference>),
    /// Some owners stay: take the others out of its references.
    DropOwners(Vec<String>),
    /// Delete it. `unblock`: a circle of waiting objects, so its own references must first stop to block.
    Delete {
        /// How.
        propagation: Propagation,
        /// Whether to make its references non-blocking first.
        unblock: bool,
    },
}

/// Decides.
#[must_use]
pub fn decide(case: &Case) -> Decision {
    let node = &case.node;
    if node.orphaning {
        return Decision::Orphan(case.dependents.clone());
    }
    if node.foreground {
        return wait_or_release(case);
    }
    if node.deleting || case.owners.is_empty() {
        return Decision::Keep;
    }
    let with = |seen: Seen| {
        case.owners
            .iter()
            .filter(move |(_, known)| *known == seen)
            .map(|(owner, _)| owner)
    };
    let unknown: Vec<OwnerReference> = with(Seen::Unknown).cloned().collect();
    if !unknown.is_empty() {
        return Decision::LookFor(unknown);
    }
    let going: Vec<String> = with(Seen::Gone)
        .chain(with(Seen::WaitsForDependents))
        .map(|owner| owner.uid.clone())
        .collect();
    let waited_for = with(Seen::WaitsForDependents).next().is_some();
    match (with(Seen::There).next().is_some(), going.is_empty()) {
        (true, true) => Decision::Keep,
        (true, false) => Decision::DropOwners(going),
        // As upstream: an owner that waits wants the dependents of its dependents gone, too.
        (false, _) if waited_for && !case.dependents.is_empty() => Decision::Delete {
            propagation: Propagation::Foreground,
            unblock: case
                .dependents
                .iter()
                .any(|dependent| dependent.node.foreground),
        },
        (false, _) => Decision::Delete {
            propagation: Propagation::Background,
            unblock: false,
        },
    }
}

fn wait_or_release(case: &Case) -> Decision {
    let blocking: Vec<&Dependent> = case.dependents.iter().filter(|d| d.blocks).collect();
    if blocking.is_empty() {
        return Decision::Release;
    }
    let others = case
        .dependents
        .iter()
        .filter(|dependent| !dependent.node.foreground);
    Decision::Wait(others.map(|dependent| dependent.uid.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::garbagecollector::graph::{Node, tests::kind};
    use pandaemon_client::object_meta::Key;

    fn node(state: &str) -> Node {
        Node {
            kind: kind("pods", "Pod"),
            key: Key::new("a", "p"),
            version: "1".to_owned(),
            owners: std::sync::Arc::from([]),
            deleting: !state.is_empty(),
            foreground: state == "foreground",
            orphaning: state == "orphaning",
        }
    }

    fn dependent(text: &str) -> Dependent {
        Dependent {
            uid: "d".to_owned(),
            node: node(if text.contains("foreground") {
                "foreground"
            } else {
                ""
            }),
            blocks: text.contains("blocks"),
        }
    }

    fn owner(seen: Seen) -> (OwnerReference, Seen) {
        (
            OwnerReference {
                uid: format!("{seen:?}"),
                ..OwnerReference::default()
            },
            seen,
        )
    }

    fn verdict(state: &str, owners: &[Seen], dependents: &[&str]) -> String {
        let case = Case {
            uid: "u".to_owned(),
            node: node(state),
            owners: owners.iter().copied().map(owner).collect(),
            dependents: dependents.iter().copied().map(dependent).collect(),
        };
        match decide(&case) {
            Decision::Keep => "keep".to_owned(),
            Decision::Orphan(all) => format!("orphan {}", all.len()),
            Decision::Wait(all) => format!("wait {}", all.len()),
            Decision::Release => "release".to_owned(),
            Decision::LookFor(all) => format!("look for {}", all.len()),
            Decision::DropOwners(uids) => format!("drop {}", uids.join(" ")),
            Decision::Delete {
                propagation,
                unblock,
            } => {
                format!(
                    "delete {}{}",
                    propagation.as_str(),
                    if unblock { " unblocked" } else { "" }
                )
            }
        }
    }

    #[test]
    fn table() {
        use Seen::{Gone, There, Unknown, WaitsForDependents as Waits};
        for (state, owners, dependents, expected) in [
            ("", &[][..], &[][..], "keep"),
            ("", &[There], &[], "keep"),
            ("", &[Gone], &[], "delete Background"),
            ("", &[Gone, Gone], &["blocks"], "delete Background"),
            ("", &[There, Gone], &[], "drop Gone"),
            ("", &[There, Waits], &[], "drop WaitsForDependents"),
            ("", &[There, Unknown], &[], "look for 1"),
            ("", &[Gone, Unknown], &[], "look for 1"),
            ("", &[Waits], &[], "delete Background"),
            ("", &[Waits], &["blocks"], "delete Foreground"),
            (
                "",
                &[Waits, Gone],
                &["blocks foreground"],
                "delete Foreground unblocked",
            ),
            ("deleting", &[Gone], &[], "keep"),
            ("orphaning", &[There], &["", "blocks"], "orphan 2"),
            ("foreground", &[], &[], "release"),
            ("foreground", &[], &[""], "release"),
            ("foreground", &[], &["blocks", ""], "wait 2"),
            ("foreground", &[Gone], &["blocks foreground"], "wait 0"),
        ] {
            assert_eq!(
                verdict(state, owners, dependents),
                expected,
                "{state} {owners:?} {dependents:?}"
            );
        }
    }
}
