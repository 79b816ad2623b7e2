//! What to do for one object, given its owners and dependents (upstream's attemptToDeleteItem).
//! Pure.

use pandaemon_client::object_meta::OwnerReference;

use super::graph::{DeletionAttempt, Dependent, OwnerState};

/// The propagation policy of a deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// The object is deleted at once, and its dependents after it.
    Background,
    /// The object is deleted after its dependents.
    Foreground,
    /// The object is deleted and its dependents are kept.
    Orphan,
}

impl Propagation {
    /// The value in DeleteOptions.
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
    /// The object stays as it is.
    Nothing,
    /// Remove this owner from the dependents' references, then the orphan finalizer from the
    /// object.
    Orphan(Vec<Dependent>),
    /// It waits for its dependents: attempt to delete these.
    DeleteDependents(Vec<String>),
    /// No dependent blocks it any more: remove the foreground finalizer.
    RemoveForegroundFinalizer,
    /// GET these owners, then decide again.
    GetOwners(Vec<OwnerReference>),
    /// Some owners exist: remove the references to the others.
    RemoveOwnerReferences(Vec<String>),
    /// Delete the object.
    Delete {
        /// The propagation policy.
        propagation: Propagation,
        /// Whether its references must become non-blocking first, as it is part of a circle of
        /// waiting objects.
        unblock: bool,
    },
}

/// Decides about one object.
#[must_use]
pub fn decide(attempt: &DeletionAttempt) -> Decision {
    let node = &attempt.node;
    if node.orphaning {
        return Decision::Orphan(attempt.dependents.clone());
    }
    if node.foreground {
        return delete_dependents_or_finish(attempt);
    }
    if node.deleting || attempt.owners.is_empty() {
        return Decision::Nothing;
    }
    let with = |seen: OwnerState| {
        attempt
            .owners
            .iter()
            .filter(move |(_, known)| *known == seen)
            .map(|(owner, _)| owner)
    };
    let unknown: Vec<OwnerReference> = with(OwnerState::Unknown).cloned().collect();
    if !unknown.is_empty() {
        return Decision::GetOwners(unknown);
    }
    let going: Vec<String> = with(OwnerState::Absent)
        .chain(with(OwnerState::WaitsForDependents))
        .map(|owner| owner.uid.clone())
        .collect();
    let owner_waits = with(OwnerState::WaitsForDependents).next().is_some();
    match (with(OwnerState::Present).next().is_some(), going.is_empty()) {
        (true, true) => Decision::Nothing,
        (true, false) => Decision::RemoveOwnerReferences(going),
        // As upstream: an owner that waits wants the dependents of its dependents gone, too.
        (false, _) if owner_waits && !attempt.dependents.is_empty() => Decision::Delete {
            propagation: Propagation::Foreground,
            unblock: attempt
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

fn delete_dependents_or_finish(attempt: &DeletionAttempt) -> Decision {
    let blocking: Vec<&Dependent> = attempt.dependents.iter().filter(|d| d.blocks).collect();
    if blocking.is_empty() {
        return Decision::RemoveForegroundFinalizer;
    }
    let others = attempt
        .dependents
        .iter()
        .filter(|dependent| !dependent.node.foreground);
    Decision::DeleteDependents(others.map(|dependent| dependent.uid.clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::garbage_collector::graph::{Node, tests::kind};
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

    fn owner(seen: OwnerState) -> (OwnerReference, OwnerState) {
        (
            OwnerReference {
                uid: format!("{seen:?}"),
                ..OwnerReference::default()
            },
            seen,
        )
    }

    fn decision(state: &str, owners: &[OwnerState], dependents: &[&str]) -> String {
        let attempt = DeletionAttempt {
            uid: "u".to_owned(),
            node: node(state),
            owners: owners.iter().copied().map(owner).collect(),
            dependents: dependents.iter().copied().map(dependent).collect(),
        };
        match decide(&attempt) {
            Decision::Nothing => "nothing".to_owned(),
            Decision::Orphan(all) => format!("orphan {}", all.len()),
            Decision::DeleteDependents(all) => format!("delete dependents {}", all.len()),
            Decision::RemoveForegroundFinalizer => "remove finalizer".to_owned(),
            Decision::GetOwners(all) => format!("get owners {}", all.len()),
            Decision::RemoveOwnerReferences(uids) => {
                format!("remove references {}", uids.join(" "))
            }
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
        use OwnerState::{Absent, Present, Unknown, WaitsForDependents as Waits};
        for (state, owners, dependents, expected) in [
            ("", &[][..], &[][..], "nothing"),
            ("", &[Present], &[], "nothing"),
            ("", &[Absent], &[], "delete Background"),
            ("", &[Absent, Absent], &["blocks"], "delete Background"),
            ("", &[Present, Absent], &[], "remove references Absent"),
            (
                "",
                &[Present, Waits],
                &[],
                "remove references WaitsForDependents",
            ),
            ("", &[Present, Unknown], &[], "get owners 1"),
            ("", &[Absent, Unknown], &[], "get owners 1"),
            ("", &[Waits], &[], "delete Background"),
            ("", &[Waits], &["blocks"], "delete Foreground"),
            (
                "",
                &[Waits, Absent],
                &["blocks foreground"],
                "delete Foreground unblocked",
            ),
            ("deleting", &[Absent], &[], "nothing"),
            ("orphaning", &[Present], &["", "blocks"], "orphan 2"),
            ("foreground", &[], &[], "remove finalizer"),
            ("foreground", &[], &[""], "remove finalizer"),
            ("foreground", &[], &["blocks", ""], "delete dependents 2"),
            (
                "foreground",
                &[Absent],
                &["blocks foreground"],
                "delete dependents 0",
            ),
        ] {
            assert_eq!(
                decision(state, owners, dependents),
                expected,
                "{state} {owners:?} {dependents:?}"
            );
        }
    }
}
