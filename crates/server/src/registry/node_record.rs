//! The record of a node's keys: a Secret. A certificate of the node counts while its key is in it.
//! The deletion of the Node takes the keys out in the same transaction, so that its rights end at
//! once.

mod state;

use jiff::Timestamp;
use pandaemon_machinery::{
    KindRef, Status,
    decode::Decoded,
    status::{Cause, Details, Result},
};
use pandaemon_store::{Expect, Key, Op, Write};
use serde_json::{Value, json};

pub(crate) use self::state::{Claim, Proof};
use self::state::{Record, Verdict};
use super::{
    Call, Registry, kinds, meta,
    options::{DeleteOptions, Preconditions},
};
use crate::{cache::object, cache::watch_cache::key, pki::ClientCertificate};

/// The namespace of the records.
const NAMESPACE: &str = "kube-system";
/// What follows the name of the node in the name of its record. Records were made for secrets of
/// nodes first.
const SUFFIX: &str = ".node-password.pandaemon";
/// The type of the Secret.
const TYPE: &str = "pandaemon.dev/node-password";
/// How long a deletion is remembered: longer than any certificate of a node is valid.
const REMEMBERED_SECONDS: i64 = 366 * 24 * 3600;
/// How often a claim is tried when another changes the record meanwhile.
const TRIES: usize = 8;

impl Registry {
    /// Refuses a request that comes with a certificate of a node whose key is not in the record of
    /// the node.
    ///
    /// # Errors
    /// 403 with the cause `NodeDeleted` if the Node was deleted, else 401.
    pub(crate) fn check_node_key(&self, certificate: &ClientCertificate) -> Result<()> {
        let Some(node) = certificate.user.node() else {
            return Ok(());
        };
        let name = format!("{node}{SUFFIX}");
        let Some(found) = self.find(kinds::secrets()?, NAMESPACE, &name) else {
            return Err(unknown_key(node));
        };
        if certificate.was_found_at(found.revision) {
            return Ok(());
        }
        let value = found.value().map_err(super::unreadable)?;
        match Record::of(&value).verdict(&certificate.key) {
            Verdict::Counts => {
                certificate.set_found_at(found.revision);
                Ok(())
            }
            Verdict::Deleted(uid) => Err(node_deleted(node, uid)),
            Verdict::Unknown => Err(unknown_key(node)),
        }
    }

    /// Enters a key in the record of a node, for which certificates will be signed.
    ///
    /// # Errors
    /// 403 if the name belongs to another machine; 503 when the store refuses.
    pub(crate) async fn claim_node(&self, claim: &Claim<'_>) -> Result<()> {
        let name = format!("{}{SUFFIX}", claim.node);
        let call = self.internal_call(kinds::secrets()?, NAMESPACE, &name);
        let nodes = kinds::nodes()?;
        let node_exists = || self.find(nodes, "", claim.node).is_some();
        for _ in 0..TRIES {
            let written = if self.find(&call.kind, NAMESPACE, &name).is_some() {
                let claimed = |old: &Value| {
                    let record = Record::of(old).claimed(claim, node_exists());
                    let record = record.ok_or_else(|| name_taken(claim.node))?;
                    let mut value = old.clone();
                    value["data"] = record.data();
                    Ok(value.into())
                };
                self.guaranteed_update(&call, claimed).await
            } else {
                if node_exists() && !claim.node_may_exist {
                    return Err(name_taken(claim.node));
                }
                let record = Record::empty().claimed(claim, false);
                let record = record.ok_or_else(|| name_taken(claim.node))?;
                let value = json!({
                    "apiVersion": "v1", "kind": "Secret", "type": TYPE,
                    "metadata": {"name": name, "namespace": NAMESPACE}, "data": record.data(),
                });
                let warnings = Vec::new();
                self.create(&call, Decoded { value, warnings }).await
            };
            match written {
                // Another has created or deleted it meanwhile.
                Err(status) if matches!(&*status.reason, "AlreadyExists" | "NotFound") => {}
                other => return other.map(|_| ()),
            }
        }
        Err(Status::modified_since_read(&call.kind, &name))
    }

