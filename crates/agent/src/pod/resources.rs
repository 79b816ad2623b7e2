//! Requests and limits: QoS class, CPU shares and quotas, OOM scores.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::Container, apimachinery::pkg::api::resource::Quantity as QuantityText,
};
use pandaemon_cri::pb;
use pandaemon_types::Quantity;

use super::PodRef;
use crate::host::cgroups::{PodLimits, Qos};

/// The period of CPU quotas in microseconds.
const PERIOD: i64 = 100_000;
/// The smallest quota, in microseconds, that the kernel accepts.
const MIN_QUOTA: i64 = 1000;
/// The smallest number of CPU shares that the kernel accepts.
const MIN_SHARES: i64 = 2;

type List = BTreeMap<String, QuantityText>;

fn find(list: Option<&List>, name: &str) -> Option<Quantity> {
    list?.get(name)?.0.parse().ok()
}

/// A container's limit of a resource.
#[must_use]
pub(crate) fn limit(container: &Container, name: &str) -> Option<Quantity> {
    find(container.resources.as_ref()?.limits.as_ref(), name)
}

/// A container's request of a resource; by default its limit.
#[must_use]
pub(crate) fn request(container: &Container, name: &str) -> Option<Quantity> {
    let list = container.resources.as_ref()?.requests.as_ref();
    find(list, name).or_else(|| limit(container, name))
}

/// The pod's QoS class.
#[must_use]
pub(crate) fn qos(pod: &PodRef) -> Qos {
    let positive = |amount: Option<Quantity>| amount.filter(|amount| !amount.is_zero());
    let (mut any, mut equal) = (false, true);
    for container in pod.all_containers() {
        for name in ["cpu", "memory"] {
            let (limit, request) = (
                positive(limit(container, name)),
                positive(request(container, name)),
            );
            any |= limit.is_some() || request.is_some();
            equal &= limit.is_some() && limit == request;
        }
    }
    match (any, equal) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

fn shares(millis: i64) -> i64 {
    (millis * 1024 / 1000).clamp(MIN_SHARES, 262_144)
}

fn quota(millis: i64) -> i64 {
    (millis * PERIOD / 1000).max(MIN_QUOTA)
}

/// A container's resources in the form of CRI.
#[must_use]
pub(crate) fn container(
    pod: &PodRef,
    container: &Container,
    node_memory: u64,
) -> pb::LinuxContainerResources {
    let cpu_limit = limit(container, "cpu")
        .map(Quantity::millis)
        .filter(|&millis| millis > 0);
    let memory = limit(container, "memory").map_or(0, Quantity::units);
    pb::LinuxContainerResources {
        cpu_period: if cpu_limit.is_some() { PERIOD } else { 0 },
        cpu_quota: cpu_limit.map_or(0, quota),
        cpu_shares: shares(request(container, "cpu").map_or(0, Quantity::millis)),
        memory_limit_in_bytes: memory,
        oom_score_adj: oom_score(qos(pod), container, node_memory),
        ..pb::LinuxContainerResources::default()
    }
}

/// `oom_score_adj` by the kubelet's formula.
fn oom_score(qos: Qos, container: &Container, node_memory: u64) -> i64 {
    match qos {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let asked = request(container, "memory").map_or(0, Quantity::units);
            let node = i64::try_from(node_memory).unwrap_or(i64::MAX).max(1);
            let score =
                1000 - i64::try_from(i128::from(asked) * 1000 / i128::from(node)).unwrap_or(0);
            score.clamp(3, 999)
        }
    }
}

/// The limits of the pod cgroup.
#[must_use]
pub(crate) fn pod(pod: &PodRef) -> PodLimits {
    let main = || pod.spec.containers.iter();
    let requested: i64 = main()
        .map(|one| request(one, "cpu").map_or(0, Quantity::millis))
        .sum();
    // The pod has a limit only if every container has one.
    let sum = |name: &str| -> Option<Quantity> {
        let amounts = main().map(|one| limit(one, name).filter(|amount| !amount.is_zero()));
        amounts.sum_options()
    };
    let positive = |number: i64| u64::try_from(number).unwrap_or(0);
    // A sum over the main containers could be too small for an init container.
    let no_init = pod.spec.init_containers.as_ref().is_none_or(Vec::is_empty);
    PodLimits {
        cpu_shares: positive(shares(requested)),
        cpu_quota: sum("cpu")
            .filter(|_| no_init)
            .map(|sum| positive(quota(sum.millis()))),
        memory: sum("memory")
            .filter(|_| no_init)
            .map(|sum| positive(sum.units())),
    }
}

trait SumOptions {
    fn sum_options(self) -> Option<Quantity>;
}

impl<I: Iterator<Item = Option<Quantity>>> SumOptions for I {
    fn sum_options(mut self) -> Option<Quantity> {
        self.try_fold(Quantity::ZERO, |sum, one| one.map(|one| sum + one))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{PodRef, Qos, container, pod as limits, qos};

    fn pod(resources: &[Value]) -> PodRef {
        let containers: Vec<_> = resources
            .iter()
            .enumerate()
            .map(|(n, one)| json!({"name": format!("c{n}"), "resources": one}))
            .collect();
        let object = json!({
            "metadata": {"name": "p", "namespace": "n", "uid": "u"},
            "spec": {"containers": containers}});
        PodRef::new(serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn qos_classes() {
        let both = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
        assert_eq!(qos(&pod(&[json!({})])), Qos::BestEffort);
        assert_eq!(qos(&pod(std::slice::from_ref(&both))), Qos::Guaranteed);
        assert_eq!(qos(&pod(&[both, json!({})])), Qos::Burstable);
        assert_eq!(
            qos(&pod(&[json!({"requests": {"cpu": "1m"}})])),
            Qos::Burstable
        );
    }

    #[test]
    fn shares_quotas_and_oom_scores() {
        let pod = pod(&[json!({"limits": {"cpu": "200m", "memory": "256Mi"},
            "requests": {"cpu": "100m", "memory": "128Mi"}})]);
        let got = container(&pod, &pod.spec.containers[0], 1 << 30);
        assert_eq!(
            (got.cpu_shares, got.cpu_quota, got.cpu_period),
            (102, 20_000, 100_000)
        );
        assert_eq!(
            (got.memory_limit_in_bytes, got.oom_score_adj),
            (256 << 20, 875)
        );
        let whole = limits(&pod);
        assert_eq!((whole.cpu_shares, whole.cpu_quota), (102, Some(20_000)));
        assert_eq!(whole.memory, Some(256 << 20));
    }
}
