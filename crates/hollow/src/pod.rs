//! The part of a pod that a pretend node needs, and the status it reports.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::node::{node_ip, seconds};

/// A pod, without everything that is not needed.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Pod {
    pub(crate) metadata: Metadata,
    #[serde(default)]
    pub(crate) spec: Spec,
    #[serde(default)]
    pub(crate) status: Status,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) name: Box<str>,
    #[serde(default)]
    pub(crate) namespace: Box<str>,
    pub(crate) uid: Box<str>,
    #[serde(default)]
    pub(crate) resource_version: Box<str>,
    #[serde(default)]
    pub(crate) deletion_timestamp: Option<Box<str>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Spec {
    pub(crate) node_name: Option<Box<str>>,
    pub(crate) host_network: bool,
    pub(crate) restart_policy: Option<Box<str>>,
    pub(crate) containers: Vec<Container>,
    pub(crate) init_containers: Vec<Container>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container {
    pub(crate) name: Box<str>,
    #[serde(default)]
    pub(crate) image: Box<str>,
    /// `Always` makes an init container one that goes on beside the others.
    #[serde(default)]
    restart_policy: Option<Box<str>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    pub(crate) phase: Option<Box<str>>,
    pub(crate) container_statuses: Vec<Reported>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Reported {
    #[serde(default)]
    pub(crate) image: Box<str>,
}

/// What becomes of one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ready,
    Unready,
    NoImage,
    Crash,
}

impl Pod {
    /// The containers run already, with these images: an earlier run of the fleet reported them.
    pub(crate) fn is_reported(&self) -> bool {
        let reported = self
            .status
            .container_statuses
            .iter()
            .map(|status| &status.image);
        let wanted = self
            .spec
            .containers
            .iter()
            .map(|container| &container.image);
        self.status.phase.as_deref() == Some("Running") && reported.eq(wanted)
    }

    /// Succeeded or failed: nothing happens to it any more.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed"))
    }

    /// Changes when the containers have to start again.
    pub(crate) fn fingerprint(&self) -> u64 {
        let images = self
            .spec
            .containers
            .iter()
            .map(|container| &container.image);
        images.fold(1, |sum, image| mix(sum, image))
    }

    /// The status patch of the pod once its node has tried to start it.
    pub(crate) fn started(&self, node: u32, crash: bool, restarts: u32, now: Timestamp) -> Value {
        let containers = &self.spec.containers;
        let outcomes: Vec<Outcome> = containers.iter().map(|c| outcome(c, crash)).collect();
        let init_outcomes = self.spec.init_containers.iter().map(|c| outcome(c, false));
        let init_stuck = init_outcomes
            .clone()
            .any(|outcome| outcome == Outcome::NoImage);
        let failed = crash && self.spec.restart_policy.as_deref() == Some("Never");
        let phase = match outcomes.iter().any(|outcome| *outcome != Outcome::NoImage) {
            _ if failed => "Failed",
            true if !init_stuck => "Running",
            _ => "Pending",
        };
        let statuses = containers
            .iter()
            .zip(&outcomes)
            .map(|(container, outcome)| {
                let state = State {
                    outcome: *outcome,
                    failed,
                    init_stuck,
                    restarts,
                };
                state.report(container, now)
            });
        let statuses: Vec<Value> = statuses.collect();
        let ready = phase == "Running" && outcomes.iter().all(|outcome| *outcome == Outcome::Ready);
        let mut status = Map::new();
        status.insert("phase".to_owned(), json!(phase));
        status.insert("startTime".to_owned(), json!(seconds(now)));
        status.insert(
            "conditions".to_owned(),
            self.conditions(ready, init_stuck, now),
        );
        status.insert("containerStatuses".to_owned(), json!(statuses));
        if !self.spec.init_containers.is_empty() {
            let init = self.spec.init_containers.iter().zip(init_outcomes);
            let init = init.map(|(container, outcome)| init_status(container, outcome, now));
            status.insert("initContainerStatuses".to_owned(), init.collect());
        }
        self.addresses(node, &mut status);
        json!({"metadata": {"uid": self.metadata.uid}, "status": status})
    }

    fn addresses(&self, node: u32, status: &mut Map<String, Value>) {
        let host = node_ip(node).to_string();
        let ip = if self.spec.host_network {
            host.clone()
        } else {
            self.ip().to_string()
        };
        status.insert("hostIP".to_owned(), json!(host));
        status.insert("hostIPs".to_owned(), json!([{"ip": host}]));
        status.insert("podIP".to_owned(), json!(ip));
        status.insert("podIPs".to_owned(), json!([{"ip": ip}]));
    }

    /// An address in 100.64.0.0/10 that depends on the pod alone, so that it never changes.
    fn ip(&self) -> Ipv4Addr {
        let bits = u32::try_from(mix(7, &self.metadata.uid) & 0x3f_ffff).unwrap_or(1);
        Ipv4Addr::from_bits((100 << 24) | (64 << 16) | bits)
    }

    fn conditions(&self, ready: bool, init_stuck: bool, now: Timestamp) -> Value {
        let names = self
            .spec
            .containers
            .iter()
            .map(|container| &*container.name);
        let unready = format!("containers with unready status: [{}]", list(names));
        let condition = |kind: &str, holds: bool| {
            let mut condition = json!({
                "type": kind, "status": if holds { "True" } else { "False" },
                "lastProbeTime": null, "lastTransitionTime": seconds(now),
            });
            if !holds {
                let init = kind == "Initialized";
                let reason = if init {
                    "ContainersNotInitialized"
                } else {
                    "ContainersNotReady"
                };
                condition["reason"] = json!(reason);
                condition["message"] = json!(unready);
            }
            condition
        };
        json!([
            condition("PodReadyToStartContainers", true),
            condition("Initialized", !init_stuck),
            condition("Ready", ready),
            condition("ContainersReady", ready),
            condition("PodScheduled", true),
        ])
    }
}

