//! The Endpoints controller.

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use pandaemon_client::{
    backoff::{Backoff, jittered},
    errors,
    list_watch::{ListWatch, watch},
    object_meta::{Key, PartialObjectMetadata},
    rest::{Rest, uid_precondition},
    work_queue::WorkQueue,
};
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use serde_json::Value;

use super::{
    addresses, endpoints_object,
    service::{BATCH_DELAY, Service, WORKERS},
    service_index::ServiceIndex,
};
use crate::views::SharedInformers;

/// Runs the Endpoints controller until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(client: Client, shared: SharedInformers, stop: Shutdown) -> anyhow::Result<()> {
    let api = Rest::new(client.clone());
    let mut services = watch::<Service>(client, ListWatch::all("/api/v1/services"), stop.clone());
    let mut pods = shared.pods.subscribe();
    let mut index = ServiceIndex::default();
    let mut queue: WorkQueue<Key> = WorkQueue::default();
    let mut running: FuturesUnordered<BoxFuture<'static, (Key, bool)>> = FuturesUnordered::new();
    // Services that were deleted while this process did not run have left their Endpoints.
    let mut existing = std::pin::pin!(existing_endpoints(&api).fuse());
    loop {
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            keys = &mut existing => keys.into_iter().for_each(|key| queue.add(key)),
            Some(delta) = services.recv() => {
                for key in index.observe_services(delta) {
                    queue.add(key);
                }
            }
            delta = pods.next() => {
                for key in index.observe_pods(delta) {
                    queue.add_after(key, BATCH_DELAY);
                }
            }
            key = queue.next(), if running.len() < WORKERS && index.is_synced() => {
                let (api, service) = (api.clone(), index.service(&key));
                let wanted = service.as_ref().filter(|service| service.has_managed_endpoints()).map(|service| {
                    endpoints_object::endpoints(service, &addresses::addresses(service, index.pods_of(service)))
                });
                // Endpoints of a service without a selector are kept; those of a deleted service
                // are deleted.
                let gone = service.is_none();
                running.push(async move {
                    let outcome = write(&api, &key, wanted, gone).await;
                    if let Err(error) = &outcome {
                        tracing::debug!(service = %key, %error, "endpoints not written yet");
                    }
                    let ok = outcome.is_ok_and(|()| true);
                    (key, ok)
                }.boxed());
            }
            Some((key, ok)) = running.next() => queue.finish(key, ok),
        }
    }
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<PartialObjectMetadata>,
}

/// The keys of all Endpoints with this controller's label, as soon as the server answers.
async fn existing_endpoints(api: &Rest) -> Vec<Key> {
    let selector = format!(
        "{}%3D{}",
        endpoints_object::MANAGED_BY,
        endpoints_object::MANAGER
    );
    let path = format!("/api/v1/endpoints?labelSelector={selector}");
    for failures in 1.. {
        match api.get_metadata_list::<List>(&path).await {
            Ok(list) => {
                let items = list.map(|list| list.items).unwrap_or_default();
                return items.into_iter().map(|item| item.metadata.key()).collect();
            }
            Err(error) => tracing::debug!(%error, "Endpoints not listed yet"),
        }
        tokio::time::sleep(jittered(Backoff::default().delay(failures))).await;
    }
    Vec::new()
}

async fn write(api: &Rest, key: &Key, wanted: Option<Value>, gone: bool) -> kube::Result<()> {
    let collection = format!("/api/v1/namespaces/{}/endpoints", key.namespace);
    let path = format!("{collection}/{}", key.name);
    let Some(mut wanted) = wanted else {
        if gone && let Some(old) = api.get_metadata::<PartialObjectMetadata>(&path).await? {
            api.delete(&path, &uid_precondition(&old.metadata.uid))
                .await?;
        }
        return Ok(());
    };
    let Some(old) = api.get::<Value>(&path).await? else {
        return match api
            .create::<serde::de::IgnoredAny>(&collection, &wanted)
            .await
        {
            Err(error) if !errors::is_namespace_terminating(&error) => Err(error),
            _ => Ok(()),
        };
    };
    if !endpoints_object::differs(&old, &wanted) {
        return Ok(());
    }
    endpoints_object::copy_metadata(&old, &mut wanted);
    api.replace::<serde::de::IgnoredAny>(&path, &wanted)
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use serde_json::json;

    use super::*;
    use crate::fake_server;

    #[tokio::test]
    async fn existing_endpoints_are_listed_again_after_an_error() {
        static IS_FIRST: AtomicBool = AtomicBool::new(true);
        let (client, sent) = fake_server::client(|_| {
            if IS_FIRST.swap(false, Ordering::SeqCst) {
                return fake_server::refused();
            }
            let item = json!({ "metadata": { "namespace": "a", "name": "e" } });
            (200, json!({ "items": [item] }))
        });
        let keys = existing_endpoints(&Rest::new(client)).await;
        assert_eq!((keys, sent.lock().len()), (vec![Key::new("a", "e")], 2));
    }

    #[tokio::test]
    async fn endpoints_of_a_deleted_service_are_deleted_by_uid() {
        let (client, sent) = fake_server::client(|sent| match &*sent.method {
            "GET" => (200, json!({ "metadata": { "name": "s", "uid": "e" } })),
            _ => (200, json!({})),
        });
        let (api, key) = (Rest::new(client), Key::new("a", "s"));
        write(&api, &key, None, true).await.unwrap();
        let sent = sent.lock();
        let deletion = sent.iter().find(|sent| sent.method == "DELETE");
        let body: Value = serde_json::from_str(&deletion.expect("a deletion").body).unwrap();
        assert_eq!(body["preconditions"]["uid"], "e");
    }
}
