//! The API server: objects as read models, one counter of revisions, a log per kind that watches follow,
//! identities, preconditions, and what it refuses.

use std::collections::{BTreeMap, BTreeSet};

use pandaemon_planner::{
    Action, DaemonSetView, Event, HASH_LABEL, Listed, Patch, Purpose, Reply, RevisionView, SetKey,
};
use pandaemon_types::{
    LabelSet, Labels as _, Name, NodeView, Owner, Phase, PodView, Timestamp, Uid, VersionedNode,
};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::script::SetSpec;

pub(crate) const SETS: usize = 0;
pub(crate) const REVISIONS: usize = 1;
pub(crate) const NODES: usize = 2;
pub(crate) const PODS: usize = 3;
pub(crate) const KINDS: [&str; 4] = ["sets", "revisions", "nodes", "pods"];

/// An object as one watch tells of it.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    Set(Box<DaemonSetView>),
    Revision(Box<RevisionView>),
    Node(NodeView),
    Pod(Box<PodView>),
}

/// What an object is filed under.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Named(Name, Name),
    Uid(Uid),
}

impl Object {
    pub(crate) fn key(&self) -> Key {
        match self {
            Self::Set(set) => Key::Named(set.key.namespace.clone(), set.key.name.clone()),
            Self::Revision(rev) => Key::Named(rev.namespace.clone(), rev.name.clone()),
            Self::Node(node) => Key::Named("".into(), node.name.clone()),
            Self::Pod(pod) => Key::Uid(pod.uid.clone()),
        }
    }

    pub(crate) fn changed(self) -> Event {
        match self {
            Self::Set(set) => Event::Set(set),
            Self::Revision(revision) => Event::Revision(revision),
            Self::Node(node) => Event::Node(node),
            Self::Pod(pod) => Event::Pod(pod),
        }
    }

    /// `revision` is that of the removal, which a watch tells as the object's last version.
    fn gone(self, revision: u64) -> Event {
        match self {
            Self::Set(set) => Event::SetGone(set.key),
            Self::Revision(rev) => Event::RevisionGone {
                namespace: rev.namespace,
                name: rev.name,
            },
            Self::Node(node) => Event::NodeGone(node.name),
            Self::Pod(pod) => Event::PodGone {
                uid: pod.uid,
                resource_version: revision,
            },
        }
    }
}

/// The event that ends the list of a kind.
pub(crate) fn listed(kind: usize, keys: BTreeSet<Key>, resource_version: u64) -> Event {
    let named = || {
        keys.iter().filter_map(|key| match key {
            Key::Named(namespace, name) => Some((namespace.clone(), name.clone())),
            Key::Uid(_) => None,
        })
    };
    let key = |(namespace, name)| SetKey { namespace, name };
    Event::Listed(match kind {
        SETS => Listed::Sets(named().map(key).collect()),
        REVISIONS => Listed::Revisions(named().collect()),
        NODES => Listed::Nodes(named().map(|(_, name)| name).collect()),
        _ => {
            let uid = |key: &Key| match key {
                Key::Uid(uid) => Some(uid.clone()),
                Key::Named(..) => None,
            };
            Listed::Pods {
                uids: keys.iter().filter_map(uid).collect(),
                resource_version,
            }
        }
    })
}

/// One change of an object, as a watch tells it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) revision: u64,
    /// When it was made.
    pub(crate) at: i64,
    pub(crate) object: Object,
    pub(crate) gone: bool,
}

impl Entry {
    pub(crate) fn event(&self) -> Event {
        let object = self.object.clone();
        if self.gone {
            object.gone(self.revision)
        } else {
            object.changed()
        }
    }
}

/// A pod, with what only the simulator knows.
#[derive(Debug, Clone)]
pub(crate) struct Pod {
    pub(crate) view: PodView,
    /// The template it was made from.
    pub(crate) tag: String,
    /// Which controller asked for it; `None` for users and for requests that were given up.
    pub(crate) epoch: Option<u32>,
    /// The set it was made for.
    pub(crate) made_for: Option<Uid>,
}

impl Pod {
    /// Whether it runs or will.
    pub(crate) fn is_live(&self) -> bool {
        !self.view.deleting && !self.view.phase.is_terminal()
    }

