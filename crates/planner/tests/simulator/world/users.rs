//! What users, webhooks and the network do: the perturbations of a script.

use serde_json::json;

use super::{SimEvent, World, node_name};
use crate::{
    api::Kind,
    script::{Perturbation, SetSpec},
    value::{Key, Text, list},
};

/// The key of a set of a script: sets share two namespaces.
fn key_of_set(number: usize) -> Key {
    Key::new(&format!("ns{}", number % 2), &format!("set{number}"))
}

/// The value of the label `app` of a set's pods.
pub(crate) fn app(set: &Key) -> Text {
    set.name.replace("set", "app").into()
}

impl World {
    /// Creates a set, or gives it its spec of now.
    pub(super) fn apply(&mut self, number: usize) {
        let key = key_of_set(number);
        let spec = self.specs[number].json(&app(&key));
        let old = self.api.get(Kind::Sets, &key);
        let mut object = old.map_or_else(
            || {
                json!({"metadata":
                    {"name": &*key.name, "namespace": &*key.namespace, "generation": 0}})
            },
            |old| old.json.clone(),
        );
        if old.is_none() {
            object["metadata"]["uid"] = json!(self.api.new_uid("set"));
        }
        if object["spec"] == spec {
            return;
        }
        let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
        object["metadata"]["generation"] = json!(generation + 1);
        object["spec"] = spec;
        let stored = self.api.put(Kind::Sets, object);
        if self.api.set(&key).is_some_and(|set| set.is_surge()) {
            self.surged.insert(stored.uid().clone());
        }
    }

    fn edit_spec(&mut self, number: usize, edit: impl FnOnce(&mut SetSpec)) {
        if let Some(spec) = self.specs.get_mut(number) {
            edit(spec);
            if self.api.set(&key_of_set(number)).is_some() {
                self.apply(number);
            }
        }
    }

    /// Selectors can be read again.
    pub(super) fn heal_sets(&mut self) {
        for number in 0..self.specs.len() {
            self.edit_spec(number, |spec| spec.bad_selector = false);
        }
    }

    pub(super) fn perturb(&mut self, what: Perturbation) {
        match what {
            Perturbation::PodFlaps { pick, .. }
            | Perturbation::PodFails { pick }
            | Perturbation::PodSucceeds { pick }
            | Perturbation::PodDeleted { pick }
            | Perturbation::PodOrphaned { pick }
            | Perturbation::PodUnlabelled { pick }
            | Perturbation::PodReplaced { pick } => {
                let uids: Vec<Text> = self.api.pods().map(|pod| pod.uid.clone()).collect();
                if let Some(uid) = uids.get(pick % uids.len().max(1)) {
                    self.perturb_pod(&what, uid);
                }
            }
            Perturbation::PodUnowned {
                set,
                node,
                other_owner,
            } => self.create_unowned(set, node, other_owner),
            Perturbation::Template { .. }
            | Perturbation::Strategy { .. }
            | Perturbation::MinReady { .. }
            | Perturbation::History { .. }
            | Perturbation::BadSelector { .. }
            | Perturbation::Delete { .. }
            | Perturbation::Recreate { .. }
            | Perturbation::RevisionDeleted { .. }
            | Perturbation::NamespaceEnds { .. } => self.perturb_set(what),
            Perturbation::RefuseCreate { .. }
            | Perturbation::RefuseDelete { .. }
            | Perturbation::RefusePatch { .. }
            | Perturbation::RefuseRevision { .. }
            | Perturbation::Quota { .. } => self.refuse(what),
            Perturbation::Jump { .. }
            | Perturbation::Failover { .. }
            | Perturbation::Overlap { .. }
            | Perturbation::Faults { .. }
            | Perturbation::Slow { .. }
            | Perturbation::Cut { .. }
            | Perturbation::Expire { .. }
            | Perturbation::Rewind { .. }
            | Perturbation::Stall { .. } => self.perturb_controllers(&what),
            node => self.perturb_node(node),
        }
    }

    fn perturb_pod(&mut self, what: &Perturbation, uid: &Text) {
        let bound = self.api.pod(uid).is_some_and(|pod| pod.node.is_some());
        match what {
            Perturbation::PodFlaps { for_ms, .. } if bound => {
                self.unready(uid);
                self.schedule(*for_ms, SimEvent::Ready(uid.clone()));
            }
            Perturbation::PodFails { .. } if bound => self.end_by_itself(uid, true),
            Perturbation::PodSucceeds { .. } if bound => self.end_by_itself(uid, false),
            Perturbation::PodDeleted { .. } => self.api.delete_pod(uid),
            Perturbation::PodOrphaned { .. } => self.api.edit_pod(uid, |pod| {
                let mut owners = list(pod, "/metadata/ownerReferences").to_vec();
                owners.retain(|owner| owner["controller"] != true);
                pod["metadata"]["ownerReferences"] = json!(owners);
            }),
            Perturbation::PodUnlabelled { .. } => self.api.edit_pod(uid, |pod| {
                if let Some(labels) = pod["metadata"]["labels"].as_object_mut() {
                    labels.remove("app");
                }
            }),
            Perturbation::PodReplaced { .. } => {
                let Some(pod) = self.api.pod(uid).cloned() else {
                    return;
                };
                self.api.remove_pod(uid);
                let body = json!({
                    "metadata": {"name": &*pod.key.name, "namespace": &*pod.key.namespace},
                    "spec": {"nodeName": pod.place().map(|node| &**node), "containers": []},
                });
                drop(self.api.create_pod(&body, None));
            }
            _ => {}
        }
    }

