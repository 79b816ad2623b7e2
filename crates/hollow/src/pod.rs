//! The part of a pod that a pretend node needs, and the status it reports.

mod report;

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    follow,
    node::{node_ip, seconds},
};

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
    #[serde(default)]
    pub(crate) deletion_grace_period_seconds: Option<u64>,
}

impl follow::Object for Pod {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
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
    #[serde(default)]
    pub(crate) ready: bool,
}

/// What there is to know of one start of a pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// Number of its node.
    pub(crate) node: u32,
    /// Its containers crash.
    pub(crate) crash: bool,
    pub(crate) restarts: u32,
    /// An image that is missing has been asked for before.
    pub(crate) pulled_before: bool,
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

    /// It runs, and all its containers are ready.
    pub(crate) fn is_ready(&self) -> bool {
        let containers = &self.status.container_statuses;
        self.status.phase.as_deref() == Some("Running")
            && !containers.is_empty()
            && containers.iter().all(|container| container.ready)
    }

    /// One of its images cannot be pulled.
    pub(crate) fn lacks_image(&self) -> bool {
        let mut containers = self
            .spec
            .containers
            .iter()
            .chain(&self.spec.init_containers);
        containers.any(|container| outcome(container, false) == Outcome::NoImage)
    }

    /// The status patch of the pod once its node has tried to start it.
    pub(crate) fn started(&self, run: Run, now: Timestamp) -> serde_json::Result<Vec<u8>> {
        let Spec {
            containers,
            init_containers,
            ..
        } = &self.spec;
        let begun = Begun {
            run,
            now: &seconds(now),
            init_stuck: init_containers
                .iter()
                .any(|container| outcome(container, false) == Outcome::NoImage),
            failed: run.crash && self.spec.restart_policy.as_deref() == Some("Never"),
        };
        let mut outcomes = containers
            .iter()
            .map(|container| outcome(container, run.crash));
        let phase = match outcomes.clone().any(|outcome| outcome != Outcome::NoImage) {
            _ if begun.failed => "Failed",
            true if !begun.init_stuck => "Running",
            _ => "Pending",
        };
        let ready = phase == "Running" && outcomes.all(|outcome| outcome == Outcome::Ready);
        let unready = if ready { String::new() } else { self.unready() };
        let host = node_ip(run.node);
        let ip = if self.spec.host_network {
            host
        } else {
            self.ip()
        };
        let init = init_containers.iter();
        let status = report::Status {
            phase,
            start_time: begun.now,
            conditions: begun.conditions(ready, &unready),
            container_statuses: containers.iter().map(|c| begun.container(c)).collect(),
            init_container_statuses: init.map(|c| begun.init_container(c)).collect(),
            host_ip: host,
            pod_ip: ip,
            pod_ips: [report::Ip { ip }],
        };
        let metadata = report::Uid {
            uid: &self.metadata.uid,
        };
        serde_json::to_vec(&report::Patch { metadata, status })
    }

    /// An address in 100.64.0.0/10 that depends on the pod alone, so that it never changes.
    fn ip(&self) -> Ipv4Addr {
        let bits = u32::try_from(mix(7, &self.metadata.uid) & 0x3f_ffff).unwrap_or(1);
        Ipv4Addr::from_bits((100 << 24) | (64 << 16) | bits)
    }

    fn unready(&self) -> String {
        let names = self
            .spec
            .containers
            .iter()
            .map(|container| &*container.name);
        let names: Vec<_> = names.collect();
        format!("containers with unready status: [{}]", names.join(" "))
    }
}

/// Whether the pod is among the share that crashes. The same pod always gives the same answer.
pub(crate) fn crashes(uid: &str, rate: f64) -> bool {
    rate > 0.0 && unit(mix(3, uid)) < rate
}

/// A number from 0 to 1 that depends on the pod alone.
pub(crate) fn share_of(uid: &str) -> f64 {
    unit(mix(11, uid))
}

fn unit(bits: u64) -> f64 {
    let bits = u32::try_from(bits >> 33).unwrap_or(0);
    f64::from(bits) / f64::from(1_u32 << 31)
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

/// A start of a pod as its node sees it.
#[derive(Debug, Clone, Copy)]
struct Begun<'a> {
    run: Run,
    now: &'a str,
    /// The init containers keep the others from starting.
    init_stuck: bool,
    /// It crashed, and is not started again.
    failed: bool,
}

impl<'a> Begun<'a> {
    fn conditions(self, ready: bool, unready: &'a str) -> [report::Condition<'a>; 5] {
        let condition = |kind, holds, reason| report::Condition {
            kind,
            status: if holds { "True" } else { "False" },
            last_probe_time: (),
            last_transition_time: self.now,
            reason: (!holds).then_some(reason),
            message: (!holds).then_some(unready),
        };
        [
            condition("PodReadyToStartContainers", true, ""),
            condition("Initialized", !self.init_stuck, "ContainersNotInitialized"),
            condition("Ready", ready, "ContainersNotReady"),
            condition("ContainersReady", ready, "ContainersNotReady"),
            condition("PodScheduled", true, ""),
        ]
    }

