//! Carries out what was decided about one object.

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};

use super::{
    decide::{Decision, Propagation, decide},
    graph::{Case, Dependent, FOREGROUND, Node, ORPHAN},
};
use pandaemon_client::{
    discovery::ApiResources,
    errors,
    object_meta::{Key, OwnerReference, PartialObjectMetadata},
    rest::{Patch, Rest},
};

/// Dependents of one owner that are orphaned at the same time.
const AT_ONCE: usize = 32;

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more to do until something changes.
    Done,
    /// Come back after a while.
    Retry,
    /// These owners are gone for certain: decide again.
    Absent(Vec<String>),
    /// Decide about these objects.
    Attempt(Vec<String>),
    /// The object itself is gone.
    Vanished,
}

/// What the requests need.
#[derive(Clone)]
pub struct Actor {
    /// The client.
    pub api: Rest,
    /// The kinds that are served.
    pub kinds: Arc<ApiResources>,
}

impl Actor {
    /// Decides and acts.
    pub async fn handle(&self, case: Case) -> Outcome {
        let outcome = match decide(&case) {
            Decision::Keep => Ok(Outcome::Done),
            Decision::Wait(others) => Ok(Outcome::Attempt(others)),
            Decision::Orphan(dependents) => self.orphan(&case, &dependents).await,
            Decision::Release => self.drop_finalizer(&case, FOREGROUND).await,
            Decision::LookFor(owners) => self.look_for(&case.node, owners).await,
            Decision::DropOwners(uids) => {
                self.edit_owners(&case.uid, &case.node, |owners| {
                    owners.retain(|owner| !uids.contains(&owner.uid));
                })
                .await
            }
            Decision::Delete {
                propagation,
                unblock,
            } => self.delete(&case, propagation, unblock).await,
        };
        outcome.unwrap_or_else(|error| {
            if !errors::is_conflict(&error) {
                tracing::debug!(object = %case.node.key, kind = case.node.kind.kind, %error, "not collected yet");
            }
            Outcome::Retry
        })
    }

    async fn look_for(&self, node: &Node, owners: Vec<OwnerReference>) -> kube::Result<Outcome> {
        let mut absent = Vec::new();
        for owner in owners {
            let Some(kind) = self.kinds.find(&owner.api_version, &owner.kind) else {
                // Not served now does not mean gone: a custom kind may come back.
                return Ok(Outcome::Retry);
            };
            let namespace = if kind.namespaced {
                node.key.namespace.as_str()
            } else {
                ""
            };
            if kind.namespaced && namespace.is_empty() {
                // A cluster-scoped object cannot be owned by a namespaced one; upstream leaves it alone.
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
        // An owner that is there but not in the graph will come through its watch, which then links the two.
        Ok(if absent.is_empty() {
            Outcome::Done
        } else {
            Outcome::Absent(absent)
        })
    }

    async fn delete(
        &self,
        case: &Case,
        propagation: Propagation,
        unblock: bool,
    ) -> kube::Result<Outcome> {
        let node = &case.node;
        let mut version = Some(node.version.clone());
        if unblock {
            let unblocked = self
                .edit_owners(&case.uid, node, |owners| {
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
        let Some(propagation) = self.chosen(&case.uid, node, propagation).await? else {
            return Ok(Outcome::Vanished);
        };
        let mut preconditions = json!({ "uid": case.uid });
        if let Some(version) = version {
            preconditions["resourceVersion"] = json!(version);
        }
        let options =
            json!({ "preconditions": preconditions, "propagationPolicy": propagation.as_str() });
        let found = self
            .api
            .delete(&node.kind.object(&node.key), &options)
            .await?;
        Ok(if found {
            Outcome::Done
        } else {
            Outcome::Vanished
        })
    }

    /// A finalizer that a user has set beforehand wins over the usual way. Pods rarely have one, so only objects that
    /// may have dependents are looked at.
    async fn chosen(
        &self,
        uid: &str,
        node: &Node,
        usual: Propagation,
    ) -> kube::Result<Option<Propagation>> {
        if node.kind.plural == "pods" || node.kind.plural == "controllerrevisions" {
            return Ok(Some(usual));
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
        Ok(Some(match usual {
            _ if has(ORPHAN) => Propagation::Orphan,
            _ if has(FOREGROUND) => Propagation::Foreground,
            usual => usual,
        }))
    }

    async fn orphan(&self, case: &Case, dependents: &[Dependent]) -> kube::Result<Outcome> {
        let release = |dependent: &Dependent| {
            let (uid, node) = (dependent.uid.clone(), dependent.node.clone());
            let (actor, owner) = (self.clone(), case.uid.clone());
            async move {
                let let_go =
                    |owners: &mut Vec<OwnerReference>| owners.retain(|known| known.uid != owner);
                actor.edit_owners(&uid, &node, let_go).await
            }
        };
        let releases: Vec<_> = dependents.iter().map(release).collect();
        let mut releases = stream::iter(releases).buffer_unordered(AT_ONCE);
        while releases.try_next().await?.is_some() {}
        self.drop_finalizer(case, ORPHAN).await
    }

    /// Reads the object's references live, changes them, and writes them if nobody else did meanwhile.
    async fn edit_owners(
        &self,
        uid: &str,
        node: &Node,
        edit: impl Fn(&mut Vec<OwnerReference>),
    ) -> kube::Result<Outcome> {
        let path = node.kind.object(&node.key);
        let Some(live) = self.live(&path, uid).await? else {
            return Ok(Outcome::Vanished);
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

    async fn drop_finalizer(&self, case: &Case, finalizer: &str) -> kube::Result<Outcome> {
        let path = case.node.kind.object(&case.node.key);
        let Some(live) = self.live(&path, &case.uid).await? else {
            return Ok(Outcome::Vanished);
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
            "uid": case.uid, "resourceVersion": live.metadata.resource_version, "finalizers": finalizers,
        }});
        self.patch(&path, &body).await
    }

    async fn live(&self, path: &str, uid: &str) -> kube::Result<Option<PartialObjectMetadata>> {
        let live = self.api.get_metadata::<PartialObjectMetadata>(path).await?;
        Ok(live.filter(|live| live.metadata.uid == uid))
    }

    async fn patch(&self, path: &str, body: &Value) -> kube::Result<Outcome> {
        match self.api.patch(path, Patch::Merge, body).await {
            Err(error) if errors::is_not_found(&error) => Ok(Outcome::Vanished),
            other => other.map(|()| Outcome::Done),
        }
    }
}
