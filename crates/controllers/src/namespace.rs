//! The namespace controller: deletes the content of terminating namespaces, then removes their
//! finalizer.
//!
//! Observe: terminating namespaces. Act: [`deletion`], pods first. Plan: [`content`], the
//! conditions about what remains. When nothing does, the namespace is finalized.

pub mod content;
mod deletion;

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use kube::Client;
use pandaemon_client::{
    backoff::Backoff,
    errors,
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Object, ObjectMeta},
    rest::Rest,
    work_queue::WorkQueue,
};
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use serde_json::{Value, json};

use self::{content::Content, deletion::delete_all_content};

/// The finalizer in a namespace's spec that this controller removes.
const FINALIZER: &str = "kubernetes";
/// Namespaces that are synced at the same time; upstream's default.
const WORKERS: usize = 10;
/// The back-off while content remains: short at first, as most content is deleted at once.
const BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(5),
};

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
    let deleted_at = namespace["metadata"]["deletionTimestamp"].as_str();
    let deleted_at = deleted_at.and_then(|text| text.parse::<Timestamp>().ok());
    let age = deleted_at.map_or(0, |at| Timestamp::now().duration_since(at).as_secs());
    let content = delete_all_content(api, name, age).await;
    report(api, &path, &namespace, &content).await?;
    if !content.is_empty() {
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

async fn report(api: &Rest, path: &str, namespace: &Value, content: &Content) -> kube::Result<()> {
    let conditions = namespace["status"]["conditions"].as_array();
    let mut conditions = conditions.cloned().unwrap_or_default();
    let old: BTreeMap<String, Value> = conditions
        .iter()
        .filter_map(|c| Some((c["type"].as_str()?.to_owned(), c.clone())))
        .collect();
    let mut is_changed = namespace["status"]["phase"] != "Terminating";
    for new in content.conditions(&old, Timestamp::now()) {
        match conditions.iter_mut().find(|old| old["type"] == new["type"]) {
            Some(old) if *old == new => {}
            Some(old) => (*old, is_changed) = (new, true),
            None => {
                conditions.push(new);
                is_changed = true;
            }
        }
    }
    if !is_changed {
        return Ok(());
    }
    let mut body = namespace.clone();
    body["status"] = json!({ "phase": "Terminating", "conditions": conditions });
    match api
        .replace::<serde::de::IgnoredAny>(&format!("{path}/status"), &body)
        .await
    {
        Err(error) if !errors::is_not_found(&error) => Err(error),
        _ => Ok(()),
    }
}
