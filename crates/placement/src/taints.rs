//! Taints and tolerations, and the tolerations that every daemon gets.

use pandaemon_types::{Effect, Name, Taint};
use serde_json::Value;

/// How a toleration compares values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TolerationOperator {
    /// The values are equal.
    Equal,
    /// Any value.
    Exists,
}

/// One toleration of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    /// The taint's key; empty with `Exists` for every taint.
    pub key: Name,
    /// How values compare.
    pub operator: TolerationOperator,
    /// The taint's value.
    pub value: Name,
    /// The effect tolerated; none for all.
    pub effect: Option<Effect>,
}

impl Toleration {
    /// Reads one entry of `spec.tolerations`; `None` for an operator or effect that does not exist.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |field| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let operator = match text("operator") {
            "" | "Equal" => TolerationOperator::Equal,
            "Exists" => TolerationOperator::Exists,
            _ => return None,
        };
        let effect = match text("effect") {
            "" => None,
            "NoSchedule" => Some(Effect::NoSchedule),
            "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
            "NoExecute" => Some(Effect::NoExecute),
            _ => return None,
        };
        Some(Self {
            key: text("key").into(),
            operator,
            value: text("value").into(),
            effect,
        })
    }

    /// A toleration of any value of `key`.
    #[must_use]
    pub fn exists(key: &str, effect: Effect) -> Self {
        let operator = TolerationOperator::Exists;
        Self {
            key: key.into(),
            operator,
            value: "".into(),
            effect: Some(effect),
        }
    }

    /// Whether it covers the taint.
    #[must_use]
    pub fn covers(&self, taint: &Taint) -> bool {
        self.effect.is_none_or(|effect| effect == taint.effect)
            && (self.key.is_empty() || self.key == taint.key)
            && match self.operator {
                TolerationOperator::Exists => true,
                TolerationOperator::Equal => self.value == taint.value,
            }
    }
}

/// The first taint that keeps new pods away and is not tolerated.
#[must_use]
pub fn untolerated<'a>(tolerations: &[Toleration], taints: &'a [Taint]) -> Option<&'a Taint> {
    taints.iter().find(|taint| match taint.effect {
        Effect::PreferNoSchedule => false,
        Effect::NoSchedule | Effect::NoExecute => !tolerations.iter().any(|t| t.covers(taint)),
    })
}

/// Whether every `NoExecute` taint is tolerated: a pod that runs may stay.
#[must_use]
pub fn tolerates_no_execute(tolerations: &[Toleration], taints: &[Taint]) -> bool {
    taints
        .iter()
        .filter(|taint| taint.effect == Effect::NoExecute)
        .all(|taint| {
            tolerations
                .iter()
                .any(|toleration| toleration.covers(taint))
        })
}

pub(crate) fn tolerates_unschedulable(tolerations: &[Toleration]) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        value: "".into(),
        effect: Effect::NoSchedule,
    };
    tolerations
        .iter()
        .any(|toleration| toleration.covers(&taint))
}

/// The key and effect of each toleration that a daemon gets without asking, in upstream's order
/// (`AddOrUpdateDaemonPodTolerations`).
#[must_use]
pub fn daemon_tolerations(host_network: bool) -> Vec<(&'static str, Effect)> {
    let mut tolerations = vec![
        ("node.kubernetes.io/not-ready", Effect::NoExecute),
        ("node.kubernetes.io/unreachable", Effect::NoExecute),
        ("node.kubernetes.io/disk-pressure", Effect::NoSchedule),
        ("node.kubernetes.io/memory-pressure", Effect::NoSchedule),
        ("node.kubernetes.io/pid-pressure", Effect::NoSchedule),
        ("node.kubernetes.io/unschedulable", Effect::NoSchedule),
    ];
    if host_network {
        tolerations.push(("node.kubernetes.io/network-unavailable", Effect::NoSchedule));
    }
    tolerations
}
