//! Warnings about existing pods of a namespace that becomes stricter. Upstream:
//! `EvaluatePodsInNamespace`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use pandaemon_machinery::pod_security::{Exemptions, LevelVersion, evaluate};
use pandaemon_types::object::OwnerReference;
use serde::Deserialize;

use crate::cache::object::{Object, Skip};

/// How many pods are checked at most.
pub(super) const MAX_PODS: usize = 3000;
/// How long they are checked at most.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);
/// After how many pods other tasks get their turn.
const TURN: usize = 64;

/// The check of the pods of a namespace.
pub(super) struct ExistingPods<'a> {
    pub(super) namespace: &'a str,
    /// The new level and version.
    pub(super) enforce: LevelVersion,
    pub(super) exemptions: &'a Exemptions,
    pub(super) max_pods: usize,
}

/// The fields of a pod that decide when it is checked.
#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    owner_references: Vec<OwnerReference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    runtime_class_name: String,
}

/// Pods with the same violations.
struct Group<'a> {
    /// The first of them by name.
    first: &'a str,
    count: usize,
}

impl ExistingPods<'_> {
    /// The warnings about these pods. `expired` tells when the time is over.
    pub(super) async fn warnings(
        &self,
        pods: Vec<Arc<Object>>,
        expired: impl Fn() -> bool + Send,
    ) -> Vec<String> {
        let Some(pods) = self.prioritized(pods, &expired).await else {
            let why = "failed to list pods while checking new PodSecurity enforce level";
            return vec![why.to_owned()];
        };
        let mut checked = 0;
        let mut groups: BTreeMap<String, Group<'_>> = BTreeMap::new();
        for pod in pods.iter().take(self.max_pods) {
            self.check(pod, &mut groups);
            checked += 1;
            if expired() {
                break;
            }
            give_way(checked).await;
        }
        let (namespace, enforce, total) = (self.namespace, self.enforce, pods.len());
        let mut warnings = Vec::new();
        if checked < total {
            warnings.push(format!(
                "new PodSecurity enforce level only checked against the first {checked} of {total} existing pods"
            ));
        }
        if !groups.is_empty() {
            warnings.push(format!(
                "existing pods in namespace \"{namespace}\" violate the new PodSecurity enforce level \"{enforce}\""
            ));
        }
        let mut lines: Vec<String> = groups.into_iter().map(line).collect();
        lines.sort_unstable();
        warnings.extend(lines);
        warnings
    }

    fn check<'p>(&self, pod: &'p Object, groups: &mut BTreeMap<String, Group<'p>>) {
        let Ok((value, _)) = pod.value_without(Skip::ManagedFields) else {
            return;
        };
        let violations = evaluate(self.enforce, &value);
        if violations.is_empty() {
            return;
        }
        let name = pod.name();
        let group = groups.entry(violations.reasons()).or_insert(Group {
            first: name,
            count: 0,
        });
        group.first = group.first.min(name);
        group.count += 1;
    }

    /// The pods that are not exempt, one of each controller first. `None` if the time is over.
    /// Upstream: `prioritizePods`.
    async fn prioritized(
        &self,
        pods: Vec<Arc<Object>>,
        expired: &(impl Fn() -> bool + Send),
    ) -> Option<Vec<Arc<Object>>> {
        let (mut first, mut replicas) = (Vec::new(), Vec::new());
        let mut controllers = BTreeSet::new();
        for (at, object) in pods.into_iter().enumerate() {
            if expired() {
                return None;
            }
            give_way(at).await;
            let Ok(pod) = serde_json::from_slice::<Pod>(&object.bytes) else {
                continue;
            };
            let class = &pod.spec.runtime_class_name;
            if self.exemptions.exempts_runtime_class(class) {
                continue;
            }
            let mut owners = pod.metadata.owner_references.into_iter();
            let controller = owners.find(|owner| owner.controller == Some(true));
            let is_first = controller.is_none_or(|owner| controllers.insert(owner.uid));
            let list = if is_first { &mut first } else { &mut replicas };
            list.push(object);
        }
        first.append(&mut replicas);
        Some(first)
    }
}

/// Lets other tasks run from time to time.
async fn give_way(done: usize) {
    if done % TURN == TURN - 1 {
        tokio::task::yield_now().await;
    }
}

