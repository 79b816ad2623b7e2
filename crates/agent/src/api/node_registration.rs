//! Which Node object the agent has registered, and whether the server has said that this object was
//! deleted. Then the rights of this node have ended, and its pods are to end.
//!
//! Only one answer says so: 403 with the cause `NodeDeleted` and the uid of the object. All other
//! answers with 401 or 403 change nothing on the node: the server may have lost its data, or its
//! policy may be wrong.

use std::sync::Arc;

use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::{Client, client::Body, core::Status};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::identity::Identity;

/// The file of the identity with the uid of the Node.
const UID_FILE: &str = "node-uid";
/// The largest response in bytes that is read to the end; refusals are small.
const MAX_REFUSAL: usize = 1 << 20;

/// The Node object of this node.
pub(crate) struct NodeRegistration {
    node: String,
    identity: Identity,
    /// The uid of the Node object that this node has registered.
    uid: Mutex<Option<String>>,
    /// The uid of the Node object, when it was deleted.
    deleted: watch::Sender<Option<String>>,
}

impl NodeRegistration {
    /// The registration of an earlier agent with this identity, if there was one.
    pub(crate) fn load(node: &str, identity: Identity) -> Arc<Self> {
        let uid = identity.read(UID_FILE).ok();
        Arc::new(Self {
            node: node.to_owned(),
            identity,
            uid: Mutex::new(uid.map(|uid| uid.trim().to_owned())),
            deleted: watch::Sender::new(None),
        })
    }

    /// Remembers the Node object, also for later agents: only the deletion of this one counts.
    pub(crate) fn set_uid(&self, uid: &str) {
        let mut known = self.uid.lock();
        if uid.is_empty() || known.as_deref() == Some(uid) {
            return;
        }
        *known = Some(uid.to_owned());
        if let Err(error) = self.identity.write(UID_FILE, uid) {
            tracing::warn!("cannot save the uid of this Node: {error:#}");
        }
    }

    /// Whether the server has said that the Node was deleted.
    #[cfg(test)]
    pub(crate) fn is_deleted(&self) -> bool {
        self.deleted.borrow().is_some()
    }

    /// Resolves with the uid of the Node when the server has said that it was deleted.
    pub(crate) async fn deleted(&self) -> String {
        let mut deleted = self.deleted.subscribe();
        loop {
            let uid = deleted.borrow_and_update().clone();
            match uid {
                Some(uid) => return uid,
                // The sender lives as long as `self`.
                None => {
                    let _closed = deleted.changed().await;
                }
            }
        }
    }

    /// A client that looks at each answer to what it sends with this client.
    pub(crate) fn watch(self: &Arc<Self>, client: Client) -> Client {
        let this = Arc::clone(self);
        let service = tower::service_fn(move |request| {
            let (this, client) = (Arc::clone(&this), client.clone());
            async move { this.look(client.send(request).await?).await }
        });
        Client::new(service, "default")
    }

    async fn look(&self, response: Response<Body>) -> kube::Result<Response<Body>> {
        if response.status() != StatusCode::FORBIDDEN {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_REFUSAL).collect().await;
        let body = body.map_err(kube::Error::Service)?.to_bytes();
        let status: Option<Status> = serde_json::from_slice(&body).ok();
        if let Some((node, uid)) = status.as_ref().and_then(deleted_node) {
            self.take(node, uid);
        }
        Ok(Response::from_parts(head, Body::from(body.to_vec())))
    }

    fn take(&self, node: &str, uid: &str) {
        if self.deleted.borrow().is_some() {
            return;
        }
        let known = self.uid.lock().clone();
        if node == self.node && known.as_deref() == Some(uid) {
            tracing::warn!(
                node,
                uid,
                "the Node was deleted: ending the pods of this node"
            );
            self.deleted.send_replace(Some(uid.to_owned()));
        } else {
            let known = known.as_deref().unwrap_or("none");
            tracing::debug!(node, uid, known, "ignored the deletion of another Node");
        }
    }
}

/// Name and uid of the Node whose deletion is the reason of a refusal.
pub(super) fn deleted_node(status: &Status) -> Option<(&str, &str)> {
    let details = status.details.as_ref()?;
    let mut causes = details.causes.iter();
    let deleted = causes.any(|cause| cause.reason == "NodeDeleted");
    let is_ours = deleted && details.kind == "nodes" && !details.uid.is_empty();
    is_ours.then_some((details.name.as_str(), details.uid.as_str()))
}
