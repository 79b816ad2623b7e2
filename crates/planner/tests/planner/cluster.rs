//! An in-memory cluster: objects as JSON, an API server that carries out actions, and a planner
//! that receives every change as a watch event. Time passes only when a test advances it.

use std::collections::BTreeMap;

use pandaemon_planner::{
    Action, DaemonSetView, Event, Failure, FailureKind, Options, Patch, Plan, Planner, Purpose,
    Reply, RevisionView, SetKey,
};
use pandaemon_types::{NodeView, PodView, Timestamp, Uid, view::pinned_node};
use serde::Deserialize as _;
use serde_json::{Value, json};

/// The objects of the cluster, and the planner under test.
pub(crate) struct Cluster {
    pub(crate) planner: Planner,
    pub(crate) now: Timestamp,
    pub(crate) sets: BTreeMap<String, Value>,
    pub(crate) nodes: BTreeMap<String, Value>,
    pub(crate) pods: BTreeMap<String, Value>,
    pub(crate) revisions: BTreeMap<String, Value>,
    pub(crate) events: Vec<Event>,
    version: u64,
}

/// A planner that is told of everything by a watch from the beginning.
pub(crate) fn listed_planner(options: Options) -> Planner {
    let mut planner = Planner::new(options);
    planner.mark_listed();
    planner
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

impl Cluster {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            planner: listed_planner(options),
            now: Timestamp(1_700_000_000_000),
            sets: BTreeMap::new(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            revisions: BTreeMap::new(),
            events: Vec::new(),
            version: 0,
        }
    }

    fn stamp(&mut self, object: &mut Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
    }

    // === objects; every change becomes an event ===

    pub(crate) fn put_set(&mut self, mut set: Value) {
        self.stamp(&mut set);
        let view = DaemonSetView::deserialize(&set).unwrap();
        self.events.push(Event::Set(Box::new(view)));
        self.sets
            .insert(text(&set, "/metadata/name").to_owned(), set);
    }

    pub(crate) fn drop_set(&mut self, name: &str) {
        let Some(set) = self.sets.remove(name) else {
            return;
        };
        let key = SetKey {
            namespace: "ns".into(),
            name: name.into(),
        };
        let uid = Uid::from(text(&set, "/metadata/uid"));
        self.events.push(Event::SetGone { key, uid });
    }

    pub(crate) fn put_node(&mut self, mut node: Value) {
        self.stamp(&mut node);
        self.events
            .push(Event::Node(NodeView::deserialize(&node).unwrap()));
        self.nodes
            .insert(text(&node, "/metadata/name").to_owned(), node);
    }

    pub(crate) fn drop_node(&mut self, name: &str) {
        let Some(node) = self.nodes.remove(name) else {
            return;
        };
        let (name, uid) = (name.into(), Uid::from(text(&node, "/metadata/uid")));
        self.events.push(Event::NodeGone { name, uid });
    }

    pub(crate) fn put_pod(&mut self, mut pod: Value) -> PodView {
        self.stamp(&mut pod);
        let view = PodView::deserialize(&pod).unwrap();
        self.events.push(Event::Pod(Box::new(view.clone())));
        self.pods
            .insert(text(&pod, "/metadata/name").to_owned(), pod);
        view
    }

    pub(crate) fn drop_pod(&mut self, name: &str) {
        let Some(pod) = self.pods.remove(name) else {
            return;
        };
        self.version += 1;
        let uid = Uid::from(text(&pod, "/metadata/uid"));
        self.events.push(Event::PodGone {
            uid,
            resource_version: self.version,
        });
    }

    pub(crate) fn put_revision(&mut self, mut revision: Value) -> RevisionView {
        self.stamp(&mut revision);
        let view = RevisionView::deserialize(&revision).unwrap();
        self.events.push(Event::Revision(Box::new(view.clone())));
        self.revisions
            .insert(text(&revision, "/metadata/name").to_owned(), revision);
        view
    }

    pub(crate) fn drop_revision(&mut self, name: &str) {
        let Some(revision) = self.revisions.remove(name) else {
            return;
        };
        self.events.push(Event::RevisionGone {
            namespace: "ns".into(),
            name: name.into(),
            uid: Uid::from(text(&revision, "/metadata/uid")),
        });
    }

    /// The node that a pod is bound to or, failing that, pinned to by its affinity.
    pub(crate) fn place(pod: &Value) -> String {
        match text(pod, "/spec/nodeName") {
            "" => pinned_node(&pod["spec"]["affinity"])
                .unwrap_or_default()
                .to_owned(),
            node => node.to_owned(),
        }
    }

    // === the planner ===

    /// Delivers all pending events to the planner.
    pub(crate) fn deliver(&mut self) {
        for event in std::mem::take(&mut self.events) {
            self.planner.observe(event, self.now);
        }
    }

    /// Delivers all pending events and plans.
    pub(crate) fn plan(&mut self) -> Plan {
        self.deliver();
        let plan = self.planner.plan(self.now);
        assert_eq!(
            self.planner.miscounted(self.now),
            [],
            "sums differ from a recount"
        );
        plan
    }

    /// Carries out a plan; every request succeeds.
    pub(crate) fn perform(&mut self, plan: &Plan) {
        for action in &plan.actions {
            let result = self.carry_out(action);
            self.report(action, result);
        }
    }

    pub(crate) fn report(&mut self, action: &Action, result: Result<Reply, Failure>) {
        self.events.push(Event::Outcome {
            action: Box::new(action.clone()),
            result,
        });
    }

    /// Applies the request of an action to the stored objects and returns the server's reply.
    pub(crate) fn carry_out(&mut self, action: &Action) -> Result<Reply, Failure> {
        match action {
            Action::CreatePod {
                node,
                name,
                bind,
                template,
                ..
            } => {
                let mut pod: Value =
                    serde_json::from_str(&template.render(name, node, *bind)).unwrap();
                if let Some(taken) = self.pods.get(&**name) {
                    return Ok(Reply::ExistingPod(Box::new(
                        PodView::deserialize(taken).unwrap(),
                    )));
                }
                pod["metadata"]["uid"] = json!(format!("uid-{name}-{}", self.version));
                pod["metadata"]["creationTimestamp"] = json!(self.now.to_string());
                pod["status"] = json!({"phase": "Pending"});
                Ok(Reply::Pod(Box::new(self.put_pod(pod))))
            }
            Action::DeletePod { pod, .. } => {
                let Some(mut object) = self.pods.get(&*pod.name).cloned() else {
                    return Err(not_found());
                };
                if text(&object, "/spec/nodeName").is_empty() {
                    self.drop_pod(&pod.name);
                    return Ok(Reply::Done);
                }
                object["metadata"]["deletionTimestamp"] = json!(self.now.to_string());
                Ok(Reply::Pod(Box::new(self.put_pod(object))))
            }
            Action::PatchPod {
                pod,
                purpose,
                patch,
                ..
            } => {
                let Some(mut object) = self.pods.get(&*pod.name).cloned() else {
                    return Err(not_found());
                };
                let (Patch::Merge(body) | Patch::Strategic(body)) = patch;
                match purpose {
                    Purpose::Adopt => {
                        object["metadata"]["ownerReferences"] =
                            body["metadata"]["ownerReferences"].clone();
                    }
                    Purpose::Release => object["metadata"]["ownerReferences"] = json!([]),
                    Purpose::Relabel | Purpose::Renumber => merge(&mut object, body),
                }
                Ok(Reply::Pod(Box::new(self.put_pod(object))))
            }
            Action::CreateRevision { .. }
            | Action::PatchRevision { .. }
            | Action::DeleteRevision { .. } => self.carry_out_revision(action),
            Action::WriteStatus { set, status, .. } => {
                let Some(mut object) = self.sets.get(&*set.name).cloned() else {
                    return Err(not_found());
                };
                object["status"] = json!({
                    "currentNumberScheduled": status.current_number_scheduled,
                    "desiredNumberScheduled": status.desired_number_scheduled,
                    "numberMisscheduled": status.number_misscheduled,
                    "numberReady": status.number_ready,
                    "numberAvailable": status.number_available,
                    "numberUnavailable": status.number_unavailable,
                    "updatedNumberScheduled": status.updated_number_scheduled,
                    "observedGeneration": status.observed_generation,
                    "collisionCount": status.collision_count,
                });
                self.put_set(object.clone());
                Ok(Reply::Done)
            }
            Action::Event { .. } => Ok(Reply::Done),
        }
    }

    fn carry_out_revision(&mut self, action: &Action) -> Result<Reply, Failure> {
        match action {
            Action::CreateRevision { object, .. } => {
                let name = text(object, "/metadata/name").to_owned();
                if let Some(taken) = self.revisions.get(&name) {
                    let view = RevisionView::deserialize(taken).unwrap();
                    return Ok(Reply::Revision(Box::new(view)));
                }
                let mut object = object.clone();
                object["metadata"]["uid"] = json!(format!("uid-{name}"));
                Ok(Reply::Revision(Box::new(self.put_revision(object))))
            }
            Action::PatchRevision { name, patch, .. } => {
                let (Patch::Merge(body) | Patch::Strategic(body)) = patch;
                let Some(mut object) = self.revisions.get(&**name).cloned() else {
                    return Err(not_found());
                };
                merge(&mut object, body);
                Ok(Reply::Revision(Box::new(self.put_revision(object))))
            }
            Action::DeleteRevision { name, .. } => {
                self.drop_revision(name);
                Ok(Reply::Done)
            }
            _ => Ok(Reply::Done),
        }
    }

    // === kubelets ===

    /// Binds, starts and readies every pod, and removes every deleted one. Returns whether anything
    /// changed.
    pub(crate) fn run_kubelets(&mut self) -> bool {
        let names: Vec<String> = self.pods.keys().cloned().collect();
        let mut changed = false;
        for name in names {
            changed |= self.run_kubelet(&name);
        }
        changed
    }

    pub(crate) fn run_kubelet(&mut self, name: &str) -> bool {
        let Some(mut pod) = self.pods.get(name).cloned() else {
            return false;
        };
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            self.drop_pod(name);
            return true;
        }
        let place = Self::place(&pod);
        if text(&pod, "/status/phase") != "Pending" || !self.nodes.contains_key(&place) {
            return false;
        }
        pod["spec"]["nodeName"] = json!(place);
        pod["status"] = ready_at(self.now);
        self.put_pod(pod);
        true
    }

    /// Removes the pods that are bound to missing nodes, as the pod garbage collector does. Returns
    /// whether there were any.
    fn collect_pods(&mut self) -> bool {
        let is_lost = |pod: &Value| {
            let node = text(pod, "/spec/nodeName");
            !node.is_empty() && !self.nodes.contains_key(node)
        };
        let lost = self.pods.iter().filter(|(_, pod)| is_lost(pod));
        let lost: Vec<String> = lost.map(|(name, _)| name.clone()).collect();
        lost.iter().for_each(|name| self.drop_pod(name));
        !lost.is_empty()
    }

    /// Plans and carries out until nothing changes. Returns the number of rounds.
    pub(crate) fn settle(&mut self) -> usize {
        for round in 0..500 {
            let plan = self.plan();
            let quiet = plan
                .actions
                .iter()
                .all(|action| matches!(action, Action::Event { .. }));
            self.perform(&plan);
            let changed = self.run_kubelets() | self.collect_pods();
            if quiet && !changed && self.events.is_empty() {
                return round;
            }
            if quiet && !changed {
                self.deliver();
            }
        }
        panic!("does not settle");
    }
}

pub(crate) fn ready_at(at: Timestamp) -> Value {
    let condition =
        json!({"type": "Ready", "status": "True", "lastTransitionTime": at.to_string()});
    json!({"phase": "Running", "conditions": [condition]})
}

pub(crate) fn not_found() -> Failure {
    Failure {
        kind: FailureKind::NotFound,
        message: "not found".to_owned(),
        retry_after: 0,
    }
}

fn merge(object: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            for (key, value) in fields {
                merge(&mut object[key], value);
            }
        }
        other => *object = other.clone(),
    }
}
