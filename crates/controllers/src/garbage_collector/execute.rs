//! Carries out the decision about one object.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use pandaemon_client::{
    discovery::ApiResources,
    errors,
    object_meta::{Key, OwnerReference, PartialObjectMetadata},
    rest::{Patch, Rest},
};
use serde_json::{Value, json};

use super::{
    attempt_to_delete::{Decision, Propagation, decide},
    graph::{DeletionAttempt, Dependent, FOREGROUND, Node, ORPHAN},
};

/// Dependents of one owner whose references are removed at the same time.
const CONCURRENT_ORPHANS: usize = 32;

/// The result of the requests for one object.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more to do until an event.
    Done,
    /// Try again after a back-off.
    Retry,
    /// These owners do not exist: decide again.
    Absent(Vec<String>),
    /// Attempt to delete these objects.
    Attempt(Vec<String>),
    /// The object itself does not exist any more.
    Gone,
}

/// Sends the requests for one object.
#[derive(Clone)]
pub struct Executor {
    /// The API client.
    pub api: Rest,
    /// The kinds that are served.
    pub kinds: Arc<ApiResources>,
}

impl Executor {
    /// Decides and acts.
    pub async fn handle(&self, attempt: DeletionAttempt) -> Outcome {
        let outcome = match decide(&attempt) {
            Decision::Nothing => Ok(Outcome::Done),
            Decision::DeleteDependents(others) => Ok(Outcome::Attempt(others)),
            Decision::Orphan(dependents) => self.orphan(&attempt, &dependents).await,
            Decision::RemoveForegroundFinalizer => {
                self.remove_finalizer(&attempt, FOREGROUND).await
            }
            Decision::GetOwners(owners) => self.get_owners(&attempt.node, owners).await,
            Decision::RemoveOwnerReferences(uids) => {
                self.edit_owner_references(&attempt.uid, &attempt.node, |owners| {
                    owners.retain(|owner| !uids.contains(&owner.uid));
                })
                .await
            }
            Decision::Delete {
                propagation,
                unblock,
            } => self.delete(&attempt, propagation, unblock).await,
        };
        outcome.unwrap_or_else(|error| {
            if !errors::is_conflict(&error) {
                tracing::debug!(object = %attempt.node.key, kind = attempt.node.kind.kind, %error, "not collected yet");
            }
            Outcome::Retry
        })
    }

    async fn get_owners(&self, node: &Node, owners: Vec<OwnerReference>) -> kube::Result<Outcome> {
        let mut absent = Vec::new();
        for owner in owners {
            let Some(kind) = self.kinds.find(&owner.api_version, &owner.kind) else {
                // The owner of a kind that is not served may still exist: a custom kind may come
                // back.
                return Ok(Outcome::Retry);
            };
            let namespace = if kind.namespaced {
                node.key.namespace.as_str()
            } else {
                ""
            };
            if kind.namespaced && namespace.is_empty() {
                // A cluster-scoped object cannot have a namespaced owner; upstream ignores the
                // reference.
                return Ok(Outcome::Done);
            }
            let path = kind.object(&Key::new(namespace, owner.name.clone()));
            match self
                .api
                .get_metadata::<PartialObjectMetadata>(&path)
                .await?
            {
                Some(found) if found.metadata.uid == owner.uid => (),
                _ => absent.push(owner.uid),
            }
        }
        // An owner that exists and is not in the graph will come through its watch, which links the
        // two.
        Ok(if absent.is_empty() {
            Outcome::Done
        } else {
            Outcome::Absent(absent)
        })
    }

    async fn delete(
        &self,
        attempt: &DeletionAttempt,
        propagation: Propagation,
        unblock: bool,
    ) -> kube::Result<Outcome> {
        let node = &attempt.node;
        let mut version = Some(node.version.clone());
        if unblock {
            let unblocked = self
                .edit_owner_references(&attempt.uid, node, |owners| {
                    owners
                        .iter_mut()
                        .for_each(|owner| owner.block_owner_deletion = Some(false));
                })
                .await?;
            if unblocked != Outcome::Done {
                return Ok(unblocked);
            }
            version = None;
        }
        let Some(propagation) = self
            .propagation_for(&attempt.uid, node, propagation)
            .await?
        else {
            return Ok(Outcome::Gone);
        };
        let mut preconditions = json!({ "uid": attempt.uid });
        if let Some(version) = version {
            preconditions["resourceVersion"] = json!(version);
        }
        let options =
            json!({ "preconditions": preconditions, "propagationPolicy": propagation.as_str() });
        let found = self
            .api
            .delete(&node.kind.object(&node.key), &options)
            .await?;
        Ok(if found { Outcome::Done } else { Outcome::Gone })
    }

    /// The propagation policy: a finalizer `orphan` or `foregroundDeletion` of the live object has
    /// precedence. Pods and revisions have no dependents, so they are not read again.
    async fn propagation_for(
        &self,
        uid: &str,
        node: &Node,
        default: Propagation,
    ) -> kube::Result<Option<Propagation>> {
        if node.kind.plural == "pods" || node.kind.plural == "controllerrevisions" {
            return Ok(Some(default));
        }
        let live = self
            .api
            .get_metadata::<PartialObjectMetadata>(&node.kind.object(&node.key))
            .await?;
        let Some(live) = live.filter(|live| live.metadata.uid == uid) else {
            return Ok(None);
        };
        let has = |finalizer: &str| {
            live.metadata
                .finalizers
                .iter()
                .any(|known| known == finalizer)
        };
        Ok(Some(match default {
            _ if has(ORPHAN) => Propagation::Orphan,
            _ if has(FOREGROUND) => Propagation::Foreground,
            default => default,
        }))
    }

