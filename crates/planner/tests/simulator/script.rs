//! What happens to a cluster, as a value: generated from a seed, shrunk when it fails, and kept in
//! a file that can be replayed (one JSON object a line: first the cluster, then one step each).

mod generate;
mod template;

use serde::{Deserialize, Serialize};

pub(crate) use self::template::{Nodes, SetSpec, StrategySpec, Template, Tolerates};

/// A cluster and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    /// Whether the planner binds pods at creation.
    pub(crate) bind: bool,
    pub(crate) nodes: usize,
    pub(crate) sets: Vec<SetSpec>,
    #[serde(skip)]
    pub(crate) steps: Vec<Step>,
}

/// One perturbation, and when it comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Milliseconds since the start.
    pub(crate) at: i64,
    pub(crate) what: Perturbation,
}

/// A perturbation. `pick` chooses among the objects that exist at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Perturbation {
    // Nodes and kubelets.
    NodeAdd {
        node: usize,
    },
    NodeRemove {
        node: usize,
    },
    /// The node is removed, and comes back under its name with another uid.
    NodeRecreated {
        node: usize,
        gap: i64,
    },
    NodeDies {
        node: usize,
    },
    NodeRevives {
        node: usize,
    },
    /// The entry of a table of taints.
    Taint {
        node: usize,
        taint: u8,
    },
    /// Removes all taints that scripts set.
    Untaint {
        node: usize,
    },
    Cordon {
        node: usize,
        on: bool,
    },
    Label {
        node: usize,
        disk: u8,
    },
    ShrinkAllocatable {
        node: usize,
        on: bool,
    },
    /// The kubelet rejects pods at admission (`OutOfcpu`).
    KubeletRejects {
        node: usize,
        for_ms: i64,
    },
    // Pods.
    PodFlaps {
        pick: usize,
        for_ms: i64,
    },
    PodFails {
        pick: usize,
    },
    PodSucceeds {
        pick: usize,
    },
    PodDeleted {
        pick: usize,
    },
    PodOrphaned {
        pick: usize,
    },
    PodUnlabelled {
        pick: usize,
    },
    /// A user creates a pod without a controller that a set selects.
    PodUnowned {
        set: usize,
        node: usize,
        /// It has an owner that is not its controller.
        other_owner: bool,
    },
    /// A pod is removed at once, and a user creates another one under its name.
    PodReplaced {
        pick: usize,
    },
    // DaemonSets.
    Template {
        set: usize,
        template: Template,
    },
    Strategy {
        set: usize,
        strategy: StrategySpec,
    },
    MinReady {
        set: usize,
        seconds: i64,
    },
    History {
        set: usize,
        limit: usize,
    },
    BadSelector {
        set: usize,
        on: bool,
    },
    Delete {
        set: usize,
        how: Propagation,
    },
    Recreate {
        set: usize,
    },
    RevisionDeleted {
        pick: usize,
    },
    NamespaceEnds {
        namespace: usize,
        for_ms: i64,
    },
    // The API server refuses, until long after the last step.
    RefuseCreate {
        set: usize,
        node: usize,
    },
    RefuseDelete {
        set: usize,
        node: usize,
    },
    RefusePatch {
        set: usize,
        node: usize,
    },
    RefuseRevision {
        set: usize,
    },
    /// No pods above this number in a namespace, for a while.
    Quota {
        namespace: usize,
        pods: usize,
        for_ms: i64,
    },
    // The controller, its clock and its connections.
    Jump {
        ms: i64,
    },
    Failover {
        gap: i64,
        lag: i64,
    },
    /// A second controller starts, and the first one goes on for a while.
    Overlap {
        for_ms: i64,
        lag: i64,
    },
    Faults {
        percent: usize,
        for_ms: i64,
    },
    Slow {
        kind: usize,
        delay: i64,
        for_ms: i64,
    },
    /// The watch of a kind breaks, and resumes.
    Cut {
        kind: usize,
    },
    /// The watch of a kind breaks, and must list again.
    Expire {
        kind: usize,
    },
    /// The watch of a kind breaks, and resumes from an earlier version.
    Rewind {
        kind: usize,
        back: usize,
    },
    Stall {
        for_ms: i64,
    },
}

/// How a DaemonSet is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

impl Script {
    /// The text of a file that can be replayed.
    pub(crate) fn to_text(&self) -> String {
        let mut text = serde_json::to_string(self).unwrap() + "\n";
        for step in &self.steps {
            text += &serde_json::to_string(step).unwrap();
            text.push('\n');
        }
        text
    }

    /// Reads such a file; lines that begin with `#` are comments.
    pub(crate) fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        let mut lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut script: Self = serde_json::from_str(lines.next().unwrap_or_default())?;
        script.steps = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(script)
    }
}
