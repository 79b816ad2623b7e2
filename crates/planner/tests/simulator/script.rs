//! What happens to a cluster, as a value: generated from a seed, cut down when it fails, and kept in a
//! file that can be replayed (one JSON object a line: first the cluster, then one step each).

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::rng::Rng;

/// A cluster and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    /// Whether pods are bound when they are made.
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

/// A perturbation. `pick` chooses among what is there at that moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Perturbation {
    NodeAdd {
        node: usize,
    },
    NodeRemove {
        node: usize,
    },
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
    Taint {
        node: usize,
        hard: bool,
    },
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
    KubeletRefuses {
        node: usize,
        for_ms: i64,
    },
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
    PodUnowned {
        set: usize,
        node: usize,
    },
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
    Jump {
        ms: i64,
    },
    Failover {
        gap: i64,
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
    Cut {
        kind: usize,
    },
    Expire {
        kind: usize,
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

/// A DaemonSet that the script creates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SetSpec {
    pub(crate) template: Template,
    pub(crate) strategy: StrategySpec,
    pub(crate) min_ready: i64,
    pub(crate) history: usize,
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

/// A pod template; few values, so that edits often go back to an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Template {
    pub(crate) image: u8,
    pub(crate) disk: Option<u8>,
    pub(crate) not_disk: Option<u8>,
    pub(crate) tolerates: bool,
    pub(crate) priority: u8,
    pub(crate) millicores: u32,
}

impl Template {
    fn random(rng: &mut Rng) -> Self {
        let disk = |rng: &mut Rng, percent| rng.chance(percent).then(|| small(rng, 3));
        Self {
            image: small(rng, 4),
            disk: disk(rng, 20),
            not_disk: disk(rng, 15),
            tolerates: rng.chance(30),
            priority: small(rng, 3),
            millicores: [0, 100, 300][rng.below(3)],
        }
    }

    /// One word that tells templates apart.
    pub(crate) fn tag(&self) -> String {
        let mut tag = format!("v{}p{}c{}", self.image, self.priority, self.millicores);
        for (letter, value) in [('d', self.disk), ('n', self.not_disk)] {
            if let Some(value) = value {
                let _infallible = write!(tag, "{letter}{value}");
            }
        }
        tag + if self.tolerates { "t" } else { "" }
    }

    pub(crate) fn json(&self, app: &str) -> Value {
        let mut spec = json!({
            "containers": [{"name": "c", "image": format!("v{}", self.image)}],
        });
        let class = ["system-node-critical", "system-cluster-critical", ""];
        spec["priorityClassName"] = json!(class[usize::from(self.priority)]);
        if self.millicores > 0 {
            let cpu = json!({"cpu": format!("{}m", self.millicores)});
            spec["containers"][0]["resources"] = json!({"requests": cpu});
        }
        if let Some(disk) = self.disk {
            spec["nodeSelector"] = json!({"disk": format!("d{disk}")});
        }
        if let Some(disk) = self.not_disk {
            let test = json!({"key": "disk", "operator": "NotIn", "values": [format!("d{disk}")]});
            let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [test]}]});
            let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": terms});
            spec["affinity"] = json!({"nodeAffinity": required});
        }
        if self.tolerates {
            spec["tolerations"] = json!([{"key": "sim", "operator": "Exists"}]);
        }
        json!({
            "metadata": {"labels": {"app": app}, "annotations": {"tag": self.tag()}},
            "spec": spec,
        })
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
    fn random(rng: &mut Rng) -> Self {
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
    fn random(rng: &mut Rng) -> Self {
        Self {
            template: Template::random(rng),
            strategy: StrategySpec::random(rng),
            min_ready: [0, 0, 0, 5, 30][rng.below(5)],
            history: [0, 1, 2, 10][rng.below(4)],
        }
    }
}

fn small(rng: &mut Rng, bound: usize) -> u8 {
    u8::try_from(rng.below(bound)).unwrap()
}

// === generation ===

impl Script {
    /// The script of a seed.
    pub(crate) fn generate(seed: u64) -> Self {
        let mut rng = Rng::new(seed, 1);
        let nodes = match rng.below(100) {
            0..=59 => rng.between(1, 6),
            60..=87 => rng.between(5, 16),
            88..=96 => rng.between(17, 60),
            _ => rng.between(61, 200),
        };
        let nodes = usize::try_from(nodes).unwrap();
        let count = if nodes > 60 { 2 } else { 1 + rng.below(4) };
        let sets: Vec<SetSpec> = (0..count).map(|_| SetSpec::random(&mut rng)).collect();
        let length = if nodes > 60 { 25 } else { 10 + rng.below(70) };
        let mut at = 0;
        let mut steps = Vec::new();
        let bind = rng.chance(50);
        for _ in 0..length {
            at += match rng.below(10) {
                0..=4 => rng.between(0, 50),
                5..=7 => rng.between(50, 3_000),
                8 => rng.between(3_000, 30_000),
                _ => 0,
            };
            let what = Perturbation::random(&mut rng, nodes, &sets);
            steps.push(Step { at, what });
        }
        Self {
            seed,
            bind,
            nodes,
            sets,
            steps,
        }
    }

