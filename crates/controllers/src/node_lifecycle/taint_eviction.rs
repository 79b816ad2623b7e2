//! When a pod must leave a node because of a NoExecute taint (upstream's
//! taint-eviction-controller). Pure.

use std::time::Duration;

use pandaemon_types::{Effect, Taint};

use crate::views::pod::TimedToleration;

/// The longest wait, in seconds: a century. A pod may ask for more than a clock can count.
const MAX_SECONDS: u64 = 100 * 365 * 24 * 60 * 60;

/// When a pod is evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Eviction {
    /// The pod tolerates all taints without a limit.
    Never,
    /// So long after the taints were first seen; zero: at once.
    After(Duration),
}

/// At once if a taint is not tolerated, else after the shortest `tolerationSeconds`.
#[must_use]
pub fn eviction(tolerations: &[TimedToleration], taints: &[Taint]) -> Eviction {
    let mut shortest: Option<u64> = None;
    for taint in taints
        .iter()
        .filter(|taint| taint.effect == Effect::NoExecute)
    {
        let mut covering = tolerations
            .iter()
            .filter(|toleration| toleration.covers(taint))
            .peekable();
        if covering.peek().is_none() {
            return Eviction::After(Duration::ZERO);
        }
        for seconds in covering.filter_map(|toleration| toleration.seconds) {
            // As upstream, negative seconds are zero.
            let seconds = u64::try_from(seconds).unwrap_or(0).min(MAX_SECONDS);
            shortest = Some(shortest.map_or(seconds, |known| known.min(seconds)));
        }
    }
    shortest.map_or(Eviction::Never, |seconds| {
        Eviction::After(Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use pandaemon_placement::Toleration;
    use serde_json::json;

    use super::*;

    #[test]
    fn table() {
        let taint = |key: &str, effect| Taint {
            key: key.into(),
            value: "".into(),
            effect,
        };
        let dead = [taint("dead", Effect::NoExecute)];
        let both = [
            taint("dead", Effect::NoExecute),
            taint("broken", Effect::NoExecute),
        ];
        let mild = [taint("dead", Effect::NoSchedule)];
        let tolerate = |key: &str, seconds: Option<i64>| TimedToleration {
            toleration: Toleration::from_json(&json!({ "key": key, "operator": "Exists" }))
                .unwrap(),
            seconds,
        };
        let after = |seconds| Eviction::After(Duration::from_secs(seconds));
        for (tolerations, taints, expected) in [
            (vec![], &mild[..], Eviction::Never),
            (vec![], &dead[..], after(0)),
            (vec![tolerate("dead", None)], &dead[..], Eviction::Never),
            (vec![tolerate("dead", Some(300))], &dead[..], after(300)),
            (vec![tolerate("dead", Some(-1))], &dead[..], after(0)),
            (
                vec![tolerate("dead", Some(i64::MAX))],
                &dead[..],
                after(MAX_SECONDS),
            ),
            (
                vec![tolerate("dead", Some(300)), tolerate("dead", Some(5))],
                &dead[..],
                after(5),
            ),
            (vec![tolerate("dead", Some(300))], &both[..], after(0)),
            (
                vec![tolerate("dead", Some(300)), tolerate("", None)],
                &both[..],
                after(300),
            ),
        ] {
            assert_eq!(
                eviction(&tolerations, taints),
                expected,
                "{tolerations:?} {taints:?}"
            );
        }
    }
}
