//! Creates the node objects as kubelets do, and deletes them on request.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::Method;
use jiff::Timestamp;
use kube::Client;
use serde::Deserialize;

use crate::{
    api::{self, Body},
    node::HollowNodes,
};

/// The uid of each node by its number, once it is registered.
pub(crate) type NodeUids = Arc<[OnceLock<Box<str>>]>;

#[derive(Deserialize)]
struct Node {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    uid: Box<str>,
}

/// Registers the nodes with these numbers; `each` is called after every one.
///
/// # Errors
/// When a node cannot be created within about a minute.
pub(crate) async fn register(
    client: &Client,
    nodes: &HollowNodes,
    uids: &NodeUids,
    parallel: usize,
    numbers: std::ops::Range<u32>,
    each: impl Fn(),
) -> anyhow::Result<()> {
    let (uids, each) = (&**uids, &each);
    stream::iter(numbers)
        .map(|index| async move {
            let uid = retry_transient(|| create_or_adopt(client, nodes, index)).await;
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
            Err(error) if api::is_transient(&error) && wait < Duration::from_secs(30) => {
                tracing::debug!(%error, ?wait, "trying again");
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            result => return result,
        }
    }
}

async fn create_or_adopt(
    client: &Client,
    nodes: &HollowNodes,
    index: u32,
) -> kube::Result<Box<str>> {
    let node = nodes.node(index, Timestamp::now());
    let created = api::send(client, Method::POST, "/api/v1/nodes", Body::Json, node).await;
    let node: Node = match created {
        // It was created by an earlier process.
        Err(error) if api::code(&error) == Some(409) => adopt(client, nodes, index).await?,
        result => result?,
    };
    Ok(node.metadata.uid)
}

async fn adopt(client: &Client, nodes: &HollowNodes, index: u32) -> kube::Result<Node> {
    let (labels, status) = nodes.adoption_patches(index, Timestamp::now());
    let path = format!("/api/v1/nodes/{}", nodes.name(index));
    api::tell(client, Method::PATCH, &path, Body::MergePatch, labels).await?;
    let path = format!("{path}/status");
    api::send(client, Method::PATCH, &path, Body::StrategicPatch, status).await
}

/// Deletes the nodes with these numbers. Returns how many existed; failures are logged.
pub(crate) async fn delete(
    client: &Client,
    nodes: &HollowNodes,
    parallel: usize,
    numbers: std::ops::Range<u32>,
    each: impl Fn(),
) -> usize {
    let each = &each;
    let deleted = stream::iter(numbers).map(|index| async move {
        let path = format!("/api/v1/nodes/{}", nodes.name(index));
        let delete = || api::tell(client, Method::DELETE, &path, Body::Json, b"{}".to_vec());
        let deleted = retry_transient(delete).await;
        each();
        match deleted {
            Ok(()) => true,
            Err(error) if api::code(&error) == Some(404) => false,
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