fn line((reasons, group): (String, Group<'_>)) -> String {
    let Group { first, count } = group;
    match count {
        1 => format!("{first}: {reasons}"),
        2 => format!("{first} (and 1 other pod): {reasons}"),
        _ => format!("{first} (and {} other pods): {reasons}", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use pandaemon_machinery::{pod_security::Policy, scheme};
    use serde_json::json;

    use super::*;
    use crate::cache::object::encode;

    /// A pod with the host namespaces that a comma separates, of a runtime class and a controller.
    fn pod(name: &str, shared: &str, class: &str, controller: &str) -> Arc<Object> {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "test"}, "spec": {"containers": []}});
        for field in shared.split(',').filter(|field| !field.is_empty()) {
            pod["spec"][field] = true.into();
        }
        if !class.is_empty() {
            pod["spec"]["runtimeClassName"] = class.into();
        }
        if !controller.is_empty() {
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "X",
                "name": "x", "uid": controller, "controller": true}]);
        }
        let pods = scheme::built_in().find_resource("", "v1", "pods").unwrap();
        let encoded = encode(&pod, pods.strategy.indexed_field()).unwrap();
        let key = format!("/pods/test/{name}");
        Arc::new(Object::new(key.as_str().into(), encoded, 1))
    }

    fn warnings(pods: Vec<Arc<Object>>, max_pods: usize, time: usize) -> Vec<String> {
        let baseline = |key: &str| key.ends_with("/enforce").then_some("baseline");
        let (policy, _) = Policy::of_labels(baseline, &Policy::PRIVILEGED);
        let exemptions = Exemptions {
            runtime_classes: vec!["exempt".into()],
            ..Exemptions::default()
        };
        let existing = ExistingPods {
            namespace: "test",
            enforce: policy.enforce,
            exemptions: &exemptions,
            max_pods,
        };
        let asked = AtomicUsize::new(0);
        let expired = || asked.fetch_add(1, Ordering::Relaxed) >= time;
        futures::executor::block_on(existing.warnings(pods, expired))
    }

    const HEAD: &str = "existing pods in namespace \"test\" violate the new PodSecurity enforce level \"baseline:latest\"";

    #[test]
    fn pods_with_the_same_violations_share_a_warning() {
        let pods = vec![
            pod("c", "hostPID", "", ""),
            pod("a", "hostPID,hostIPC", "other", ""),
            pod("b", "hostNetwork", "exempt", ""),
            pod("d", "", "", ""),
        ];
        let expected = [HEAD, "a (and 1 other pod): host namespaces"];
        assert_eq!(warnings(pods.clone(), 9, 99), expected);
        let more = [pods, vec![pod("0", "hostIPC", "", "")]].concat();
        let expected = [HEAD, "0 (and 2 other pods): host namespaces"];
        assert_eq!(warnings(more, 9, 99), expected);
        let good = vec![pod("d", "", "", "")];
        assert_eq!(warnings(good, 9, 99), [""; 0]);
    }

    #[test]
    fn one_pod_of_each_controller_comes_first_and_exempt_pods_do_not_count() {
        let mut pods: Vec<_> = (0..4)
            .map(|at| pod(&format!("e{at}"), "hostPID", "exempt", ""))
            .collect();
        for controller in ["1", "2"] {
            pods.extend(
                (0..4).map(|at| pod(&format!("r{controller}-{at}"), "hostPID", "", controller)),
            );
        }
        pods.extend((0..4).map(|at| pod(&format!("u{at}"), "", "", "")));
        let expected = [
            "new PodSecurity enforce level only checked against the first 4 of 12 existing pods",
            HEAD,
            "r1-0 (and 1 other pod): host namespaces",
        ];
        assert_eq!(warnings(pods, 4, 99), expected);
    }

    #[test]
    fn the_check_ends_when_the_time_is_over() {
        let pods: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| pod(name, "hostPID", "", ""))
            .into();
        // Each pod is looked at once to order them, and once to check it.
        assert_eq!(
            warnings(pods.clone(), 9, 3),
            ["failed to list pods while checking new PodSecurity enforce level"]
        );
        let expected = [
            "new PodSecurity enforce level only checked against the first 2 of 4 existing pods",
            HEAD,
            "a (and 1 other pod): host namespaces",
        ];
        assert_eq!(warnings(pods, 9, 5), expected);
    }
}
