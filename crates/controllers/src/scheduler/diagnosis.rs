//! The message of a pod that fits no node, in the words of upstream's scheduler (`FitError`). Pure.

use std::collections::{BTreeMap, BTreeSet};

use pandaemon_placement::Reason;

const WRONG_NODE: &str = "node(s) didn't match Pod's node affinity/selector";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";

/// How many nodes were rejected for which reason (upstream's `Diagnosis`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    nodes: usize,
    examined: usize,
    /// The number of nodes for each reason; a node may have several.
    reasons: BTreeMap<String, usize>,
    /// Nodes rejected only for resources or ports, where preemption could help.
    preemptible: usize,
}

impl Diagnosis {
    /// No node of so many was tested yet.
    #[must_use]
    pub const fn new(nodes: usize) -> Self {
        Self {
            nodes,
            examined: 0,
            reasons: BTreeMap::new(),
            preemptible: 0,
        }
    }

    /// Counts the reasons why one node was rejected.
    pub fn add(&mut self, reasons: &[Reason]) {
        self.examined += 1;
        let shortage = |reason: &Reason| {
            matches!(
                reason,
                Reason::Resource { .. }
                    | Reason::NoSuchResource { .. }
                    | Reason::PodCount { .. }
                    | Reason::Port { .. }
            )
        };
        self.preemptible += usize::from(reasons.iter().all(shortage));
        // Two ports that are taken are counted as one reason.
        let texts: BTreeSet<String> = reasons.iter().map(Reason::scheduler_text).collect();
        for text in texts {
            *self.reasons.entry(text).or_default() += 1;
        }
    }

    /// Counts the nodes that were not tested, as the pod's affinity names another one.
    pub fn count_unexamined_nodes(&mut self) {
        let others = self.nodes.saturating_sub(self.examined);
        if others > 0 {
            *self.reasons.entry(WRONG_NODE.to_owned()).or_default() += others;
            self.examined = self.nodes;
        }
    }

    /// The whole message; `preemption` is appended as the result of preemption.
    #[must_use]
    pub fn message(&self, preemption: Option<&str>) -> String {
        let mut text = histogram(self.nodes, &self.reasons);
        if let Some(why) = preemption {
            text.push_str(" preemption: ");
            text.push_str(why);
        }
        text
    }

    /// Why preemption did not find a candidate.
    #[must_use]
    pub fn preemption_message(&self) -> String {
        let counts = BTreeMap::from([
            (NO_VICTIMS.to_owned(), self.preemptible),
            (
                NOT_HELPFUL.to_owned(),
                self.nodes.saturating_sub(self.preemptible),
            ),
        ]);
        histogram(self.nodes, &counts)
    }
}

fn histogram(nodes: usize, reasons: &BTreeMap<String, usize>) -> String {
    let counts = reasons.iter().filter(|(_, count)| **count > 0);
    let mut parts: Vec<String> = counts
        .map(|(text, count)| format!("{count} {text}"))
        .collect();
    // As upstream, by text, so that 10 comes before 2.
    parts.sort();
    format!("0/{nodes} nodes are available: {}.", parts.join(", "))
}