    fn container(self, container: &'a Container) -> report::Container<'a> {
        let nothing = report::State::default();
        let outcome = outcome(container, self.run.crash);
        let (state, last) = match outcome {
            _ if self.init_stuck => (waiting("PodInitializing", None), nothing),
            Outcome::Ready | Outcome::Unready => (self.running(), nothing),
            Outcome::NoImage => (self.pull(container), nothing),
            Outcome::Crash if self.failed => (self.terminated("Error", 1, container), nothing),
            Outcome::Crash => {
                let name = &container.name;
                let message = format!("back-off 10s restarting failed container={name}");
                let last = self.terminated("Error", 1, container);
                (waiting("CrashLoopBackOff", Some(message)), last)
            }
        };
        let runs = !self.init_stuck && matches!(outcome, Outcome::Ready | Outcome::Unready);
        let ready = runs && outcome == Outcome::Ready;
        status(container, (ready, runs), self.run.restarts, state, last)
    }

    fn init_container(self, container: &'a Container) -> report::Container<'a> {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        let (started, state) = match outcome(container, false) {
            Outcome::NoImage => ((false, false), self.pull(container)),
            _ if sidecar => ((true, true), self.running()),
            _ => ((true, false), self.terminated("Completed", 0, container)),
        };
        status(container, started, 0, state, report::State::default())
    }

    fn running(self) -> report::State<'a> {
        let started_at = self.now;
        report::State {
            running: Some(report::Running { started_at }),
            ..Default::default()
        }
    }

    /// An image that is not there, in the words of a kubelet.
    fn pull(self, container: &Container) -> report::State<'a> {
        let image = &container.image;
        let error = format!("failed to pull image \"{image}\": not found");
        if self.run.pulled_before {
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {error}");
            waiting("ImagePullBackOff", Some(message))
        } else {
            waiting("ErrImagePull", Some(error))
        }
    }

    fn terminated(
        self,
        reason: &'a str,
        exit_code: i32,
        container: &Container,
    ) -> report::State<'a> {
        let terminated = report::Terminated {
            exit_code,
            reason,
            started_at: self.now,
            finished_at: self.now,
            container_id: id(container),
        };
        report::State {
            terminated: Some(terminated),
            ..Default::default()
        }
    }
}

fn waiting(reason: &str, message: Option<String>) -> report::State<'_> {
    report::State {
        waiting: Some(report::Waiting { reason, message }),
        ..Default::default()
    }
}

fn id(container: &Container) -> String {
    format!("hollow://{:064x}", mix(5, &container.name))
}

fn status<'a>(
    container: &'a Container,
    (ready, started): (bool, bool),
    restart_count: u32,
    state: report::State<'a>,
    last_state: report::State<'a>,
) -> report::Container<'a> {
    let Container { name, image, .. } = container;
    let waits = state.waiting.is_some() && last_state.terminated.is_none();
    let (image_id, container_id) = if waits {
        (String::new(), String::new())
    } else {
        (format!("hollow://{image}"), id(container))
    };
    report::Container {
        name,
        image,
        ready,
        started,
        image_id,
        container_id,
        restart_count,
        state,
        last_state,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const RUN: Run = Run {
        node: 4,
        crash: false,
        restarts: 0,
        pulled_before: false,
    };

    fn patch(pod: &Pod, run: Run) -> Value {
        let patch = pod.started(run, Timestamp::UNIX_EPOCH).unwrap();
        serde_json::from_slice(&patch).unwrap()
    }

    fn pod(spec: &Value) -> Pod {
        let metadata = json!({"name": "p", "namespace": "d", "uid": "u-1"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    /// The status in one line.
    fn line(spec: &Value, crash: bool) -> String {
        let patch = patch(&pod(spec), Run { crash, ..RUN });
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
        let host = patch(&pod(&json!({"hostNetwork": true})), RUN);
        assert_eq!(host["status"]["podIP"], "10.64.0.5");
        let own = patch(&pod(&json!({})), RUN);
        assert_eq!(own["status"]["hostIP"], "10.64.0.5");
        let ip: Ipv4Addr = own["status"]["podIP"].as_str().unwrap().parse().unwrap();
        assert_eq!((ip.octets()[0], ip.octets()[1] & 0xc0), (100, 64));
        assert_eq!(own["metadata"]["uid"], "u-1");
    }

    #[test]
    fn a_missing_image_backs_off() {
        let pod = pod(&json!({"containers": [{"name": "c", "image": "non-existent"}]}));
        assert!(pod.lacks_image());
        let run = Run {
            pulled_before: true,
            ..RUN
        };
        let waiting = &patch(&pod, run)["status"]["containerStatuses"][0]["state"]["waiting"];
        assert_eq!(
            waiting,
            &json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image \"non-existent\": \
                ErrImagePull: failed to pull image \"non-existent\": not found"})
        );
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
