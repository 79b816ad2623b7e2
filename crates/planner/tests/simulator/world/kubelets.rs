//! The scheduler and the kubelets: they bind, start, ready and end pods.

use serde_json::{Value, json};

use super::{SimEvent, World};
use crate::{
    api::{Kind, Object},
    objects::{Node, Phase, Pod},
    request::Request,
    value::{Text, time_text},
};

/// A machine; it outlives its node object.
#[derive(Debug, Clone, Default)]
pub(super) struct Machine {
    pub(super) alive: bool,
    /// How far its clock is off, in milliseconds.
    pub(super) skew: i64,
    /// Its kubelet rejects pods until then.
    pub(super) rejects_until: i64,
}

/// What the scheduler and a kubelet have begun to do with a pod.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PodProgress {
    pub(super) binding: bool,
    pub(super) starting: bool,
    pub(super) ending: bool,
}

/// The `status` of a pod that is not ready.
fn set_phase(pod: &mut Value, phase: &str) {
    pod["status"] = json!({"phase": phase});
}

impl World {
    /// Kubelets, the scheduler and the garbage collector see changes at once and act later; the
    /// watches of controllers get a turn.
    pub(super) fn react_to_changes(&mut self) {
        while let Some(entry) = self.api.logs[Kind::Pods.index()].get(self.reacted[0]) {
            self.reacted[0] += 1;
            let uid = entry.stored.uid().clone();
            if let Some(pod) = self.api.pod(&uid).cloned() {
                self.react_to_pod(&pod);
            }
        }
        while let Some(entry) = self.api.logs[Kind::Revisions.index()].get(self.reacted[1]) {
            self.reacted[1] += 1;
            if let (Object::Revision(revision), false) = (&entry.stored.object, entry.gone)
                && let Some(owner) = revision.owner.clone()
            {
                self.check_owner(&owner);
            }
        }
        self.wake_feeds();
    }

    pub(super) fn react_to_pod(&mut self, pod: &Pod) {
        let progress = self.progress.entry(pod.uid.clone()).or_default();
        let uid = pod.uid.clone();
        match &pod.node {
            None if !progress.binding => {
                progress.binding = true;
                let wait = self.node_rng.latency(100, 2_000);
                self.schedule(wait, SimEvent::Bind(uid));
            }
            Some(_) if pod.deleting && !progress.ending => {
                progress.ending = true;
                let wait = self.node_rng.latency(1_000, 30_000);
                self.schedule(wait, SimEvent::End(uid));
            }
            Some(_) if !progress.starting => {
                progress.starting = true;
                let wait = self.node_rng.latency(300, 20_000);
                self.schedule(wait, SimEvent::Run(uid));
            }
            _ => {}
        }
        if let Some(node) = &pod.node
            && self.api.node(node).is_none()
        {
            let wait = self.node_rng.latency(5_000, 40_000);
            self.schedule(wait, SimEvent::PodGc(node.clone()));
        }
        if let Some(owner) = &pod.owner {
            self.check_owner(owner);
        }
    }

    /// The scheduler binds a pod to the node that its affinity names, if it fits.
    pub(super) fn bind(&mut self, uid: &Text) {
        let Some(pod) = self.api.pod(uid).cloned() else {
            return;
        };
        let Some(target) = pod.target.clone().filter(|_| pod.node.is_none()) else {
            return;
        };
        if let Some(progress) = self.progress.get_mut(uid) {
            progress.binding = false;
        }
        let Some(node) = self.api.node(&target) else {
            return;
        };
        if self.has_room(node, &pod) {
            self.record(|| format!("the scheduler binds {} to {target}", pod.key));
            self.api
                .edit_pod(uid, |pod| pod["spec"]["nodeName"] = json!(&*target));
        } else {
            let wait = self.node_rng.between(500, 3_000);
            self.schedule(wait, SimEvent::Bind(uid.clone()));
        }
    }

