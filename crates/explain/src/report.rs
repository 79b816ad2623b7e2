//! The report: one entry for each node, and sums. Its JSON form is documented in
//! `docs/design/explain.md`.

use pandaemon_types::{Name, Timestamp};
use serde::{Serialize, Serializer};

use crate::reason::Reason;

/// Whether a DaemonSet is on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// It should run there, but something prevents it.
    CannotRunYet,
    /// It will run there without a change to the cluster.
    WillRun,
    /// It runs there.
    Runs,
    /// It should not run there.
    MustNotRun,
}

impl Verdict {
    /// The verdict as the table shows it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::WillRun => "will run",
            Self::MustNotRun => "must not",
            Self::CannotRunYet => "cannot yet",
        }
    }
}

/// A pod of the DaemonSet.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// `metadata.name`.
    pub name: Name,
    /// `metadata.uid`.
    #[serde(serialize_with = "displayed")]
    pub uid: pandaemon_types::Uid,
    /// Its phase, or `Terminating`.
    pub phase: &'static str,
    /// Whether it is bound to the node.
    pub scheduled: bool,
    /// Whether it is ready.
    pub ready: bool,
    /// Whether it has been ready for long enough.
    pub available: bool,
    /// The hash of its revision.
    pub hash: Option<String>,
    /// The number of its revision, if that still exists.
    pub revision: Option<i64>,
    /// Whether that is the newest revision.
    pub newest: bool,
    /// Its creation timestamp.
    pub created: Timestamp,
    /// The sum of its containers' restart counts.
    pub restarts: i64,
}

fn displayed<S: Serializer>(
    value: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// What holds for one node.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// `metadata.name`.
    pub name: Name,
    /// Whether the DaemonSet runs on the node.
    pub verdict: Verdict,
    /// Whether nothing is left to do: one available pod of the newest revision, or none where none
    /// belongs.
    pub settled: bool,
    /// Its pods, the one that counts first.
    pub pods: Vec<PodReport>,
    /// The reasons of the verdict.
    pub reasons: Vec<Reason>,
    /// Facts about the node that do not decide the verdict.
    pub remarks: Vec<Reason>,
    /// Whether the verdict depends on the node's other pods.
    #[serde(skip)]
    pub needs_node_pods: bool,
}

/// The numbers of nodes by verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How many nodes there are.
    pub nodes: usize,
    /// Those where it runs.
    pub runs: usize,
    /// Those where it will run.
    pub will_run: usize,
    /// Those where it must not.
    pub must_not_run: usize,
    /// Those where it should run, but cannot yet.
    pub cannot_run_yet: usize,
    /// Those whose pod is not of the newest revision.
    pub outdated: usize,
    /// Those that are settled.
    pub settled: usize,
}

impl Summary {
    /// Counts nodes by verdict.
    #[must_use]
    pub fn of(nodes: &[NodeReport]) -> Self {
        let count = |good: &dyn Fn(&NodeReport) -> bool| nodes.iter().filter(|n| good(n)).count();
        let verdict = |verdict| count(&|node| node.verdict == verdict);
        let outdated = |node: &NodeReport| {
            let pod = node.pods.first();
            pod.is_some_and(|pod| !pod.newest && node.verdict != Verdict::MustNotRun)
        };
        Self {
            nodes: nodes.len(),
            runs: verdict(Verdict::Runs),
            will_run: verdict(Verdict::WillRun),
            must_not_run: verdict(Verdict::MustNotRun),
            cannot_run_yet: verdict(Verdict::CannotRunYet),
            outdated: count(&outdated),
            settled: count(&|node| node.settled),
        }
    }
}

/// The newest revision.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Newest {
    /// The revision hash: the label `controller-revision-hash`.
    pub hash: Option<String>,
    /// Its number; none if it is not written yet.
    pub revision: Option<i64>,
}

/// What applying a manifest would change.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Whether the DaemonSet exists.
    pub exists: bool,
    /// Whether pods would be replaced.
    pub template_changed: bool,
    /// The fields of `spec` that differ, with both values.
    pub fields: Vec<String>,
    /// Nodes where it would newly run.
    pub gained: Vec<Name>,
    /// Nodes where it would not run any more.
    pub lost: Vec<Name>,
    /// The nodes whose pods would be replaced, in order.
    pub order: Vec<Name>,
    /// How many of them are replaced at once.
    pub at_once: usize,
}

/// The explanation of a DaemonSet on all nodes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Always `DaemonSetExplanation`.
    pub kind: &'static str,
    /// The namespace of the DaemonSet.
    pub namespace: Name,
    /// `metadata.name`.
    pub name: Name,
    /// `metadata.generation` of the DaemonSet.
    pub generation: i64,
    /// The generation that its controller has acted on.
    pub observed_generation: i64,
    /// The newest revision.
    pub newest: Newest,
    /// How many nodes have which verdict.
    pub summary: Summary,
    /// Sentences about the DaemonSet as a whole.
    pub notes: Vec<String>,
    /// Set for a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// Every node, those that need attention first.
    pub nodes: Vec<NodeReport>,
}

impl Report {
    /// Whether every node is settled.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.summary.settled == self.summary.nodes
    }

    /// The nodes whose verdict depends on their other pods.
    #[must_use]
    pub fn nodes_to_inspect(&self) -> Vec<Name> {
        let nodes = self.nodes.iter().filter(|node| node.needs_node_pods);
        nodes.map(|node| Name::clone(&node.name)).collect()
    }
}