    pub(crate) fn is_of(&self, set: &Uid) -> bool {
        self.view
            .owner
            .as_ref()
            .is_some_and(|owner| owner.uid == *set)
    }
}

/// Why the server said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiError {
    NotFound,
    AlreadyExists,
    Terminating,
    /// The uid of a precondition belongs to another object.
    OtherUid,
}

/// The server's state.
#[derive(Debug, Default)]
pub(crate) struct Api {
    pub(crate) now: i64,
    pub(crate) revision: u64,
    pub(crate) logs: [Vec<Entry>; 4],
    pub(crate) sets: BTreeMap<SetKey, DaemonSetView>,
    pub(crate) revisions: BTreeMap<(Name, Name), RevisionView>,
    pub(crate) nodes: BTreeMap<Name, NodeView>,
    pub(crate) pods: BTreeMap<Uid, Pod>,
    names: BTreeMap<(Name, Name), Uid>,
    /// The pods of each node, bound or meant for it.
    pub(crate) on: BTreeMap<Name, BTreeSet<Uid>>,
    /// Namespaces that are being deleted.
    pub(crate) terminating: BTreeSet<Name>,
    /// The templates of all pods there ever were.
    pub(crate) tags: BTreeMap<Uid, String>,
    uids: u64,
}

pub(crate) fn set_key(number: usize) -> SetKey {
    let namespace = format!("ns{}", number % 2).into();
    SetKey {
        namespace,
        name: format!("set{number}").into(),
    }
}

pub(crate) fn tag_of(set: &DaemonSetView) -> &str {
    let tag = set.template.pointer("/metadata/annotations/tag");
    tag.and_then(Value::as_str).unwrap_or_default()
}

impl Api {
    pub(crate) fn new(now: i64) -> Self {
        Self {
            now,
            ..Self::default()
        }
    }

    fn uid(&mut self, kind: &str) -> Uid {
        self.uids += 1;
        Uid::from(&*format!("{kind}-{}", self.uids))
    }

    fn log(&mut self, kind: usize, object: Object, gone: bool) {
        let (revision, at) = (self.revision, self.now);
        self.logs[kind].push(Entry {
            revision,
            at,
            object,
            gone,
        });
    }

    /// What a list at a revision holds.
    pub(crate) fn list(&self, kind: usize, at: u64) -> Vec<Object> {
        let mut state: BTreeMap<Key, Object> = BTreeMap::new();
        for entry in self.logs[kind]
            .iter()
            .take_while(|entry| entry.revision <= at)
        {
            if entry.gone {
                state.remove(&entry.object.key());
            } else {
                state.insert(entry.object.key(), entry.object.clone());
            }
        }
        state.into_values().collect()
    }

    // === writes ===

    pub(crate) fn put_set(&mut self, mut set: DaemonSetView) {
        self.revision += 1;
        set.resource_version = self.revision;
        self.log(SETS, Object::Set(Box::new(set.clone())), false);
        self.sets.insert(set.key.clone(), set);
    }

    /// Creates a set, or changes its spec.
    pub(crate) fn apply_set(&mut self, number: usize, spec: &SetSpec) {
        let (key, app) = (set_key(number), format!("app{number}"));
        let old = self.sets.get(&key).cloned();
        let uid = old
            .as_ref()
            .map_or_else(|| self.uid("set"), |old| old.uid.clone());
        let object = json!({
            "metadata": {"name": &*key.name, "namespace": &*key.namespace, "uid": uid.to_string()},
            "spec": {"selector": {"matchLabels": {"app": app}}, "template": spec.template.json(&app),
                "updateStrategy": spec.strategy.json(), "minReadySeconds": spec.min_ready,
                "revisionHistoryLimit": spec.history},
        });
        let mut set = DaemonSetView::deserialize(&object).unwrap();
        set.generation = old.as_ref().map_or(1, |old| old.generation + 1);
        if let Some(old) = old {
            set.deleting = old.deleting;
            set.status = old.status;
        }
        self.put_set(set);
    }

    pub(crate) fn drop_set(&mut self, key: &SetKey) {
        if let Some(set) = self.sets.remove(key) {
            self.revision += 1;
            self.log(SETS, Object::Set(Box::new(set)), true);
        }
    }