    /// The text of a file that can be replayed.
    pub(crate) fn to_text(&self) -> String {
        let mut text = serde_json::to_string(self).unwrap() + "\n";
        for step in &self.steps {
            text += &serde_json::to_string(step).unwrap();
            text.push('\n');
        }
        text
    }

    pub(crate) fn from_text(text: &str) -> Result<Self, serde_json::Error> {
        let mut lines = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut script: Self = serde_json::from_str(lines.next().unwrap_or_default())?;
        script.steps = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(script)
    }
}

impl Perturbation {
    fn random(rng: &mut Rng, nodes: usize, sets: &[SetSpec]) -> Self {
        let set = rng.below(sets.len());
        match rng.below(100) {
            0..=24 => Self::of_nodes(rng, nodes),
            25..=44 => Self::of_pods(rng, nodes, set),
            45..=69 => Self::of_sets(rng, set, sets),
            _ => Self::of_machinery(rng),
        }
    }

    fn of_nodes(rng: &mut Rng, nodes: usize) -> Self {
        // A few more than there are at first: those are added.
        let node = rng.below(nodes + nodes / 4 + 1);
        match rng.below(14) {
            0 => Self::NodeAdd { node },
            1 => Self::NodeRemove { node },
            2 | 3 => Self::NodeRecreated {
                node,
                gap: rng.latency(500, 20_000),
            },
            4 => Self::NodeDies { node },
            5 => Self::NodeRevives { node },
            6 | 7 => Self::Taint {
                node,
                hard: rng.chance(50),
            },
            8 => Self::Untaint { node },
            9 => Self::Cordon {
                node,
                on: rng.chance(60),
            },
            10 | 11 => Self::Label {
                node,
                disk: small(rng, 3),
            },
            12 => Self::ShrinkAllocatable {
                node,
                on: rng.chance(70),
            },
            _ => Self::KubeletRefuses {
                node,
                for_ms: rng.between(100, 20_000),
            },
        }
    }

    fn of_pods(rng: &mut Rng, nodes: usize, set: usize) -> Self {
        let pick = rng.below(1_000);
        match rng.below(12) {
            0..=2 => Self::PodFlaps {
                pick,
                for_ms: rng.between(10, 20_000),
            },
            3 | 4 => Self::PodFails { pick },
            5 => Self::PodSucceeds { pick },
            6..=8 => Self::PodDeleted { pick },
            9 => Self::PodOrphaned { pick },
            10 => Self::PodUnlabelled { pick },
            _ => Self::PodUnowned {
                set,
                node: rng.below(nodes),
            },
        }
    }

    fn of_sets(rng: &mut Rng, set: usize, sets: &[SetSpec]) -> Self {
        match rng.below(16) {
            0..=5 => {
                let image = small(rng, 4);
                let template = Template {
                    image,
                    ..sets[set].template.clone()
                };
                Self::Template { set, template }
            }
            6 => Self::Template {
                set,
                template: Template::random(rng),
            },
            7..=9 => Self::Strategy {
                set,
                strategy: StrategySpec::random(rng),
            },
            10 => Self::MinReady {
                set,
                seconds: [0, 3, 30][rng.below(3)],
            },
            11 => Self::History {
                set,
                limit: rng.below(3),
            },
            12 => {
                let how = [
                    Propagation::Background,
                    Propagation::Foreground,
                    Propagation::Orphan,
                ][rng.below(3)];
                Self::Delete { set, how }
            }
            13 | 14 => Self::Recreate { set },
            _ => Self::RevisionDeleted {
                pick: rng.below(100),
            },
        }
    }

    fn of_machinery(rng: &mut Rng) -> Self {
        let kind = [0, 1, 2, 3, 3, 3][rng.below(6)];
        let for_ms = rng.latency(5_000, 60_000);
        match rng.below(16) {
            0 => Self::Jump {
                ms: rng.between(-3_600_000, 3_600_000),
            },
            1 => Self::Jump {
                ms: rng.between(-20_000, 20_000),
            },
            2..=4 => Self::Failover {
                gap: rng.latency(200, 15_000),
                lag: rng.latency(100, 5_000),
            },
            5..=8 => Self::Faults {
                percent: [10, 30, 60, 100][rng.below(4)],
                for_ms,
            },
            9..=11 => Self::Slow {
                kind,
                delay: rng.latency(2_000, 30_000),
                for_ms,
            },
            12 => Self::Cut { kind },
            13 | 14 => Self::Expire { kind },
            15 if rng.chance(20) => Self::NamespaceEnds {
                namespace: rng.below(2),
                for_ms,
            },
            _ => Self::Stall {
                for_ms: rng.between(100, 8_000),
            },
        }
    }
}