    fn create_unowned(&mut self, set: usize, node: usize, other_owner: bool) {
        let (key, node) = (key_of_set(set), node_name(node));
        if self.api.node(&node).is_none() {
            return;
        }
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "c"});
        let owners = if other_owner { vec![owner] } else { Vec::new() };
        let body = json!({
            "metadata": {
                "name": format!("unowned-{}", self.serial), "namespace": &*key.namespace,
                "labels": {"app": &*app(&key)}, "ownerReferences": owners,
                "annotations": {"tag": "unowned"},
            },
            "spec": {"nodeName": &*node, "containers": [{"name": "c"}]},
        });
        drop(self.api.create_pod(&body, None));
    }

    fn perturb_set(&mut self, what: Perturbation) {
        match what {
            Perturbation::Template { set, template } => {
                self.edit_spec(set, |spec| spec.template = template);
            }
            Perturbation::Strategy { set, strategy } => {
                self.edit_spec(set, |spec| spec.strategy = strategy);
            }
            Perturbation::MinReady { set, seconds } => {
                self.edit_spec(set, |spec| spec.min_ready = seconds);
            }
            Perturbation::History { set, limit } => {
                self.edit_spec(set, |spec| spec.history = limit);
            }
            Perturbation::BadSelector { set, on } => {
                self.edit_spec(set, |spec| spec.bad_selector = on);
            }
            Perturbation::Delete { set, how } => self.delete_set(&key_of_set(set), how),
            Perturbation::Recreate { set } => {
                let key = key_of_set(set);
                let free =
                    self.api.set(&key).is_none() && !self.api.terminating.contains(&key.namespace);
                if free && set < self.specs.len() {
                    self.apply(set);
                }
            }
            Perturbation::RevisionDeleted { pick } => {
                let keys = self.api.revisions().map(|revision| revision.key.clone());
                let keys: Vec<Key> = keys.collect();
                if let Some(key) = keys.get(pick % keys.len().max(1)) {
                    self.api.remove(Kind::Revisions, key);
                }
            }
            Perturbation::NamespaceEnds { namespace, for_ms } => {
                let namespace: Text = format!("ns{namespace}").into();
                if self.api.terminating.insert(namespace.clone()) {
                    let until = self.now + for_ms;
                    self.schedule(100, SimEvent::NamespaceGc { namespace, until });
                }
            }
            other => unreachable!("{other:?} is not about a set"),
        }
    }

    fn refuse(&mut self, what: Perturbation) {
        let rule = |set: usize, node: usize| (app(&key_of_set(set)), node_name(node));
        let admission = &mut self.api.admission;
        match what {
            Perturbation::RefuseCreate { set, node } => {
                admission.create.insert(rule(set, node));
            }
            Perturbation::RefuseDelete { set, node } => {
                admission.delete.insert(rule(set, node));
            }
            Perturbation::RefusePatch { set, node } => {
                admission.patch.insert(rule(set, node));
            }
            Perturbation::RefuseRevision { set } => {
                admission.revisions.insert(app(&key_of_set(set)));
            }
            Perturbation::Quota {
                namespace,
                pods,
                for_ms,
            } => {
                let namespace = format!("ns{namespace}").into();
                admission
                    .quotas
                    .insert(namespace, (pods, self.now + for_ms));
            }
            other => unreachable!("{other:?} is not a refusal"),
        }
    }

    fn perturb_controllers(&mut self, what: &Perturbation) {
        let now = self.now;
        match *what {
            Perturbation::Jump { ms } => {
                for controller in self.controllers.values_mut() {
                    controller.clock += ms;
                }
            }
            Perturbation::Failover { gap, lag } => {
                let stopped = std::mem::take(&mut self.controllers).len();
                if stopped > 0 {
                    self.schedule(gap, SimEvent::Start { lag });
                }
            }
            Perturbation::Overlap { for_ms, lag } => {
                let leader = self.controllers.values_mut().find(|known| !known.ends);
                if let Some(leader) = leader {
                    leader.ends = true;
                    let epoch = leader.epoch;
                    self.schedule(0, SimEvent::Start { lag });
                    self.schedule(for_ms, SimEvent::Stop { epoch });
                }
            }
            Perturbation::Faults { percent, for_ms } => self.faults = (percent, now + for_ms),
            Perturbation::Slow {
                kind,
                delay,
                for_ms,
            } => self.slow[kind] = (delay, now + for_ms),
            Perturbation::Cut { kind } => self.cut(kind, false),
            Perturbation::Expire { kind } => self.cut(kind, true),
            Perturbation::Rewind { kind, back } => self.rewind(kind, back),
            Perturbation::Stall { for_ms } => self.stalled_until = now + for_ms,
            _ => {}
        }
    }
}
