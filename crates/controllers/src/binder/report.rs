//! Why a pod has no node, in the words of upstream's scheduler. Pure.

use std::collections::{BTreeMap, BTreeSet};

use pandaemon_placement::Reason;

const WRONG_NODE: &str = "node(s) didn't match Pod's node affinity/selector";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";

/// The reasons of all nodes, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    nodes: usize,
    judged: usize,
    /// Nodes by reason; a node may have several.
    reasons: BTreeMap<String, usize>,
    /// Nodes on which pods might make room.
    helpful: usize,
}

impl Diagnosis {
    /// Nothing is known yet of that many nodes.
    #[must_use]
    pub const fn new(nodes: usize) -> Self {
        Self {
            nodes,
            judged: 0,
            reasons: BTreeMap::new(),
            helpful: 0,
        }
    }

    /// A node does not fit, for these reasons.
    pub fn add(&mut self, reasons: &[Reason]) {
        self.judged += 1;
        let shortage = |reason: &Reason| {
            matches!(
                reason,
                Reason::Resource { .. }
                    | Reason::NoSuchResource { .. }
                    | Reason::PodCount { .. }
                    | Reason::Port { .. }
            )
        };
        self.helpful += usize::from(reasons.iter().all(shortage));
        // Two ports that are taken are one reason.
        let texts: BTreeSet<String> = reasons.iter().map(Reason::scheduler_text).collect();
        for text in texts {
            *self.reasons.entry(text).or_default() += 1;
        }
    }

    /// The nodes that were not looked at are not those that the pod asks for.
    pub fn others_are_wrong_nodes(&mut self) {
        let others = self.nodes.saturating_sub(self.judged);
        if others > 0 {
            *self.reasons.entry(WRONG_NODE.to_owned()).or_default() += others;
            self.judged = self.nodes;
        }
    }

    /// The whole sentence; `preemption` is what became of the attempt to make room.
    #[must_use]
    pub fn text(&self, preemption: Option<&str>) -> String {
        let mut text = histogram(self.nodes, &self.reasons);
        if let Some(why) = preemption {
            text.push_str(" preemption: ");
            text.push_str(why);
        }
        text
    }

    /// Why no room can be made.
    #[must_use]
    pub fn no_preemption(&self) -> String {
        let counts = BTreeMap::from([
            (NO_VICTIMS.to_owned(), self.helpful),
            (
                NOT_HELPFUL.to_owned(),
                self.nodes.saturating_sub(self.helpful),
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
