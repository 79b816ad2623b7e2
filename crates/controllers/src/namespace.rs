//! The namespace controller: deletes the content of terminating namespaces, then removes their
//! finalizer.
//!
//! Observe: terminating namespaces. Plan: [`conditions`], the status about the remaining content.
//! Act: delete collections, write the status, finalize.

pub mod conditions;

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use kube::Client;
use pandaemon_client::{
    backoff::Backoff,
    discovery::{ApiResource, discover},
    errors,
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Object, ObjectMeta, PartialObjectMetadata},
    rest::{Patch, Rest},
    work_queue::WorkQueue,
};
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use serde_json::{Value, json};

use self::conditions::Remaining;

/// The finalizer in a namespace's spec that this controller removes.
const FINALIZER: &str = "kubernetes";
/// Namespaces that are synced at the same time; upstream's default.
const WORKERS: usize = 10;
/// The back-off while content remains: short at first, as most content is deleted at once.
const BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(5),
};
/// The page size of lists that count the remaining objects.
const PAGE: usize = 500;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Namespace {
    metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Spec {
    finalizers: Vec<String>,
}

impl Object for Namespace {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the watch ends for good.
pub async fn run(client: Client, stop: Shutdown) -> anyhow::Result<()> {
    let api = Rest::new(client.clone());
    let mut namespaces =
        watch::<Namespace>(client, ListWatch::all("/api/v1/namespaces"), stop.clone());
    let mut queue: WorkQueue<String> = WorkQueue::new(BACKOFF);
    let mut running: FuturesUnordered<BoxFuture<'_, (String, bool)>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            delta = namespaces.recv() => match delta {
                Some(Delta::Listed(items)) => {
                    items.iter().filter(|item| needs_sync(item)).for_each(|item| queue.add(item.metadata.name.clone()));
                }
                Some(Delta::Applied(item)) if needs_sync(&item) => queue.add(item.metadata.name),
                Some(Delta::Applied(_) | Delta::Deleted(_)) => (),
                None => return Ok(()),
            },
            name = queue.next(), if running.len() < WORKERS => {
                let api = api.clone();
                running.push(async move {
                    let outcome = sync_namespace(&api, &name).await;
                    if let Err(error) = &outcome {
                        tracing::debug!(namespace = name, %error, "namespace content not deleted yet");
                    }
                    (name, outcome.unwrap_or(false))
                }.boxed());
            }
            Some((name, done)) = running.next() => queue.finish(name, done),
        }
    }
}

fn needs_sync(namespace: &Namespace) -> bool {
    namespace.metadata.is_deleting() && namespace.spec.finalizers.iter().any(|f| f == FINALIZER)
}

/// One sync; true when nothing is left to do for the namespace.
async fn sync_namespace(api: &Rest, name: &str) -> kube::Result<bool> {
    let path = format!("/api/v1/namespaces/{name}");
    let Some(namespace) = api.get::<Value>(&path).await? else {
        return Ok(true);
    };
    let finalizers: Vec<&str> = namespace["spec"]["finalizers"]
        .as_array()
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if namespace["metadata"]["deletionTimestamp"].is_null() || !finalizers.contains(&FINALIZER) {
        return Ok(true);
    }
    let remaining = delete_content(api, name).await?;
    report(api, &path, &namespace, &remaining).await?;
    if !remaining.is_empty() {
        return Ok(false);
    }
    let rest: Vec<&str> = finalizers.into_iter().filter(|f| *f != FINALIZER).collect();
    let body = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": name, "uid": namespace["metadata"]["uid"] },
        "spec": { "finalizers": rest },
    });
    match api
        .replace::<serde::de::IgnoredAny>(&format!("{path}/finalize"), &body)
        .await
    {
        Err(error) if !errors::is_not_found(&error) => Err(error),
        _ => Ok(true),
    }
}

async fn delete_content(api: &Rest, namespace: &str) -> kube::Result<Remaining> {
    let kinds = discover(api.client()).await?;
    let mut remaining = Remaining::default();
    for kind in kinds
        .iter()
        .filter(|kind| kind.namespaced && kind.can(&["delete"]))
    {
        match delete_kind(api, kind, namespace).await {
            Ok(left) => remaining.add(kind, &left),
            // The kind is not served any more.
            Err(error) if errors::is_not_found(&error) => (),
            Err(error) => remaining.failures.push(error.to_string()),
        }
    }
    Ok(remaining)
}

/// Deletes all objects of a kind, and returns those that remain.
async fn delete_kind(
    api: &Rest,
    kind: &ApiResource,
    namespace: &str,
) -> kube::Result<Vec<ObjectMeta>> {
    let collection = kind.collection(namespace);
    // Most kinds have no object in a namespace: one cheap list spares the delete.
    let found = list(api, &collection).await?;
    if found.is_empty() {
        return Ok(found);
    }
    let options = json!({ "propagationPolicy": "Background" });
    if kind.can(&["deletecollection"]) {
        api.delete(&collection, &options).await?;
    } else {
        for object in found.iter().filter(|object| !object.is_deleting()) {
            api.delete(&format!("{collection}/{}", object.name), &options)
                .await?;
        }
    }
    list(api, &collection).await
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<PartialObjectMetadata>,
}

async fn list(api: &Rest, collection: &str) -> kube::Result<Vec<ObjectMeta>> {
    let list: Option<List> = api
        .get_metadata_list(&format!("{collection}?limit={PAGE}"))
        .await?;
    Ok(list
        .map(|l| l.items.into_iter().map(|i| i.metadata).collect())
        .unwrap_or_default())
}

async fn report(
    api: &Rest,
    path: &str,
    namespace: &Value,
    remaining: &Remaining,
) -> kube::Result<()> {
    let old: BTreeMap<String, Value> = namespace["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|c| Some((c["type"].as_str()?.to_owned(), c.clone())))
        .collect();
    let new = conditions::conditions(remaining, &old, Timestamp::now());
    let terminating = namespace["status"]["phase"] == "Terminating";
    if new
        .iter()
        .all(|c| c["type"].as_str().is_some_and(|t| old.get(t) == Some(c)))
        && terminating
    {
        return Ok(());
    }
    let body = json!({ "status": { "phase": "Terminating", "conditions": new } });
    match api
        .patch(&format!("{path}/status"), Patch::Strategic, &body)
        .await
    {
        Err(error) if !errors::is_not_found(&error) => Err(error),
        _ => Ok(()),
    }
}