    /// The write that takes the keys out of the record of a Node, to be done with the Node's
    /// deletion; `None` for other kinds and Nodes without a record.
    pub(super) fn record_after_deletion(&self, call: &Call, object: &Key) -> Result<Option<Write>> {
        let nodes = kinds::nodes()?;
        if !is_same(&call.kind, nodes) {
            return Ok(None);
        }
        let secrets = kinds::secrets()?;
        let (Some(node), Some(record)) = (
            self.cache.of(nodes).and_then(|cache| cache.get(object)),
            self.find(secrets, NAMESPACE, &format!("{}{SUFFIX}", call.name)),
        ) else {
            return Ok(None);
        };
        let node = node.value().map_err(super::unreadable)?;
        let mut value = record.value().map_err(super::unreadable)?;
        let uid = meta::text(&node, "uid");
        value["data"] = Record::of(&value)
            .after_deletion(uid, call.now.as_second())
            .data();
        let index = secrets.strategy.indexed_field();
        let encoded = object::encode(&value, index).map_err(Status::internal)?;
        Ok(Some(Write {
            key: key(secrets, NAMESPACE, record.name()),
            expect: Expect::At(record.revision),
            op: Op::Put(encoded.bytes),
            note: Some(std::sync::Arc::new(encoded.head)),
        }))
    }

    /// Deletes records that only remember deletions of Nodes from long ago.
    ///
    /// # Errors
    /// The status of a failed deletion.
    pub(crate) async fn forget_deleted_nodes(&self, now: Timestamp) -> Result<()> {
        let kind = kinds::secrets()?;
        let before = now.as_second() - REMEMBERED_SECONDS;
        let records = self.cache.of(kind).into_iter();
        let records = records.flat_map(|cache| cache.every());
        for record in records.filter(|one| one.namespace() == NAMESPACE) {
            let is_outdated = record.name().ends_with(SUFFIX)
                && record
                    .value()
                    .is_ok_and(|value| Record::of(&value).is_outdated(before));
            if is_outdated {
                let call = self.internal_call(kind, NAMESPACE, record.name());
                // Not if the name has been claimed meanwhile.
                let version = Some(record.revision.to_string());
                let options = DeleteOptions {
                    preconditions: Preconditions {
                        resource_version: version,
                        ..Preconditions::default()
                    },
                    ..DeleteOptions::default()
                };
                match self.delete(&call, &options).await {
                    Err(status) if !matches!(status.code, 404 | 409) => return Err(status),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn is_same(one: &KindRef, other: &KindRef) -> bool {
    (&one.group, &one.plural) == (&other.group, &other.plural)
}

/// The status of a certificate whose key is in no record (401).
fn unknown_key(node: &str) -> Box<Status> {
    let text = format!(
        "Unauthorized: the record of node {node:?} has no key of this client certificate: join again, with a token"
    );
    Status::failure(401, "Unauthorized", text)
}

/// The status of a certificate of a node that was deleted (403).
fn node_deleted(node: &str, uid: &str) -> Box<Status> {
    let text = format!(
        "nodes {node:?} is forbidden: the node was deleted (UID {uid}), and its certificates no longer count; to use the machine again, join it as a new node"
    );
    Status::failure(403, "Forbidden", text).with_details(Details {
        name: node.into(),
        kind: "nodes".into(),
        uid: uid.into(),
        causes: vec![Cause {
            reason: "NodeDeleted".into(),
            message: format!("node {node:?} was deleted"),
            field: String::new(),
        }],
        ..Details::default()
    })
}

/// The status of a name that belongs to another machine (403).
fn name_taken(node: &str) -> Box<Status> {
    let text = format!(
        "node {node:?} belongs to another machine (its key differs): choose another --node-name, or remove the old node first with: kubectl delete node {node} (if there is no such node: kubectl -n {NAMESPACE} delete secret {node}{SUFFIX})"
    );
    Status::failure(403, "Forbidden", text).with_details(Details {
        name: node.into(),
        kind: "nodes".into(),
        ..Details::default()
    })
}
