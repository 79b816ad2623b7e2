//! Pod templates, strategies and whole DaemonSets of scripts.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rng::Rng;

/// The spec of a DaemonSet, in few words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetSpec {
    pub(crate) template: Template,
    pub(crate) strategy: StrategySpec,
    /// `minReadySeconds` of the DaemonSet.
    pub(crate) min_ready: i64,
    pub(crate) history: usize,
    /// Whether its selector cannot be read.
    #[serde(default)]
    pub(crate) bad_selector: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StrategySpec {
    OnDelete,
    Unavailable(Limit),
    Surge(Limit),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Limit {
    Number(usize),
    Percent(usize),
}

/// Which nodes a template chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Nodes {
    All,
    /// By `nodeSelector` on the label `disk`.
    Disk(u8),
    /// By required node affinity: the entry of a table, see [`Nodes::terms`].
    Affinity(u8),
    /// By `nodeName`.
    Named(u8),
}

/// Which taints a template tolerates, besides those that all daemons do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Tolerates {
    Nothing,
    /// `sim` with any value and effect.
    Key,
    /// `sim` with the value `x`.
    Value,
    /// `sim` with any value and the effect `NoSchedule`.
    Effect,
    Everything,
}

/// A pod template; few values, so that edits often go back to an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Template {
    pub(crate) image: u8,
    pub(crate) nodes: Nodes,
    pub(crate) tolerates: Tolerates,
    pub(crate) host_network: bool,
    pub(crate) priority: u8,
    pub(crate) millicores: u32,
}

impl Template {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        Self {
            image: small(rng, 4),
            nodes: Nodes::random(rng),
            tolerates: match rng.below(10) {
                0 => Tolerates::Key,
                1 => Tolerates::Value,
                2 => Tolerates::Effect,
                3 => Tolerates::Everything,
                _ => Tolerates::Nothing,
            },
            host_network: rng.chance(20),
            priority: small(rng, 3),
            millicores: [0, 100, 300][rng.below(3)],
        }
    }

    /// A text that tells templates apart; pods carry it as an annotation.
    pub(crate) fn tag(&self) -> String {
        let Self {
            image,
            nodes,
            tolerates,
            host_network,
            priority,
            millicores,
        } = self;
        format!("v{image} {nodes:?} {tolerates:?} {host_network} p{priority} c{millicores}")
    }

    pub(crate) fn json(&self, app: &str) -> Value {
        let class = ["system-node-critical", "system-cluster-critical", ""];
        let mut spec = json!({
            "containers": [{"name": "c", "image": format!("v{}", self.image)}],
            "priorityClassName": class[usize::from(self.priority)],
        });
        if self.millicores > 0 {
            let cpu = json!({"cpu": format!("{}m", self.millicores)});
            spec["containers"][0]["resources"] = json!({"requests": cpu});
        }
        if self.host_network {
            spec["hostNetwork"] = json!(true);
        }
        match self.nodes {
            Nodes::All => {}
            Nodes::Disk(disk) => spec["nodeSelector"] = json!({"disk": format!("d{disk}")}),
            Nodes::Named(node) => spec["nodeName"] = json!(format!("n{node:03}")),
            Nodes::Affinity(entry) => {
                let required = json!({"nodeSelectorTerms": Nodes::terms(entry)});
                spec["affinity"] = json!({"nodeAffinity":
                    {"requiredDuringSchedulingIgnoredDuringExecution": required}});
            }
        }
        if let Some(toleration) = self.tolerates.json() {
            spec["tolerations"] = json!([toleration]);
        }
        json!({
            "metadata": {"labels": {"app": app}, "annotations": {"tag": self.tag()}},
            "spec": spec,
        })
    }
}

impl Nodes {
    /// How many entries the table of [`Nodes::terms`] has.
    const TERMS: usize = 8;

