//! The faulty behaviours, each with the invariant that must see it.

macro_rules! mutations {
    ($($(#[$doc:meta])* $name:ident => $kind:literal,)*) => {
        /// What is broken.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Mutation {
            $($(#[$doc])* $name,)*
        }

        impl Mutation {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The kind of violation that must be found: the check that was written for it, not
            /// another one that comes across it.
            pub(crate) const fn seen_as(self) -> &'static str {
                match self {
                    $(Self::$name => $kind,)*
                }
            }
        }
    };
}

mutations! {
    // What the planner is told.
    /// A creation whose fate is unknown counts as refused: expectations are dropped.
    DropsExpectations => "create: asked twice",
    /// All nodes may be down at once.
    IgnoresBudget => "budget",
    /// Pods count as ready as soon as they exist.
    AssumesReady => "status: wrong",
    /// Lists come without their version: what only a reply told of counts as gone.
    ListsWithoutVersion => "create: two pods",
    /// Removals of pods are not observed.
    IgnoresPodRemovals => "progress: creation",
    /// Every fifth outcome is lost.
    LosesOutcomes => "event: missing",
    /// Taints are not seen.
    IgnoresTaints => "create: misplaced",
    /// Labels of nodes are not seen.
    IgnoresNodeLabels => "create: misplaced",
    /// `minReadySeconds` is not seen.
    IgnoresMinReady => "status: wrong",
    /// Watches that resume from an earlier version deliver old entries again.
    TakesOldEntries => "delete: may stay",
    /// A rolling update uses no more than one node of its budget.
    HalfBudget => "progress: budget",
    /// A rolling update never begins.
    NeverUpdates => "progress: down",
    /// Surges never begin.
    NeverSurges => "progress: surge",
    /// Each success counts threefold: creations speed up too fast.
    FastStart => "slow start",
    /// Failures are taken for older than they are: pauses are too short.
    ShortPauses => "back-off",
    /// What the server asks to wait is not seen.
    IgnoresRetryAfter => "back-off",
    /// The planner is not woken by time.
    NeverWakes => "progress: wake",
    // What it asks for.
    /// Every request for a pod gets another name.
    NewNamePerRequest => "create: asked twice",
    /// With each deletion by the budget, another pod is deleted.
    DeletesExtraPod => "delete: may stay",
    /// Failed pods are deleted at once, however often they fail.
    DeletesFailedAtOnce => "delete: may stay",
    /// Pods get the hash of the wrong revision.
    WrongHash => "create: wrong hash",
    /// Pods are made from another template.
    WrongTemplate => "create: wrong pod",
    /// The reason of deletions by the budget is said to be another one.
    WrongReason => "delete: wrong reason",
    /// Adoptions replace all owners.
    ReplacesOwners => "patch: wrong",
    /// Patches do not name the uid of the pod.
    PatchesByName => "patch: wrong",
    /// Critical sets come last.
    WrongOrder => "order",
    /// Events are not recorded.
    SkipsEvents => "event: missing",
    /// Events are recorded twice.
    DoublesEvents => "event: not due",
    /// A number of the status is off by one.
    WrongStatus => "status: wrong",
    /// Revisions get a name that does not follow from their data.
    WrongRevisionName => "revision: wrong",
    // What is sent.
    /// Statuses are not written, and reported as written.
    SkipsStatusWrites => "progress: status",
    /// While a node is refused its pod, no other node gets one.
    StarvedByRefusal => "final state: number",
    /// While a deletion is refused, no other pod is deleted.
    StopsAtRefusedDeletion => "final state: outdated",
    /// Creations are sent twice, under two names.
    SendsTwice => "two pods",
    /// Pods are sent with the hash of another revision.
    SendsOtherHash => "wrong hash",
    /// Adoptions are sent as merge patches.
    SendsMergePatch => "patch: owner lost",
    /// Patches are sent without the uid of the pod.
    SendsWithoutUid => "patch: another pod",
}
