//! The EndpointSlice controller.

use std::{collections::BTreeMap, sync::Arc};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use pandaemon_client::{
    errors,
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Key, PartialObjectMetadata},
    rest::{Rest, uid_precondition},
    work_queue::WorkQueue,
};
use pandaemon_runtime::Shutdown;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use super::{
    addresses,
    endpointslice_reconciler::{MANAGED_BY, MANAGER, Plan, SERVICE_NAME, plan},
    service::{BATCH_DELAY, Service, WORKERS},
    service_index::ServiceIndex,
};
use crate::views::SharedInformers;

/// Runs the EndpointSlice controller until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(client: Client, shared: SharedInformers, stop: Shutdown) -> anyhow::Result<()> {
    let api = Rest::new(client.clone());
    let mut services = watch::<Service>(
        client.clone(),
        ListWatch::all("/api/v1/services"),
        stop.clone(),
    );
    let source = ListWatch::all("/apis/discovery.k8s.io/v1/endpointslices")
        .labels(format!("{MANAGED_BY}={MANAGER}"))
        .metadata_only();
    let mut slices = watch::<PartialObjectMetadata>(client, source, stop.clone());
    let mut pods = shared.pods.subscribe();
    let mut index = ServiceIndex::default();
    let mut owners = SliceOwners::new();
    let mut queue: WorkQueue<Key> = WorkQueue::default();
    let mut running: FuturesUnordered<BoxFuture<'static, (Key, bool)>> = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            Some(delta) = services.recv() => index.observe_services(delta).into_iter().for_each(|key| queue.add(key)),
            delta = pods.next() => {
                index.observe_pods(delta).into_iter().for_each(|key| queue.add_after(key, BATCH_DELAY));
            }
            // A slice that a user has deleted is created again.
            Some(delta) = slices.recv() => {
                services_of_deleted(&mut owners, delta).into_iter().for_each(|key| queue.add(key));
            }
            key = queue.next(), if running.len() < WORKERS && index.is_synced() => {
                running.push(sync(&api, &index, key));
            }
            Some((key, ok)) = running.next() => queue.finish(key, ok),
        }
    }
}

/// The uid and the service of each slice.
type SliceOwners = BTreeMap<Key, (String, Key)>;

/// Remembers the service of each slice; returns the services of deleted slices.
fn services_of_deleted(owners: &mut SliceOwners, delta: Delta<PartialObjectMetadata>) -> Vec<Key> {
    let owner = |slice: &PartialObjectMetadata| {
        let name = slice
            .metadata
            .labels
            .get(SERVICE_NAME)
            .cloned()
            .unwrap_or_default();
        let service = Key::new(slice.metadata.namespace.clone(), name);
        (slice.metadata.uid.clone(), service)
    };
    match delta {
        Delta::Listed(slices) => {
            *owners = slices
                .iter()
                .map(|slice| (slice.metadata.key(), owner(slice)))
                .collect();
            Vec::new()
        }
        Delta::Applied(slice) => {
            owners.insert(slice.metadata.key(), owner(&slice));
            Vec::new()
        }
        Delta::Deleted(slice) => {
            let key = slice.metadata.key();
            // A later slice of the name stays.
            let known = owners.get(&key);
            if known.is_none_or(|(uid, _)| *uid != slice.metadata.uid) {
                return Vec::new();
            }
            let deleted = owners.remove(&key).into_iter();
            deleted.map(|(_, service)| service).collect()
        }
    }
}

fn sync(api: &Rest, index: &ServiceIndex, key: Key) -> BoxFuture<'static, (Key, bool)> {
    let api = api.clone();
    // Slices of a deleted service are deleted by the garbage collector, as its dependents.
    let Some(service) = index
        .service(&key)
        .filter(|service| service.has_managed_endpoints())
    else {
        return std::future::ready((key, true)).boxed();
    };
    let addresses = addresses::addresses(&service, index.pods_of(&service));
    async move {
        let outcome = write(&api, &service, &addresses).await;
        if let Err(error) = &outcome
            && !errors::is_conflict(error)
        {
            tracing::debug!(service = %key, %error, "endpoint slices not written yet");
        }
        let ok = outcome.is_ok_and(|()| true);
        (key, ok)
    }
    .boxed()
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Value>,
}