    fn random(rng: &mut Rng) -> Self {
        match rng.below(20) {
            0..=2 => Self::Disk(small(rng, 3)),
            3..=7 => Self::Affinity(small(rng, Self::TERMS)),
            8 => Self::Named(small(rng, 3)),
            _ => Self::All,
        }
    }

    /// Required node affinity with each operator, with more than one term, and with fields.
    fn terms(entry: u8) -> Value {
        match entry {
            0 => json!([{"matchExpressions":
                [{"key": "disk", "operator": "NotIn", "values": ["d0"]}]}]),
            1 => json!([{"matchExpressions":
                [{"key": "disk", "operator": "In", "values": ["d0", "d1"]}]}]),
            2 => {
                json!([{"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["4"]}]}])
            }
            3 => {
                json!([{"matchExpressions": [{"key": "cores", "operator": "Lt", "values": ["16"]}]}])
            }
            4 => json!([{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]},
                {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["d1"]}]}]),
            5 => json!([{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"},
                {"key": "disk", "operator": "NotIn", "values": ["d2"]}]}]),
            6 => json!([{"matchFields":
                [{"key": "metadata.name", "operator": "NotIn", "values": ["n001"]}]}]),
            _ => json!([{}, {"matchExpressions": [{"key": "cores", "operator": "Exists"}],
                "matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n000"]}]}]),
        }
    }
}

impl Tolerates {
    fn json(self) -> Option<Value> {
        match self {
            Self::Nothing => None,
            Self::Key => Some(json!({"key": "sim", "operator": "Exists"})),
            Self::Value => Some(json!({"key": "sim", "value": "x"})),
            Self::Effect => {
                Some(json!({"key": "sim", "operator": "Exists", "effect": "NoSchedule"}))
            }
            Self::Everything => Some(json!({"operator": "Exists"})),
        }
    }
}

impl Limit {
    fn random(rng: &mut Rng) -> Self {
        if rng.chance(50) {
            Self::Number([1, 1, 2, 3, 10][rng.below(5)])
        } else {
            Self::Percent([1, 10, 25, 34, 50, 100][rng.below(6)])
        }
    }

    fn json(self) -> Value {
        match self {
            Self::Number(number) => json!(number),
            Self::Percent(share) => json!(format!("{share}%")),
        }
    }
}

impl StrategySpec {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        match rng.below(10) {
            0 => Self::OnDelete,
            1..=5 => Self::Unavailable(Limit::random(rng)),
            _ => Self::Surge(Limit::random(rng)),
        }
    }

    pub(crate) fn json(self) -> Value {
        let limits = match self {
            Self::OnDelete => return json!({"type": "OnDelete"}),
            Self::Unavailable(limit) => json!({"maxUnavailable": limit.json(), "maxSurge": 0}),
            Self::Surge(limit) => json!({"maxUnavailable": 0, "maxSurge": limit.json()}),
        };
        json!({"type": "RollingUpdate", "rollingUpdate": limits})
    }
}

impl SetSpec {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        Self {
            template: Template::random(rng),
            strategy: StrategySpec::random(rng),
            min_ready: [0, 0, 0, 5, 30][rng.below(5)],
            history: [0, 1, 2, 10][rng.below(4)],
            bad_selector: false,
        }
    }

    /// The `spec` of the DaemonSet.
    pub(crate) fn json(&self, app: &str) -> Value {
        let selector = if self.bad_selector {
            // Upstream's validation refuses this on creation; it may come from an older server.
            json!({"matchExpressions": [{"key": "app", "operator": "Resembles", "values": [app]}]})
        } else {
            json!({"matchLabels": {"app": app}})
        };
        json!({
            "selector": selector,
            "template": self.template.json(app),
            "updateStrategy": self.strategy.json(),
            "minReadySeconds": self.min_ready,
            "revisionHistoryLimit": self.history,
        })
    }
}

/// A small random number below `bound`.
pub(crate) fn small(rng: &mut Rng, bound: usize) -> u8 {
    u8::try_from(rng.below(bound)).unwrap()
}