    pub(crate) fn put_node(&mut self, node: NodeView) {
        self.revision += 1;
        self.log(NODES, Object::Node(node.clone()), false);
        self.nodes.insert(node.name.clone(), node);
    }

    pub(crate) fn new_node(&mut self, name: &str, disk: u8) {
        let uid = self.uid("node").to_string();
        let object = json!({
            "metadata": {"name": name, "uid": uid, "labels": {"disk": format!("d{disk}")}},
            "status": {"allocatable": {"cpu": "8", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let node = VersionedNode::deserialize(&object).unwrap();
        self.put_node(node.view);
    }

    pub(crate) fn drop_node(&mut self, name: &str) {
        if let Some(node) = self.nodes.remove(name) {
            self.revision += 1;
            self.log(NODES, Object::Node(node), true);
        }
    }

    fn put_pod(&mut self, mut pod: Pod) -> PodView {
        self.revision += 1;
        pod.view.resource_version = self.revision;
        let view = pod.view.clone();
        self.log(PODS, Object::Pod(Box::new(view.clone())), false);
        if let Some(node) = view.placed_on() {
            self.on
                .entry(node.clone())
                .or_default()
                .insert(view.uid.clone());
        }
        self.pods.insert(view.uid.clone(), pod);
        view
    }

    /// Changes a pod, if it is there; its new form.
    pub(crate) fn change_pod(
        &mut self,
        uid: &Uid,
        change: impl FnOnce(&mut PodView),
    ) -> Option<PodView> {
        let mut pod = self.pods.get(uid)?.clone();
        change(&mut pod.view);
        if pod.view == self.pods.get(uid)?.view {
            return Some(pod.view);
        }
        Some(self.put_pod(pod))
    }

    pub(crate) fn drop_pod(&mut self, uid: &Uid) {
        let Some(pod) = self.pods.remove(uid) else {
            return;
        };
        self.revision += 1;
        self.names
            .remove(&(pod.view.namespace.clone(), pod.view.name.clone()));
        if let Some(on) = pod.view.placed_on().and_then(|node| self.on.get_mut(node)) {
            on.remove(uid);
        }
        self.log(PODS, Object::Pod(Box::new(pod.view)), true);
    }

    pub(crate) fn put_revision(&mut self, mut revision: RevisionView) -> RevisionView {
        self.revision += 1;
        revision.resource_version = self.revision;
        self.log(
            REVISIONS,
            Object::Revision(Box::new(revision.clone())),
            false,
        );
        let key = (revision.namespace.clone(), revision.name.clone());
        self.revisions.insert(key, revision.clone());
        revision
    }

    pub(crate) fn drop_revision(&mut self, key: &(Name, Name)) {
        if let Some(revision) = self.revisions.remove(key) {
            self.revision += 1;
            self.log(REVISIONS, Object::Revision(Box::new(revision)), true);
        }
    }

    // === requests ===

    pub(crate) fn pod_named(&self, namespace: &Name, name: &Name) -> Option<&Pod> {
        let uid = self.names.get(&(namespace.clone(), name.clone()))?;
        self.pods.get(uid)
    }

    /// Creates a pod from its JSON text.
    pub(crate) fn create_pod(
        &mut self,
        text: &str,
        epoch: Option<u32>,
    ) -> Result<PodView, ApiError> {
        let object: Value = serde_json::from_str(text).unwrap();
        let mut view = PodView::deserialize(&object).unwrap();
        if self.terminating.contains(&view.namespace) {
            return Err(ApiError::Terminating);
        }
        let key = (view.namespace.clone(), view.name.clone());
        if self.names.contains_key(&key) {
            return Err(ApiError::AlreadyExists);
        }
        view.uid = self.uid("pod");
        view.created = Timestamp(self.now.div_euclid(1000) * 1000);
        let tag = object
            .pointer("/metadata/annotations/tag")
            .and_then(Value::as_str);
        let tag = tag.unwrap_or("foreign").to_owned();
        self.names.insert(key, view.uid.clone());
        self.tags.insert(view.uid.clone(), tag.clone());
        let made_for = view.owner.as_ref().map(|owner| owner.uid.clone());
        Ok(self.put_pod(Pod {
            view,
            tag,
            epoch,
            made_for,
        }))
    }

    /// Deletes a pod: at once if nobody runs it, else by its kubelet.
    pub(crate) fn delete_pod(&mut self, uid: &Uid) -> Option<PodView> {
        let pod = self.pods.get(uid)?;
        if pod.view.node.is_none() {
            let view = pod.view.clone();
            self.drop_pod(uid);
            return Some(view);
        }
        self.change_pod(uid, |view| view.deleting = true)
    }

    fn delete_named_pod(
        &mut self,
        namespace: &Name,
        name: &Name,
        uid: &Uid,
    ) -> Result<Reply, ApiError> {
        let found = self.pod_named(namespace, name).ok_or(ApiError::NotFound)?;
        if found.view.uid != *uid {
            return Err(ApiError::OtherUid);
        }
        let view = self.delete_pod(uid).ok_or(ApiError::NotFound)?;
        Ok(Reply::Pod(Box::new(view)))
    }

    fn patch_pod(
        &mut self,
        namespace: &Name,
        name: &Name,
        purpose: Purpose,
        patch: &Patch,
    ) -> Result<Reply, ApiError> {
        let (Patch::Merge(body) | Patch::Strategic(body)) = patch;
        let found = self.pod_named(namespace, name).ok_or(ApiError::NotFound)?;
        let text = |pointer: &str| {
            body.pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let wanted = text("/metadata/uid");
        let uid = found.view.uid.clone();
        if !wanted.is_empty() && wanted != uid.to_string() {
            return Err(ApiError::OtherUid);
        }
        let owner = Uid::from(text("/metadata/ownerReferences/0/uid"));
        let foreign = found
            .view
            .owner
            .as_ref()
            .is_some_and(|known| known.uid != owner);
        if purpose == Purpose::Adopt && foreign {
            // Two managing owners are invalid.
            return Err(ApiError::OtherUid);
        }
        let hash = text(&format!("/metadata/labels/{HASH_LABEL}")).to_owned();
        let view = self.change_pod(&uid, |view| match purpose {
            Purpose::Adopt => {
                view.owner = Some(Owner {
                    uid: owner,
                    is_daemonset: true,
                });
            }
            Purpose::Release if foreign => {}
            Purpose::Release => view.owner = None,
            Purpose::Relabel | Purpose::Renumber => {
                view.labels = with_label(&view.labels, HASH_LABEL, Some(&hash));
            }
        });
        Ok(Reply::Pod(Box::new(view.ok_or(ApiError::NotFound)?)))
    }

    fn create_revision(&mut self, set: &SetKey, object: &Value) -> Result<Reply, ApiError> {
        let mut revision = RevisionView::deserialize(object).unwrap();
        let key = (revision.namespace.clone(), revision.name.clone());
        if self.terminating.contains(&set.namespace) {
            return Err(ApiError::Terminating);
        }
        if self.revisions.contains_key(&key) {
            return Err(ApiError::AlreadyExists);
        }
        revision.uid = self.uid("revision");
        Ok(Reply::Revision(Box::new(self.put_revision(revision))))
    }

    fn patch_revision(
        &mut self,
        set: &SetKey,
        name: &Name,
        patch: &Patch,
    ) -> Result<Reply, ApiError> {
        let (Patch::Merge(body) | Patch::Strategic(body)) = patch;
        let key = (set.namespace.clone(), name.clone());
        let mut revision = self.revisions.get(&key).ok_or(ApiError::NotFound)?.clone();
        if let Some(number) = body.get("revision").and_then(Value::as_i64) {
            revision.revision = number;
        }
        if let Some(hash) = body
            .pointer("/metadata/labels")
            .and_then(|l| l.get(HASH_LABEL))
        {
            revision.labels = with_label(&revision.labels, HASH_LABEL, hash.as_str());
        }
        if let Some(uid) = body
            .pointer("/metadata/ownerReferences/0/uid")
            .and_then(Value::as_str)
        {
            let owner = Owner {
                uid: Uid::from(uid),
                is_daemonset: true,
            };
            if revision.owner.as_ref().is_some_and(|known| *known != owner) {
                return Err(ApiError::OtherUid);
            }
            revision.owner = Some(owner);
        }
        if self.revisions.get(&key) != Some(&revision) {
            revision = self.put_revision(revision);
        }
        Ok(Reply::Revision(Box::new(revision)))
    }

    /// Carries out the one request of an action.
    pub(crate) fn carry_out(
        &mut self,
        action: &Action,
        epoch: Option<u32>,
    ) -> Result<Reply, ApiError> {
        match action {
            Action::CreatePod {
                node,
                name,
                bind,
                template,
                ..
            } => {
                let view = self.create_pod(&template.render(name, node, *bind), epoch)?;
                Ok(Reply::Pod(Box::new(view)))
            }
            Action::DeletePod { set, pod, .. } => {
                self.delete_named_pod(&set.namespace, &pod.name, &pod.uid)
            }
            Action::PatchPod {
                set,
                pod,
                purpose,
                patch,
                ..
            } => self.patch_pod(&set.namespace, &pod.name, *purpose, patch),
            Action::CreateRevision { set, object } => self.create_revision(set, object),
            Action::PatchRevision {
                set, name, patch, ..
            } => self.patch_revision(set, name, patch),
            Action::DeleteRevision { set, name, uid } => {
                let key = (set.namespace.clone(), name.clone());
                match self.revisions.get(&key) {
                    None => return Err(ApiError::NotFound),
                    Some(found) if found.uid != *uid => return Err(ApiError::OtherUid),
                    Some(_) => self.drop_revision(&key),
                }
                Ok(Reply::Done)
            }
            Action::WriteStatus { set, uid, status } => {
                let mut view = self.sets.get(set).ok_or(ApiError::NotFound)?.clone();
                if view.uid != *uid {
                    return Err(ApiError::OtherUid);
                }
                view.status = status.clone();
                self.put_set(view);
                Ok(Reply::Set(Box::new(self.sets[set].clone())))
            }
            Action::Event { .. } => Ok(Reply::Done),
        }
    }

    /// The executor's second look after `AlreadyExists`.
    pub(crate) fn look_again(&self, action: &Action) -> Result<Reply, ApiError> {
        match action {
            Action::CreatePod { set, name, .. } => {
                let pod = self
                    .pod_named(&set.namespace, name)
                    .ok_or(ApiError::NotFound)?;
                Ok(Reply::ExistingPod(Box::new(pod.view.clone())))
            }
            Action::CreateRevision { set, object } => {
                let name = object.pointer("/metadata/name").and_then(Value::as_str);
                let key = (set.namespace.clone(), Name::from(name.unwrap_or_default()));
                let found = self.revisions.get(&key).ok_or(ApiError::NotFound)?;
                Ok(Reply::Revision(Box::new(found.clone())))
            }
            _ => Err(ApiError::NotFound),
        }
    }

    /// Whether a kubelet has something to run.
    pub(crate) fn is_bound_to(&self, uid: &Uid, node: &str) -> bool {
        self.pods
            .get(uid)
            .is_some_and(|pod| pod.view.node.as_deref() == Some(node))
    }
}

pub(crate) fn with_label(labels: &LabelSet, key: &str, value: Option<&str>) -> LabelSet {
    let mut map: BTreeMap<String, String> = labels
        .iter()
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    match value {
        Some(value) => map.insert(key.to_owned(), value.to_owned()),
        None => map.remove(key),
    };
    LabelSet::from(&map)
}

/// Whether a pod carries a hash.
pub(crate) fn hash_of(pod: &PodView) -> Option<&str> {
    pod.labels.label(HASH_LABEL)
}

/// A pod that a user makes by hand: it matches a set's selector and belongs to nobody.
pub(crate) fn unowned_pod(number: usize, node: &str, name: &str) -> String {
    let key = set_key(number);
    json!({
        "metadata": {"name": name, "namespace": &*key.namespace, "labels": {"app": format!("app{number}")}},
        "spec": {"nodeName": node, "containers": [{"name": "c"}]},
    })
    .to_string()
}

pub(crate) const fn is_ended(view: &PodView) -> bool {
    matches!(view.phase, Phase::Failed | Phase::Succeeded)
}

impl Entry {
    /// The identity of a pod; a stand-in for others.
    pub(crate) fn object_uid(&self) -> Uid {
        match &self.object {
            Object::Pod(pod) => pod.uid.clone(),
            _ => Uid::default(),
        }
    }
}
