//! Clusters and plans as text: one line for each object, and one line for each action.

#[path = "text_cluster/objects.rs"]
mod objects;
#[path = "text_cluster/show.rs"]
mod show;

use pandaemon_planner::{Action, Failure, FailureKind, Options, Plan};
use serde_json::Value;

use self::show::other_than_agent;
use crate::cluster::Cluster;

/// A cluster that is described and changed by lines of text, and whose plans are printed as text.
pub(crate) struct TextCluster {
    pub(crate) cluster: Cluster,
    plan: Plan,
    show_status: bool,
    show_events: bool,
    show_objects: bool,
    show_nodes: bool,
}

impl TextCluster {
    pub(crate) fn new(bind: bool) -> Self {
        Self {
            cluster: Cluster::new(Options {
                bind,
                explain: true,
            }),
            plan: Plan::default(),
            show_status: false,
            show_events: false,
            show_objects: false,
            show_nodes: true,
        }
    }

    /// Interprets one line of a case.
    pub(crate) fn line(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let Some(what) = words.next() else { return };
        let words: Vec<&str> = words.collect();
        match what {
            "show" => {
                self.show_status |= words.contains(&"status");
                self.show_events |= words.contains(&"events");
                self.show_objects |= words.contains(&"objects");
                self.show_nodes &= !words.contains(&"no-nodes");
            }
            "wait" => self.cluster.now = self.cluster.now.plus_seconds(words[0].parse().unwrap()),
            "set" => self.set(&words),
            "set-" => self.cluster.drop_set(words[0]),
            "node" => self.node(&words),
            "node-" => self.cluster.drop_node(words[0]),
            "pod" => self.pod(&words),
            "pod-" => {
                for name in self.named(words[0]) {
                    self.cluster.drop_pod(&name);
                }
            }
            "rev-" => {
                let name = words[0].replace("HASH", &self.new_hash("agent"));
                self.cluster.drop_revision(&name);
            }
            "rev" => self.revision(words[0], words[1], words[2].parse().unwrap(), &words[3..]),
            "do" => {
                let plan = std::mem::take(&mut self.plan);
                self.cluster.perform(&plan);
            }
            "fail" => self.fail(words[0], words.get(1).copied()),
            "kubelets" => drop(self.cluster.run_kubelets()),
            "settle" => drop(self.cluster.settle()),
            other => panic!("what is `{other}`?"),
        }
    }

    /// The pod of that name, or all pods of the node of that name.
    fn named(&self, word: &str) -> Vec<String> {
        let on = |(name, pod): &(&String, &Value)| *name == word || Cluster::place(pod) == word;
        self.cluster
            .pods
            .iter()
            .filter(on)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Every action of the last plan fails, or only those of the set `of`, or of the node or pod in
    /// `on=NAME`.
    fn fail(&mut self, how: &str, of: Option<&str>) {
        let kind = match how {
            "refused" => FailureKind::Refused,
            "unclear" | "lost" => FailureKind::Unclear,
            "terminating" => FailureKind::NamespaceTerminating,
            other => panic!("what is `{other}`?"),
        };
        let plan = std::mem::take(&mut self.plan);
        let (failing, fine): (Vec<Action>, Vec<Action>) = plan
            .actions
            .into_iter()
            .partition(|action| of.is_none_or(|of| concerns(action, of)));
        let rest = Plan {
            actions: fine,
            ..Plan::default()
        };
        self.cluster.perform(&rest);
        for action in &failing {
            if how == "lost" {
                drop(self.cluster.carry_out(action));
            }
            let failure = Failure {
                kind,
                message: "no".to_owned(),
                retry_after: 0,
            };
            self.cluster.report(action, Err(failure));
        }
    }

    /// Plans, and returns the plan as text.
    pub(crate) fn plan(&mut self) -> String {
        self.plan = self.cluster.plan();
        let mut lines: Vec<String> = self
            .plan
            .actions
            .iter()
            .filter_map(|action| self.show(action))
            .collect();
        if self.show_nodes {
            for explanation in &self.plan.explanations {
                let (word, node, reason) = (
                    explanation.status.word(),
                    &explanation.node,
                    &explanation.status,
                );
                let set = other_than_agent(&explanation.set);
                lines.push(format!("{word} {node}{set} {reason}").trim_end().to_owned());
            }
        }
        if let Some(at) = self.plan.wake_at {
            lines.push(format!("wake in {} ms", at.millis_since(self.cluster.now)));
        }
        lines.join("\n")
    }
}

/// Whether an action is about a set, or about a node or patched pod if the word is `on=NAME`.
fn concerns(action: &Action, word: &str) -> bool {
    let Some(wanted) = word.strip_prefix("on=") else {
        return *action.set().name == *word;
    };
    match action {
        Action::CreatePod { node, .. } | Action::DeletePod { node, .. } => &**node == wanted,
        Action::PatchPod { pod, .. } => &*pod.name == wanted,
        _ => false,
    }
}
