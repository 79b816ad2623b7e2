//! Where a daemon belongs, written down a second time after upstream: `NodeShouldRunDaemonPod` and
//! `Predicates` of `pkg/controller/daemon`, `nodeaffinity.GetRequiredNodeAffinity` and
//! `FindMatchingUntoleratedTaint` of `component-helpers`, `AddOrUpdateDaemonPodTolerations`.

use serde_json::Value;

use crate::{
    objects::{Node, Taint},
    value::{Text, list, some_text, text, texts},
};

/// Whether a daemon should run on a node, and whether one that is there may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Both `shouldRun` and `shouldContinueRunning` of upstream hold.
    Run,
    /// Only `shouldContinueRunning` of upstream holds.
    Keep,
    /// A pod is neither started there nor may it stay.
    No,
}

/// What a pod template demands of its node.
#[derive(Debug, Clone)]
pub(crate) struct Demands {
    node_name: Option<Text>,
    selector: Vec<(Text, Text)>,
    /// `None` without required node affinity.
    terms: Option<Vec<Value>>,
    tolerations: Vec<Toleration>,
}

#[derive(Debug, Clone)]
struct Toleration {
    key: Text,
    exists: bool,
    value: Text,
    effect: Text,
}

impl Demands {
    pub(crate) fn read(template: &Value) -> Self {
        let required = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
        let given = list(template, "/spec/tolerations").iter();
        let mut tolerations: Vec<Toleration> = given
            .map(|toleration| Toleration {
                key: text(toleration, "/key").into(),
                exists: text(toleration, "/operator") == "Exists",
                value: text(toleration, "/value").into(),
                effect: text(toleration, "/effect").into(),
            })
            .collect();
        let mut automatic = |key: &str, effect: &str| {
            tolerations.push(Toleration {
                key: format!("node.kubernetes.io/{key}").into(),
                exists: true,
                value: "".into(),
                effect: effect.into(),
            });
        };
        automatic("not-ready", "NoExecute");
        automatic("unreachable", "NoExecute");
        automatic("disk-pressure", "NoSchedule");
        automatic("memory-pressure", "NoSchedule");
        automatic("pid-pressure", "NoSchedule");
        automatic("unschedulable", "NoSchedule");
        if template.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)) {
            automatic("network-unavailable", "NoSchedule");
        }
        Self {
            node_name: some_text(template, "/spec/nodeName"),
            selector: texts(template, "/spec/nodeSelector").into_iter().collect(),
            terms: template
                .pointer(required)
                .map(|required| list(required, "/nodeSelectorTerms").to_vec()),
            tolerations,
        }
    }

    pub(crate) fn fit(&self, node: &Node) -> Fit {
        let fits_name = self
            .node_name
            .as_ref()
            .is_none_or(|name| *name == node.name);
        if !fits_name || !self.fits_affinity(node) {
            return Fit::No;
        }
        if !self.has_untolerated(node, &["NoSchedule", "NoExecute"]) {
            Fit::Run
        } else if !self.has_untolerated(node, &["NoExecute"]) {
            Fit::Keep
        } else {
            Fit::No
        }
    }

    fn fits_affinity(&self, node: &Node) -> bool {
        let has = |(key, value): &(Text, Text)| node.labels.get(key) == Some(value);
        if !self.selector.iter().all(has) {
            return false;
        }
        match &self.terms {
            None => true,
            Some(terms) => terms.iter().any(|term| term_matches(term, node)),
        }
    }

    fn has_untolerated(&self, node: &Node, effects: &[&str]) -> bool {
        node.taints
            .iter()
            .filter(|taint| effects.contains(&&*taint.effect))
            .any(|taint| !self.tolerations.iter().any(|t| t.tolerates(taint)))
    }
}

impl Toleration {
    /// Upstream's `Toleration.ToleratesTaint`.
    fn tolerates(&self, taint: &Taint) -> bool {
        if !self.effect.is_empty() && self.effect != taint.effect {
            return false;
        }
        if !self.key.is_empty() && self.key != taint.key {
            return false;
        }
        self.exists || self.value == taint.value
    }
}

/// A term without requirements matches no node; otherwise all of them must hold.
fn term_matches(term: &Value, node: &Node) -> bool {
    let (labels, fields) = (list(term, "/matchExpressions"), list(term, "/matchFields"));
    if labels.is_empty() && fields.is_empty() {
        return false;
    }
    let label_matches = |requirement: &Value| {
        requirement_matches(
            requirement,
            node.labels
                .get(text(requirement, "/key"))
                .map(|value| &**value),
        )
    };
    // `metadata.name` is the only field that upstream knows.
    let field_matches = |requirement: &Value| {
        text(requirement, "/key") == "metadata.name"
            && requirement_matches(requirement, Some(&node.name))
    };
    labels.iter().all(label_matches) && fields.iter().all(field_matches)
}

fn requirement_matches(requirement: &Value, actual: Option<&str>) -> bool {
    let values: Vec<&str> = list(requirement, "/values")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let numbers = || {
        let wanted: i64 = values.first()?.parse().ok()?;
        let actual: i64 = actual?.parse().ok()?;
        Some((actual, wanted))
    };
    match text(requirement, "/operator") {
        "In" => actual.is_some_and(|actual| values.contains(&actual)),
        "NotIn" => actual.is_none_or(|actual| !values.contains(&actual)),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => numbers().is_some_and(|(actual, wanted)| actual > wanted),
        "Lt" => numbers().is_some_and(|(actual, wanted)| actual < wanted),
        _ => false,
    }
}
