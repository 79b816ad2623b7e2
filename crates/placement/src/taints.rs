//! Taints, tolerations, and the tolerations that every daemon pod gets.

use pandaemon_types::{Effect, Name, Taint};
use serde_json::Value;

/// The operator of a toleration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TolerationOperator {
    /// The taint must have the same value.
    Equal,
    /// The taint may have any value.
    Exists,
}

/// One toleration of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    /// The key; an empty one matches every taint.
    pub key: Name,
    /// `Exists` or `Equal`.
    pub operator: TolerationOperator,
    /// The value to compare with; unused for `Exists`.
    pub value: Name,
    /// The effect that is tolerated; `None` tolerates all effects.
    pub effect: Option<Effect>,
}

impl Toleration {
    /// Reads one entry of `spec.tolerations`; `None` if the operator or the effect is unknown.
    #[must_use]
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |field| value.get(field).and_then(Value::as_str).unwrap_or_default();
        Self::from_fields(text("key"), text("operator"), text("value"), text("effect"))
    }

    /// A toleration with these fields, each empty if it is not set; `None` if the operator or the
    /// effect does not exist.
    #[must_use]
    pub fn from_fields(key: &str, operator: &str, value: &str, effect: &str) -> Option<Self> {
        let operator = match operator {
            "" | "Equal" => TolerationOperator::Equal,
            "Exists" => TolerationOperator::Exists,
            _ => return None,
        };
        let effect = match effect {
            "" => None,
            "NoSchedule" => Some(Effect::NoSchedule),
            "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
            "NoExecute" => Some(Effect::NoExecute),
            _ => return None,
        };
        Some(Self {
            key: key.into(),
            operator,
            value: value.into(),
            effect,
        })
    }

    /// A toleration of `key` with any value.
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

    /// Whether it tolerates the taint; upstream's `ToleratesTaint`.
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

/// The first `NoSchedule` or `NoExecute` taint that is not tolerated.
#[must_use]
pub fn untolerated<'a>(tolerations: &[Toleration], taints: &'a [Taint]) -> Option<&'a Taint> {
    all_untolerated(tolerations, taints).next()
}

/// The `NoSchedule` and `NoExecute` taints that are not tolerated.
pub(crate) fn all_untolerated<'a>(
    tolerations: &[Toleration],
    taints: &'a [Taint],
) -> impl Iterator<Item = &'a Taint> {
    taints.iter().filter(|taint| match taint.effect {
        Effect::PreferNoSchedule => false,
        Effect::NoSchedule | Effect::NoExecute => !tolerations.iter().any(|t| t.covers(taint)),
    })
}

/// Whether every `NoExecute` taint is tolerated, so that a running pod may stay.
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

/// The key and effect of each toleration that daemon pods get automatically, in the order of
/// upstream's
/// `AddOrUpdateDaemonPodTolerations`.
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