/// Whether the pod is among the share that crashes. The same pod always gives the same answer.
pub(crate) fn crashes(uid: &str, rate: f64) -> bool {
    let bits = u32::try_from(mix(3, uid) >> 33).unwrap_or(0);
    f64::from(bits) / f64::from(1_u32 << 31) < rate
}

/// FNV-1a with a last stir, so that the upper bits depend on all bytes.
fn mix(seed: u64, text: &str) -> u64 {
    let hash = text
        .bytes()
        .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ (hash >> 29)
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(" ")
}

fn outcome(container: &Container, crash: bool) -> Outcome {
    if container.image.contains("non-existent") {
        Outcome::NoImage
    } else if crash {
        Outcome::Crash
    } else if container.image.ends_with(":notready") {
        Outcome::Unready
    } else {
        Outcome::Ready
    }
}

/// The state that is reported of a container.
#[derive(Debug, Clone, Copy)]
struct State {
    outcome: Outcome,
    /// It crashed, and is not started again.
    failed: bool,
    /// The init containers keep it from starting.
    init_stuck: bool,
    restarts: u32,
}

impl State {
    fn report(self, container: &Container, now: Timestamp) -> Value {
        let waiting = |reason: &str, message: String| {
            (
                json!({"waiting": {"reason": reason, "message": message}}),
                json!({}),
            )
        };
        let (name, image) = (&container.name, &container.image);
        let crashed = terminated("Error", 1, container, now);
        let (state, last) = match self.outcome {
            _ if self.init_stuck => (json!({"waiting": {"reason": "PodInitializing"}}), json!({})),
            Outcome::Ready | Outcome::Unready => {
                (json!({"running": {"startedAt": seconds(now)}}), json!({}))
            }
            Outcome::NoImage => waiting("ErrImagePull", pull_error(image)),
            Outcome::Crash if self.failed => (crashed, json!({})),
            Outcome::Crash => {
                let message = format!("back-off 10s restarting failed container={name}");
                (waiting("CrashLoopBackOff", message).0, crashed)
            }
        };
        let runs = !self.init_stuck && matches!(self.outcome, Outcome::Ready | Outcome::Unready);
        status(
            container,
            runs && self.outcome == Outcome::Ready,
            runs,
            self.restarts,
            state,
            last,
        )
    }
}

fn pull_error(image: &str) -> String {
    format!("failed to pull image \"{image}\": not found")
}

fn terminated(reason: &str, code: i32, container: &Container, now: Timestamp) -> Value {
    let (now, id) = (seconds(now), id(container));
    json!({"terminated": {
        "exitCode": code, "reason": reason, "startedAt": now, "finishedAt": now, "containerID": id,
    }})
}

fn id(container: &Container) -> String {
    format!("hollow://{:064x}", mix(5, &container.name))
}

fn init_status(container: &Container, outcome: Outcome, now: Timestamp) -> Value {
    let sidecar = container.restart_policy.as_deref() == Some("Always");
    match outcome {
        Outcome::NoImage => {
            let message = pull_error(&container.image);
            let state = json!({"waiting": {"reason": "ErrImagePull", "message": message}});
            status(container, false, false, 0, state, json!({}))
        }
        _ if sidecar => {
            let state = json!({"running": {"startedAt": seconds(now)}});
            status(container, true, true, 0, state, json!({}))
        }
        _ => status(
            container,
            true,
            false,
            0,
            terminated("Completed", 0, container, now),
            json!({}),
        ),
    }
}

