//! Registers the nodes, as kubelets do, and deletes them at the end if that is wanted.

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
    node::Fleet,
};

/// The uid of each node, once it is registered.
pub(crate) type Uids = Arc<[OnceLock<Box<str>>]>;

#[derive(Deserialize)]
struct Node {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    uid: Box<str>,
}

/// Registers some nodes; `each` is called after every one.
pub(crate) async fn register(
    client: &Client,
    fleet: &Fleet,
    uids: &Uids,
    parallel: usize,
    indexes: std::ops::Range<u32>,
    each: impl Fn(),
) -> anyhow::Result<()> {
    let (uids, each) = (&**uids, &each);
    stream::iter(indexes)
        .map(|index| async move {
            let uid = patiently(|| join(client, fleet, index)).await;
            let uid = uid.with_context(|| format!("register node {}", fleet.name(index)))?;
            if let Some(cell) = usize::try_from(index)
                .ok()
                .and_then(|index| uids.get(index))
            {
                cell.get_or_init(|| uid);
            }
            each();
            anyhow::Ok(())
        })
        .buffer_unordered(parallel)
        .try_collect()
        .await
}

/// Repeats what fails for a passing reason, for about a minute.
async fn patiently<T, F: Future<Output = kube::Result<T>>>(
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

async fn join(client: &Client, fleet: &Fleet, index: u32) -> kube::Result<Box<str>> {
    let node = fleet.node(index, Timestamp::now());
    let created = api::send(client, Method::POST, "/api/v1/nodes", Body::Json, node).await;
    let node: Node = match created {
        // It is there from an earlier run.
        Err(error) if api::code(&error) == Some(409) => adopt(client, fleet, index).await?,
        result => result?,
    };
    Ok(node.metadata.uid)
}

async fn adopt(client: &Client, fleet: &Fleet, index: u32) -> kube::Result<Node> {
    let (labels, status) = fleet.adoption(index, Timestamp::now());
    let path = format!("/api/v1/nodes/{}", fleet.name(index));
    api::tell(client, Method::PATCH, &path, Body::MergePatch, labels).await?;
    let path = format!("{path}/status");
    api::send(client, Method::PATCH, &path, Body::StrategicPatch, status).await
}

/// Deletes nodes, as many as can be; those that are gone already do not count.
pub(crate) async fn delete(
    client: &Client,
    fleet: &Fleet,
    parallel: usize,
    indexes: std::ops::Range<u32>,
    each: impl Fn(),
) -> usize {
    let each = &each;
    let deleted = stream::iter(indexes).map(|index| async move {
        let path = format!("/api/v1/nodes/{}", fleet.name(index));
        let delete = || api::tell(client, Method::DELETE, &path, Body::Json, b"{}".to_vec());
        let deleted = patiently(delete).await;
        each();
        match deleted {
            Ok(()) => true,
            Err(error) if api::code(&error) == Some(404) => false,
            Err(error) => {
                tracing::warn!(node = fleet.name(index), %error, "cannot delete the node");
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