    /// Whether a pod that is to be created on its node has room there by the scheduler's count.
    pub(super) fn reserves(&self, request: &Request) -> bool {
        let Request::CreatePod {
            node, bind, body, ..
        } = request
        else {
            return true;
        };
        let node = self.api.node(node).filter(|_| *bind);
        node.is_none_or(|node| self.has_room(node, &Pod::read(body)))
    }

    /// Whether a pod fits on its node beside the bound ones.
    fn has_room(&self, node: &Node, pod: &Pod) -> bool {
        let others = self
            .api
            .pods_on(&node.name)
            .filter(|other| other.uid != pod.uid && other.node.is_some() && !other.is_ended());
        let (mut count, mut cpu) = (0, 0);
        for other in others {
            count += 1;
            cpu += other.cpu;
        }
        count < node.pods && cpu + pod.cpu <= node.cpu
    }

    /// A pod that is bound to a node whose kubelet runs.
    fn running_pod(&self, uid: &str) -> Option<(Pod, Machine)> {
        let pod = self.api.pod(uid)?;
        let node = self.api.node(pod.node.as_ref()?)?;
        let machine = self.machines.get(&node.name);
        let machine = machine.filter(|machine| machine.alive)?;
        Some((pod.clone(), machine.clone()))
    }

    pub(super) fn run_pod(&mut self, uid: &Text) {
        let Some((pod, machine)) = self.running_pod(uid) else {
            return;
        };
        if pod.deleting || pod.phase != Phase::Pending {
            return;
        }
        let node = pod.node.as_ref().and_then(|node| self.api.node(node));
        let fits = node.is_some_and(|node| self.has_room(node, &pod));
        if self.now < machine.rejects_until || !fits {
            self.record(|| format!("the kubelet rejects {}", pod.key));
            self.api.edit_pod(uid, |pod| {
                set_phase(pod, "Failed");
                pod["status"]["reason"] = json!("OutOfcpu");
            });
            return;
        }
        self.api.edit_pod(uid, |pod| set_phase(pod, "Running"));
        let wait = self.node_rng.latency(500, 30_000);
        self.schedule(wait, SimEvent::Ready(uid.clone()));
    }

    pub(super) fn ready(&mut self, uid: &Text) {
        let Some((pod, machine)) = self.running_pod(uid) else {
            return;
        };
        if pod.phase != Phase::Running || pod.ready {
            return;
        }
        self.record(|| format!("{} is ready", pod.key));
        // Transition times have whole seconds, and come from the node's clock.
        let since = time_text(self.now + machine.skew);
        self.api.edit_pod(uid, |pod| {
            pod["status"]["conditions"] =
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        });
    }

    pub(super) fn unready(&mut self, uid: &str) {
        self.api.edit_pod(uid, |pod| {
            if let Some(status) = pod["status"].as_object_mut() {
                status.remove("conditions");
            }
        });
    }

    /// A pod that is being deleted ends: its object is removed, at times after its phase has
    /// changed.
    pub(super) fn end(&mut self, uid: &Text) {
        if let Some(progress) = self.progress.get_mut(uid) {
            progress.ending = false;
        }
        let Some((pod, _)) = self.running_pod(uid) else {
            return;
        };
        if !pod.is_ended() && self.node_rng.chance(40) {
            let even = pod.key.name.len().is_multiple_of(2);
            let phase = if even { "Failed" } else { "Succeeded" };
            self.api.edit_pod(uid, |pod| set_phase(pod, phase));
            return;
        }
        self.record(|| format!("{} is gone", pod.key));
        self.api.remove_pod(uid);
    }

    /// A pod ends by itself.
    pub(super) fn end_by_itself(&mut self, uid: &str, failed: bool) {
        let phase = if failed { "Failed" } else { "Succeeded" };
        if self.api.pod(uid).is_some_and(|pod| !pod.is_ended()) {
            self.api.edit_pod(uid, |pod| set_phase(pod, phase));
        }
    }
}