async fn write(
    api: &Rest,
    service: &Arc<Service>,
    addresses: &[addresses::Address],
) -> kube::Result<()> {
    let meta = &service.metadata;
    let collection = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
        meta.namespace
    );
    let selector = format!("{SERVICE_NAME}%3D{}%2C{MANAGED_BY}%3D{MANAGER}", meta.name);
    let list: Option<List> = api
        .get(&format!("{collection}?labelSelector={selector}"))
        .await?;
    let mut existing = list.map(|list| list.items).unwrap_or_default();
    // Slices of an earlier service of the name are being garbage collected.
    existing.retain(|slice| slice["metadata"]["ownerReferences"][0]["uid"] == meta.uid.as_str());
    let Plan {
        create,
        mut update,
        delete,
    } = plan(service, addresses, &existing);
    // A slice that is refused does not keep the others.
    let mut failure = None;
    for slice in create {
        let created = api.create::<IgnoredAny>(&collection, &slice).await;
        match created {
            Err(error) if errors::is_namespace_terminating(&error) => return Ok(()),
            other => failure = failure.or(other.err()),
        }
    }
    for slice in &mut update {
        // Items of a list have no kind.
        slice["apiVersion"] = json!("discovery.k8s.io/v1");
        slice["kind"] = json!("EndpointSlice");
        let name = slice["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{collection}/{name}");
        let replaced = api.replace::<IgnoredAny>(&path, slice).await;
        failure = failure.or(replaced.err());
    }
    for (name, uid) in delete {
        let path = format!("{collection}/{name}");
        let deleted = api.delete(&path, &uid_precondition(&uid)).await;
        failure = failure.or(deleted.err());
    }
    failure.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_server;

    #[tokio::test]
    async fn a_slice_that_is_refused_does_not_keep_the_others() {
        let (client, sent) = fake_server::client(|sent| match &*sent.method {
            "POST" if sent.body.contains("IPv4") => fake_server::refused(),
            "POST" => (201, json!({})),
            _ => (200, json!({ "items": [] })),
        });
        let service = Service::deserialize(&json!({
            "metadata": { "name": "s", "namespace": "a", "uid": "u" },
            "spec": { "selector": { "app": "a" }, "ipFamilies": ["IPv4", "IPv6"] },
        }))
        .unwrap();
        let outcome = write(&Rest::new(client), &Arc::new(service), &[]).await;
        assert!(outcome.is_err(), "it is tried again");
        let sent = sent.lock();
        let created =
            |sent: &&fake_server::Sent| sent.method == "POST" && sent.body.contains("IPv6");
        assert_eq!(sent.iter().filter(created).count(), 1, "{sent:#?}");
    }

    #[test]
    fn a_late_deletion_of_an_earlier_slice_leaves_its_successor() {
        let slice = |uid: &str| -> PartialObjectMetadata {
            let object = json!({ "metadata": { "name": "s-1", "namespace": "a", "uid": uid,
                "labels": { SERVICE_NAME: "s" } } });
            serde_json::from_value(object).unwrap()
        };
        let mut owners = SliceOwners::new();
        services_of_deleted(&mut owners, Delta::Listed(vec![slice("old")]));
        services_of_deleted(&mut owners, Delta::Applied(slice("new")));
        let late = services_of_deleted(&mut owners, Delta::Deleted(slice("old")));
        assert_eq!(late, []);
        let deleted = services_of_deleted(&mut owners, Delta::Deleted(slice("new")));
        assert_eq!(deleted, [Key::new("a", "s")]);
    }

    #[tokio::test]
    async fn a_surplus_slice_is_deleted_by_uid() {
        let (client, sent) = fake_server::client(|sent| {
            let surplus = json!({
                "metadata": { "name": "s-1", "namespace": "a", "uid": "slice",
                    "labels": { SERVICE_NAME: "s", MANAGED_BY: MANAGER },
                    "ownerReferences": [{ "uid": "u" }] },
                "addressType": "IPv6", "endpoints": [],
            });
            match &*sent.method {
                "GET" => (200, json!({ "items": [surplus] })),
                _ => (200, json!({})),
            }
        });
        let service = Service::deserialize(&json!({
            "metadata": { "name": "s", "namespace": "a", "uid": "u" },
            "spec": { "selector": { "app": "a" }, "ipFamilies": ["IPv4"] },
        }));
        write(&Rest::new(client), &Arc::new(service.unwrap()), &[])
            .await
            .unwrap();
        let sent = sent.lock();
        let deletion = sent.iter().find(|sent| sent.method == "DELETE");
        let deletion = deletion.expect("the slice of another address type goes");
        let body: Value = serde_json::from_str(&deletion.body).unwrap();
        assert_eq!(body["preconditions"]["uid"], "slice");
    }
}