    async fn orphan(
        &self,
        attempt: &DeletionAttempt,
        dependents: &[Dependent],
    ) -> kube::Result<Outcome> {
        let release = |dependent: &Dependent| {
            let (uid, node) = (dependent.uid.clone(), dependent.node.clone());
            let (executor, owner) = (self.clone(), attempt.uid.clone());
            async move {
                let without_owner =
                    |owners: &mut Vec<OwnerReference>| owners.retain(|known| known.uid != owner);
                executor
                    .edit_owner_references(&uid, &node, without_owner)
                    .await
            }
        };
        let releases: Vec<_> = dependents.iter().map(release).collect();
        let mut releases = stream::iter(releases).buffer_unordered(CONCURRENT_ORPHANS);
        // A dependent that cannot be changed does not keep the others.
        let mut failure = None;
        while let Some(outcome) = releases.next().await {
            failure = failure.or(outcome.err());
        }
        match failure {
            Some(error) => Err(error),
            None => self.remove_finalizer(attempt, ORPHAN).await,
        }
    }

    /// Reads the object's owner references live, changes them, and writes them unless the object
    /// has changed meanwhile.
    async fn edit_owner_references(
        &self,
        uid: &str,
        node: &Node,
        edit: impl Fn(&mut Vec<OwnerReference>),
    ) -> kube::Result<Outcome> {
        let path = node.kind.object(&node.key);
        let Some(live) = self.live(&path, uid).await? else {
            return Ok(Outcome::Gone);
        };
        let before = live.metadata.owner_references.to_vec();
        let mut owners = before.clone();
        edit(&mut owners);
        if owners == before {
            return Ok(Outcome::Done);
        }
        let owners = if owners.is_empty() {
            Value::Null
        } else {
            json!(owners)
        };
        let body = json!({ "metadata": {
            "uid": uid, "resourceVersion": live.metadata.resource_version, "ownerReferences": owners,
        }});
        self.patch(&path, &body).await
    }

    async fn remove_finalizer(
        &self,
        attempt: &DeletionAttempt,
        finalizer: &str,
    ) -> kube::Result<Outcome> {
        let path = attempt.node.kind.object(&attempt.node.key);
        let Some(live) = self.live(&path, &attempt.uid).await? else {
            return Ok(Outcome::Gone);
        };
        let mut finalizers = live.metadata.finalizers;
        let before = finalizers.len();
        finalizers.retain(|known| known != finalizer);
        if finalizers.len() == before {
            return Ok(Outcome::Done);
        }
        let finalizers = if finalizers.is_empty() {
            Value::Null
        } else {
            json!(finalizers)
        };
        let body = json!({ "metadata": {
            "uid": attempt.uid, "resourceVersion": live.metadata.resource_version, "finalizers": finalizers,
        }});
        self.patch(&path, &body).await
    }

    async fn live(&self, path: &str, uid: &str) -> kube::Result<Option<PartialObjectMetadata>> {
        let live = self.api.get_metadata::<PartialObjectMetadata>(path).await?;
        Ok(live.filter(|live| live.metadata.uid == uid))
    }

    async fn patch(&self, path: &str, body: &Value) -> kube::Result<Outcome> {
        match self.api.patch(path, Patch::Merge, body).await {
            Err(error) if errors::is_not_found(&error) => Ok(Outcome::Gone),
            other => other.map(|()| Outcome::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use pandaemon_client::discovery::ApiResource;

    use super::*;
    use crate::fake_server;

    fn node(name: &str) -> Node {
        let kind = ApiResource {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "configmaps".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespaced: true,
            verbs: Vec::new(),
        };
        Node {
            kind: Arc::new(kind),
            key: Key::new("a", name),
            version: "1".to_owned(),
            owners: Arc::from([]),
            deleting: false,
            foreground: false,
            orphaning: name == "owner",
        }
    }

    #[tokio::test]
    async fn a_dependent_that_cannot_be_orphaned_does_not_keep_the_others() {
        const DEPENDENTS: usize = 2 * CONCURRENT_ORPHANS;
        let (client, sent) = fake_server::client(|sent| {
            let name = sent.path.rsplit('/').next().unwrap_or_default();
            if sent.method == "PATCH" {
                return match name {
                    "d0" => fake_server::refused(),
                    _ => (200, json!({})),
                };
            }
            let owners = json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "owner" }]);
            let metadata = json!({
                "namespace": "a", "name": name, "uid": name, "ownerReferences": owners,
                "finalizers": [ORPHAN],
            });
            (200, json!({ "metadata": metadata }))
        });
        let executor = Executor {
            api: Rest::new(client),
            kinds: Arc::default(),
        };
        let dependent = |index: usize| Dependent {
            uid: format!("d{index}"),
            node: node(&format!("d{index}")),
            blocks: false,
        };
        let attempt = DeletionAttempt {
            uid: "owner".to_owned(),
            node: node("owner"),
            owners: Vec::new(),
            dependents: (0..DEPENDENTS).map(dependent).collect(),
        };
        assert_eq!(executor.handle(attempt).await, Outcome::Retry);
        let sent = sent.lock();
        let patched = sent.iter().filter(|sent| sent.method == "PATCH");
        assert_eq!(patched.clone().count(), DEPENDENTS);
        let finalized = patched.filter(|sent| sent.path.ends_with("/owner"));
        assert_eq!(finalized.count(), 0, "the owner waits for d0");
    }
}
