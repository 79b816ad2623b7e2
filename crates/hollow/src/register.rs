//! Creates the node objects as kubelets do, and deletes them on request.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use jiff::Timestamp;
use pandaemon_client::{
    errors,
    object_meta::PartialObjectMetadata,
    rest::{JSON, Patch, Rest},
};

use crate::node::HollowNodes;

/// The uid of each node by its number, once it is registered.
pub(crate) type NodeUids = Arc<[OnceLock<Box<str>>]>;

/// Registers the nodes with these numbers; `each` is called after every one.
///
/// # Errors
/// When a node cannot be created within about a minute.
pub(crate) async fn register(
    rest: &Rest,
    nodes: &HollowNodes,
    uids: &NodeUids,
    parallel: usize,
    numbers: std::ops::Range<u32>,
    each: impl Fn(),
) -> anyhow::Result<()> {
    let (uids, each) = (&**uids, &each);
    stream::iter(numbers)
        .map(|index| async move {
            let uid = retry_transient(|| create_or_adopt(rest, nodes, index)).await;
            let uid = uid.with_context(|| format!("register node {}", nodes.name(index)))?;
            if let Some(uid_cell) = usize::try_from(index)
                .ok()
                .and_then(|index| uids.get(index))
            {
                uid_cell.get_or_init(|| uid);
            }
            each();
            anyhow::Ok(())
        })
        .buffer_unordered(parallel)
        .try_collect()
        .await
}

/// Sends a request again while it fails with a transient error, for about a minute.
async fn retry_transient<T, F: Future<Output = kube::Result<T>>>(
    mut attempt: impl FnMut() -> F,
) -> kube::Result<T> {
    let mut wait = Duration::from_millis(50);
    loop {
        match attempt().await {
            Err(error) if errors::is_transient(&error) && wait < Duration::from_secs(30) => {
                tracing::debug!(%error, ?wait, "trying again");
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            result => return result,
        }
    }
}

async fn create_or_adopt(rest: &Rest, nodes: &HollowNodes, index: u32) -> kube::Result<Box<str>> {
    let node = nodes.node(index, Timestamp::now());
    let created = rest.send(Method::POST, "/api/v1/nodes", JSON, node).await;
    let node: PartialObjectMetadata = match created {
        // It was created by an earlier process.
        Err(error) if errors::is_conflict(&error) => adopt(rest, nodes, index).await?,
        result => result?,
    };
    Ok(node.metadata.uid.into())
}

async fn adopt(
    rest: &Rest,
    nodes: &HollowNodes,
    index: u32,
) -> kube::Result<PartialObjectMetadata> {
    let (labels, status) = nodes.adoption_patches(index, Timestamp::now());
    let path = format!("/api/v1/nodes/{}", nodes.name(index));
    rest.send_only(Method::PATCH, &path, Patch::Merge.media_type(), labels)
        .await?;
    let path = format!("{path}/status");
    rest.send(Method::PATCH, &path, Patch::Strategic.media_type(), status)
        .await
}

/// Deletes the nodes with these numbers. Returns how many existed; failures are logged.
pub(crate) async fn delete(
    rest: &Rest,
    nodes: &HollowNodes,
    parallel: usize,
    numbers: std::ops::Range<u32>,
    each: impl Fn(),
) -> usize {
    let each = &each;
    let deleted = stream::iter(numbers).map(|index| async move {
        let path = format!("/api/v1/nodes/{}", nodes.name(index));
        let delete = || rest.send_only(Method::DELETE, &path, JSON, b"{}".to_vec());
        let deleted = retry_transient(delete).await;
        each();
        match deleted {
            Ok(()) => true,
            Err(error) if errors::is_not_found(&error) => false,
            Err(error) => {
                tracing::warn!(node = nodes.name(index), %error, "cannot delete the node");
                false
            }
        }
    });
    deleted
        .buffer_unordered(parallel)
        .filter(|done| std::future::ready(*done))
        .count()
        .await
}