fn status(
    container: &Container,
    ready: bool,
    started: bool,
    restarts: u32,
    state: Value,
    last: Value,
) -> Value {
    let Container { name, image, .. } = container;
    let waits = state.get("waiting").is_some() && last.get("terminated").is_none();
    json!({
        "name": name, "image": image, "ready": ready, "started": started,
        "imageID": if waits { String::new() } else { format!("hollow://{image}") },
        "containerID": if waits { String::new() } else { id(container) },
        "restartCount": restarts, "state": state, "lastState": last,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: &Value) -> Pod {
        let metadata = json!({"name": "p", "namespace": "d", "uid": "u-1"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    /// The status in one line.
    fn line(spec: &Value, crash: bool) -> String {
        let patch = pod(spec).started(4, crash, 0, Timestamp::UNIX_EPOCH);
        let status = &patch["status"];
        let state = |container: &Value| {
            let (kind, state) = container["state"]
                .as_object()
                .unwrap()
                .iter()
                .next()
                .unwrap();
            let reason = state["reason"].as_str().unwrap_or("-");
            format!(
                "{} {kind} {reason} ready={}",
                container["name"].as_str().unwrap(),
                container["ready"]
            )
        };
        let of = |list: &str| {
            let list = status[list].as_array().into_iter().flatten();
            list.map(state).collect::<Vec<_>>().join(", ")
        };
        let holds = |condition: &&Value| condition["status"] == "True";
        let conditions = status["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .filter(holds);
        let conditions: Vec<_> = conditions.map(|c| c["type"].as_str().unwrap()).collect();
        let init = of("initContainerStatuses");
        format!(
            "{} [{init}] [{}] {}",
            status["phase"].as_str().unwrap(),
            of("containerStatuses"),
            conditions.join(" ")
        )
    }

    #[test]
    fn what_a_node_reports() {
        let all = "PodReadyToStartContainers Initialized Ready ContainersReady PodScheduled";
        let unready = "PodReadyToStartContainers Initialized PodScheduled";
        let containers = |image: &str| json!({"containers": [{"name": "c", "image": image}]});
        let cases = [
            (
                containers("a:1"),
                false,
                format!("Running [] [c running - ready=true] {all}"),
            ),
            (
                containers("a:notready"),
                false,
                format!("Running [] [c running - ready=false] {unready}"),
            ),
            (
                containers("example.com/non-existent:1"),
                false,
                format!("Pending [] [c waiting ErrImagePull ready=false] {unready}"),
            ),
            (
                containers("a:1"),
                true,
                format!("Running [] [c waiting CrashLoopBackOff ready=false] {unready}"),
            ),
            (
                json!({"containers": [{"name": "c", "image": "a"}], "restartPolicy": "Never"}),
                true,
                format!("Failed [] [c terminated Error ready=false] {unready}"),
            ),
            (
                json!({"containers": [{"name": "c", "image": "a"}], "initContainers": [
                    {"name": "i", "image": "b"},
                    {"name": "s", "image": "b", "restartPolicy": "Always"},
                ]}),
                false,
                format!(
                    "Running [i terminated Completed ready=true, s running - ready=true] \
                     [c running - ready=true] {all}"
                ),
            ),
            (
                json!({"containers": [{"name": "c", "image": "a"}], "initContainers": [
                    {"name": "i", "image": "non-existent"},
                ]}),
                false,
                "Pending [i waiting ErrImagePull ready=false] \
                 [c waiting PodInitializing ready=false] PodReadyToStartContainers PodScheduled"
                    .to_owned(),
            ),
        ];
        for (spec, crash, expected) in cases {
            assert_eq!(line(&spec, crash), expected, "{spec}");
        }
    }

    #[test]
    fn addresses_are_the_nodes_or_the_pods_own() {
        let now = Timestamp::UNIX_EPOCH;
        let host = pod(&json!({"hostNetwork": true})).started(4, false, 0, now);
        assert_eq!(host["status"]["podIP"], "10.64.0.5");
        let own = pod(&json!({})).started(4, false, 0, now);
        assert_eq!(own["status"]["hostIP"], "10.64.0.5");
        let ip: Ipv4Addr = own["status"]["podIP"].as_str().unwrap().parse().unwrap();
        assert_eq!((ip.octets()[0], ip.octets()[1] & 0xc0), (100, 64));
        assert_eq!(own["metadata"]["uid"], "u-1");
    }

    #[test]
    fn a_share_of_the_pods_crashes() {
        let uid = |i: u32| format!("4f0c5d3e-0000-4000-8000-{i:012}");
        let crashed = (0..10_000).filter(|i| crashes(&uid(*i), 0.3)).count();
        assert!((2800..3200).contains(&crashed), "{crashed}");
        assert!((0..100).all(|i| !crashes(&uid(i), 0.0) && crashes(&uid(i), 1.0)));
    }

    #[test]
    fn an_earlier_report_is_recognized() {
        let mut pod = pod(&json!({"containers": [{"name": "c", "image": "a:1"}]}));
        assert!(!pod.is_reported());
        pod.status = serde_json::from_value(
            json!({"phase": "Running", "containerStatuses": [{"image": "a:1", "name": "c"}]}),
        )
        .unwrap();
        assert!(pod.is_reported());
        pod.spec.containers[0].image = "a:2".into();
        assert!(!pod.is_reported());
    }
}
