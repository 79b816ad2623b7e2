//! Invariants of single requests against the API server's state.

use super::World;
use crate::{
    api::Stored,
    objects::Pod,
    request::{Purpose, Request},
    value::{Key, Text, list},
};

impl World {
    /// The names of a set's pods on a node follow from the set, the node and the revision:
    /// whichever controller asks, another name is used only if a pod had the earlier ones.
    pub(super) fn check_name(&mut self, request: &Request) {
        let Request::CreatePod {
            set,
            set_uid,
            node,
            name,
            body,
            ..
        } = request
        else {
            return;
        };
        let hash = Pod::read(body).hash().cloned().unwrap_or_default();
        // A request that was not answered is repeated under its name, also with a newer revision.
        let repeats = |((set, place, _), names): (&(Text, Text, Text), &Vec<Text>)| {
            set == set_uid && place == node && names.contains(name)
        };
        if self.names.iter().any(repeats) {
            return;
        }
        let names = self.names.entry((set_uid.clone(), node.clone(), hash));
        let names = names.or_default();
        let free = names
            .iter()
            .find(|name| !self.api.names.contains(&Key::new(&set.namespace, name)));
        if let Some(free) = free {
            let text = format!("{name} is to be created on {node}, and {free} was never taken");
            self.fail(("another name", text));
            return;
        }
        names.push(name.clone());
    }

    /// A pod was created. No controller creates one on a node where one lives that it created, but
    /// beside an old one, with surge. Its hash is that of a revision which holds the template it
    /// was made from.
    pub(super) fn check_created(&mut self, request: &Request, new: &Stored, epoch: Option<u32>) {
        let (Request::CreatePod { set_uid, node, .. }, Some(new)) = (request, new.pod()) else {
            return;
        };
        self.check_hash(new);
        // A second request for one name that takes effect after the pod of the first was deleted is
        // no fault: no controller can call back what it has sent.
        if !self.named.insert((set_uid.clone(), new.key.name.clone())) {
            return;
        }
        let mine = |pod: &&Pod| {
            let maker = self.api.makers.get(&pod.uid);
            pod.uid != new.uid
                && pod.is_live()
                && pod.is_owned_by(set_uid)
                && pod.labels.contains_key("app")
                && maker.is_some_and(|maker| Some(maker.epoch) == epoch && maker.set == *set_uid)
        };
        let others: Vec<String> = self
            .api
            .pods_on(node)
            .filter(mine)
            .map(|pod| pod.key.name.to_string())
            .collect();
        if others.len() > usize::from(self.surged.contains(set_uid)) {
            let name = &new.key.name;
            let text =
                format!("{name} was created on {node} beside {others:?} by the same controller");
            self.fail(("two pods", text));
        }
    }

    /// A pod was patched. An adoption leaves other owners alone.
    pub(super) fn check_patched(
        &mut self,
        request: &Request,
        before: Option<&Stored>,
        after: &Stored,
    ) {
        let (Request::PatchPod { purpose, uid, .. }, Some(before)) = (request, before) else {
            return;
        };
        if let (Purpose::Relabel, Some(pod)) = (purpose, after.pod()) {
            self.check_hash(pod);
        }
        if before.uid() != uid && before.version() != after.version() {
            let text = format!("{purpose:?} of {uid} changed {}", before.uid());
            self.fail(("patch: another pod", text));
            return;
        }
        let owners = "/metadata/ownerReferences";
        let is_controller = |owner: &&serde_json::Value| owner["controller"] == true;
        let others = list(&before.json, owners)
            .iter()
            .filter(|owner| !is_controller(owner));
        let lost = others
            .into_iter()
            .find(|owner| !list(&after.json, owners).contains(owner));
        if let Some(lost) = lost {
            let text = format!("{purpose:?} of {uid} removed its owner {lost}");
            self.fail(("patch: owner lost", text));
        }
    }

    /// The revision that a pod's hash names holds the template which the pod was made from.
    fn check_hash(&mut self, pod: &Pod) {
        let Some(hash) = pod.hash() else {
            return;
        };
        let named = self.api.revisions().find(|revision| {
            revision.hash() == hash
                && revision.key.namespace == pod.key.namespace
                && revision.owner == pod.owner
        });
        if let Some(named) = named.filter(|named| named.tag != pod.tag) {
            let text = format!(
                "{} is made from `{}` and carries the hash of {}, which holds `{}`",
                pod.key, pod.tag, named.key, named.tag
            );
            self.fail(("wrong hash", text));
        }
    }
}
