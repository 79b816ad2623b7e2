//! The status that a node reports after an attempt to start a pod.

use jiff::Timestamp;
use pandaemon_types::time::rfc3339_seconds;

use super::{
    Container, Pod, Spec, mix,
    status_patch::{
        self, Condition, ContainerStatus, Ip, Patch, Running, State, Terminated, Uid, Waiting,
    },
};
use crate::node::node_ip;

/// One attempt of a node to start a pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartAttempt {
    /// Number of the node.
    pub(crate) node: u32,
    /// Whether the pod's containers crash.
    pub(crate) crash: bool,
    pub(crate) restarts: u32,
    /// Whether pulling a missing image failed before.
    pub(crate) pulled_before: bool,
}

/// The result of starting one container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContainerOutcome {
    Ready,
    Unready,
    NoImage,
    Crash,
}

impl ContainerOutcome {
    /// Images ending in `:notready` never get ready.
    fn of(container: &Container, crash: bool) -> Self {
        if container.lacks_image() {
            Self::NoImage
        } else if crash {
            Self::Crash
        } else if container.image.ends_with(":notready") {
            Self::Unready
        } else {
            Self::Ready
        }
    }
}

impl Pod {
    /// The patch of the pod's status after an attempt to start it.
    pub(crate) fn status_patch(
        &self,
        attempt: StartAttempt,
        now: Timestamp,
    ) -> serde_json::Result<Vec<u8>> {
        let Spec {
            containers,
            init_containers,
            ..
        } = &self.spec;
        let builder = StatusBuilder {
            attempt,
            now: &rfc3339_seconds(now),
            init_stuck: init_containers.iter().any(Container::lacks_image),
            failed: attempt.crash && self.spec.restart_policy.as_deref() == Some("Never"),
        };
        let mut outcomes = containers
            .iter()
            .map(|container| ContainerOutcome::of(container, attempt.crash));
        let starts = |outcome| outcome != ContainerOutcome::NoImage;
        let phase = match outcomes.clone().any(starts) {
            _ if builder.failed => "Failed",
            true if !builder.init_stuck => "Running",
            _ => "Pending",
        };
        let ready =
            phase == "Running" && outcomes.all(|outcome| outcome == ContainerOutcome::Ready);
        let unready = if ready {
            String::new()
        } else {
            self.unready_message()
        };
        let host = node_ip(attempt.node);
        let ip = if self.spec.host_network {
            host
        } else {
            self.ip()
        };
        let init = init_containers.iter();
        let status = status_patch::Status {
            phase,
            start_time: builder.now,
            conditions: builder.conditions(ready, &unready),
            container_statuses: containers.iter().map(|c| builder.container(c)).collect(),
            init_container_statuses: init.map(|c| builder.init_container(c)).collect(),
            host_ip: host,
            pod_ip: ip,
            pod_ips: [Ip { ip }],
        };
        let metadata = Uid {
            uid: &self.metadata.uid,
        };
        serde_json::to_vec(&Patch { metadata, status })
    }

    fn unready_message(&self) -> String {
        let containers = self.spec.containers.iter();
        let names: Vec<_> = containers.map(|container| &*container.name).collect();
        format!("containers with unready status: [{}]", names.join(" "))
    }
}

#[derive(Debug, Clone, Copy)]
struct StatusBuilder<'a> {
    attempt: StartAttempt,
    now: &'a str,
    /// An init container cannot start, so the main containers wait.
    init_stuck: bool,
    /// It crashed and must not be restarted.
    failed: bool,
}

impl<'a> StatusBuilder<'a> {
    fn conditions(self, ready: bool, unready: &'a str) -> [Condition<'a>; 5] {
        let condition = |kind, holds, reason| Condition {
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

    fn container(self, container: &'a Container) -> ContainerStatus<'a> {
        use ContainerOutcome::{Crash, NoImage, Ready, Unready};
        let nothing = State::default();
        let outcome = ContainerOutcome::of(container, self.attempt.crash);
        let (state, last) = match outcome {
            _ if self.init_stuck => (waiting("PodInitializing", None), nothing),
            Ready | Unready => (self.running(), nothing),
            NoImage => (self.failed_pull(container), nothing),
            Crash if self.failed => (self.terminated("Error", 1, container), nothing),
            Crash => {
                let name = &container.name;
                let message = format!("back-off 10s restarting failed container={name}");
                let last = self.terminated("Error", 1, container);
                (waiting("CrashLoopBackOff", Some(message)), last)
            }
        };
        let runs = !self.init_stuck && matches!(outcome, Ready | Unready);
        let ready = runs && outcome == Ready;
        status(container, (ready, runs), self.attempt.restarts, state, last)
    }

    fn init_container(self, container: &'a Container) -> ContainerStatus<'a> {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        let (started, state) = match ContainerOutcome::of(container, false) {
            ContainerOutcome::NoImage => ((false, false), self.failed_pull(container)),
            _ if sidecar => ((true, true), self.running()),
            _ => ((true, false), self.terminated("Completed", 0, container)),
        };
        status(container, started, 0, state, State::default())
    }

    fn running(self) -> State<'a> {
        let started_at = self.now;
        State {
            running: Some(Running { started_at }),
            ..Default::default()
        }
    }

    /// The state of a container whose image does not exist, with a kubelet's reasons and messages.
    fn failed_pull(self, container: &Container) -> State<'a> {
        let image = &container.image;
        let error = format!("failed to pull image \"{image}\": not found");
        if self.attempt.pulled_before {
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {error}");
            waiting("ImagePullBackOff", Some(message))
        } else {
            waiting("ErrImagePull", Some(error))
        }
    }

    fn terminated(self, reason: &'a str, exit_code: i32, container: &Container) -> State<'a> {
        let terminated = Terminated {
            exit_code,
            reason,
            started_at: self.now,
            finished_at: self.now,
            container_id: id(container),
        };
        State {
            terminated: Some(terminated),
            ..Default::default()
        }
    }
}

fn waiting(reason: &str, message: Option<String>) -> State<'_> {
    State {
        waiting: Some(Waiting { reason, message }),
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
    state: State<'a>,
    last_state: State<'a>,
) -> ContainerStatus<'a> {
    let Container { name, image, .. } = container;
    let waits = state.waiting.is_some() && last_state.terminated.is_none();
    let (image_id, container_id) = if waits {
        (String::new(), String::new())
    } else {
        (format!("hollow://{image}"), id(container))
    };
    ContainerStatus {
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
