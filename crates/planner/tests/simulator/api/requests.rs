//! The requests of controllers, with the answers of the API server: admission, preconditions, 403,
//! 404, 409 and 422.

use std::rc::Rc;

use serde_json::{Value, json};

use super::{Admission, Api, Kind, PatchForm, Stored};
use crate::{
    objects::{Pod, Revision},
    value::{Key, Text, list, text, time_text},
};

/// A `Status` that is no success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: u16, reason: &'static str, message: &str) -> Self {
        Self {
            code,
            reason,
            message: message.to_owned(),
        }
    }

    fn not_found(key: &Key) -> Self {
        Self::new(404, "NotFound", &format!("{key} not found"))
    }

    fn other_uid(wanted: &str, found: &str) -> Self {
        let message = format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
        );
        Self::new(409, "Conflict", &message)
    }
}

/// Which controller process asked for a pod, and for which set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Maker {
    pub(crate) epoch: u32,
    pub(crate) set: Text,
}

impl Api {
    /// POST of a pod.
    pub(crate) fn create_pod(
        &mut self,
        body: &Value,
        maker: Option<Maker>,
    ) -> Result<Rc<Stored>, Refusal> {
        let pod = Pod::read(body);
        self.admit_create(&pod)?;
        if self.get(Kind::Pods, &pod.key).is_some() {
            let message = format!("pods \"{}\" already exists", pod.key.name);
            return Err(Refusal::new(409, "AlreadyExists", &message));
        }
        let mut body = body.clone();
        body["metadata"]["uid"] = json!(self.new_uid("pod"));
        body["metadata"]["creationTimestamp"] = json!(time_text(self.now));
        body["status"] = json!({"phase": "Pending"});
        let stored = self.put(Kind::Pods, body);
        if let Some(maker) = maker {
            self.makers.insert(stored.uid().clone(), maker);
        }
        Ok(stored)
    }

    fn admit_create(&self, pod: &Pod) -> Result<(), Refusal> {
        self.admit_namespace(&pod.key.namespace)?;
        Admission::webhook(&self.admission.create, pod.labels.get("app"), pod.place())?;
        let namespace = &pod.key.namespace;
        if !self.admission.quotas.contains_key(namespace) {
            return Ok(());
        }
        let used = self.pods().filter(|pod| pod.key.namespace == *namespace);
        self.admission.quota(namespace, used.count(), self.now)
    }

    fn admit_namespace(&self, namespace: &Text) -> Result<(), Refusal> {
        if !self.terminating.contains(namespace) {
            return Ok(());
        }
        let message = format!("namespace {namespace} is being terminated");
        Err(Refusal::new(403, "NamespaceTerminating", &message))
    }

    /// POST of a revision.
    pub(crate) fn create_revision(&mut self, body: &Value) -> Result<Rc<Stored>, Refusal> {
        let revision = Revision::read(body);
        self.admit_namespace(&revision.key.namespace)?;
        self.admission
            .revision(&revision.key, revision.labels.get("app"))?;
        if self.get(Kind::Revisions, &revision.key).is_some() {
            let message = format!("revision {} already exists", revision.key);
            return Err(Refusal::new(409, "AlreadyExists", &message));
        }
        let mut body = body.clone();
        body["metadata"]["uid"] = json!(self.new_uid("revision"));
        body["metadata"]["creationTimestamp"] = json!(time_text(self.now));
        Ok(self.put(Kind::Revisions, body))
    }

    /// DELETE with a uid as precondition. Returns the object as it is after that, or as it was.
    pub(crate) fn delete(
        &mut self,
        kind: Kind,
        key: &Key,
        uid: &str,
    ) -> Result<Rc<Stored>, Refusal> {
        let found = self.get(kind, key).ok_or_else(|| Refusal::not_found(key))?;
        let found = Rc::clone(found);
        if **found.uid() != *uid {
            return Err(Refusal::other_uid(uid, found.uid()));
        }
        match found.pod() {
            Some(pod) => {
                let rules = &self.admission.delete;
                Admission::webhook(rules, pod.labels.get("app"), pod.place())?;
                self.delete_pod(uid);
            }
            None => self.remove(kind, key),
        }
        Ok(self.get(kind, key).map_or(found, Rc::clone))
    }

    /// PATCH of an object, or of its `status`.
    pub(crate) fn patch(
        &mut self,
        kind: Kind,
        key: &Key,
        form: PatchForm,
        body: &Value,
        status_only: bool,
    ) -> Result<Rc<Stored>, Refusal> {
        let old = self.get(kind, key).ok_or_else(|| Refusal::not_found(key))?;
        let old = Rc::clone(old);
        let mut new = form.apply(&old.json, body);
        check_identity(&old.json, &new)?;
        if status_only {
            let status = new["status"].take();
            new = old.json.clone();
            new["status"] = status;
        } else {
            if let Some(pod) = old.pod() {
                let rules = &self.admission.patch;
                Admission::webhook(rules, pod.labels.get("app"), pod.place())?;
            }
            validate(&new)?;
        }
        if new == old.json {
            return Ok(old);
        }
        Ok(self.put(kind, new))
    }
}

/// The uid and the version that the client names are those of the object.
fn check_identity(old: &Value, new: &Value) -> Result<(), Refusal> {
    let (wanted, found) = (text(new, "/metadata/uid"), text(old, "/metadata/uid"));
    if wanted != found {
        return Err(Refusal::other_uid(wanted, found));
    }
    let version = "/metadata/resourceVersion";
    if text(new, version) != text(old, version) {
        let message =
            "the object has been modified; please apply your changes to the latest version";
        return Err(Refusal::new(409, "Conflict", message));
    }
    Ok(())
}

/// Upstream's `ValidateObjectMeta`, as far as it matters here.
fn validate(new: &Value) -> Result<(), Refusal> {
    let owners = list(new, "/metadata/ownerReferences").iter();
    let controllers = owners.filter(|owner| owner["controller"] == json!(true));
    if controllers.count() > 1 {
        let message =
            "metadata.ownerReferences: Only one reference can have Controller set to true";
        return Err(Refusal::new(422, "Invalid", message));
    }
    let complete = |owner: &Value| {
        let fields = ["/apiVersion", "/kind", "/name", "/uid"];
        fields.iter().all(|field| !text(owner, field).is_empty())
    };
    if !list(new, "/metadata/ownerReferences").iter().all(complete) {
        let message = "metadata.ownerReferences: uid, name, kind and apiVersion must not be empty";
        return Err(Refusal::new(422, "Invalid", message));
    }
    Ok(())
}
