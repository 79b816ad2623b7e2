//! Which pods answer for a Service: Endpoints and EndpointSlices, two loops over the same watches.
//!
//! Observe: services, pods, and what was written before. Plan: [`select`] (pods to addresses), [`subsets`] (Endpoints)
//! and [`slices`] (EndpointSlices). Act: create, update, delete.

pub mod select;
pub mod slices;
pub mod subsets;

mod slice_loop;
mod state;

use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use serde_json::{Value, json};

pub use self::slice_loop::run as run_slices;
use self::state::State;
use crate::views::Shared;
use pandaemon_client::{
    errors,
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Key, Object, ObjectMeta, PartialObjectMetadata},
    rest::Rest,
    work_queue::WorkQueue,
};

/// Services that are written at the same time; upstream's default is 5.
const WORKERS: usize = 8;
/// A service waits so long after a pod has changed, so that a rollout is some writes and not one for each pod.
const BATCH: Duration = Duration::from_millis(50);

/// A service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// What it serves.
    pub spec: ServiceSpec,
}

/// What a service serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// The labels of its pods; empty: somebody else writes its endpoints.
    pub selector: std::collections::BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// `None` for headless services.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// `ClusterIP`, `ExternalName` and so on.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether pods that are not ready count.
    pub publish_not_ready_addresses: bool,
    /// `IPv4`, `IPv6`.
    pub ip_families: Vec<String>,
}

/// A port of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Its name.
    pub name: Option<String>,
    /// Its number.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Option<String>,
    /// The pods' port, by number or name.
    pub target_port: Option<Value>,
    /// The application protocol.
    pub app_protocol: Option<String>,
}

impl Service {
    /// Whether it has no address of its own.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip.as_deref() == Some("None")
    }

    /// Whether its endpoints are ours to write.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        !self.spec.selector.is_empty() && self.spec.kind != "ExternalName"
    }

    /// Whether the pod's labels are those that it selects.
    #[must_use]
    pub fn selects(
        &self,
        namespace: &str,
        labels: &std::collections::BTreeMap<String, String>,
    ) -> bool {
        self.is_ours()
            && self.metadata.namespace == namespace
            && self
                .spec
                .selector
                .iter()
                .all(|(key, value)| labels.get(key) == Some(value))
    }
}

impl Object for Service {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// Keeps Endpoints.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(client: Client, shared: Shared, stop: Shutdown) -> anyhow::Result<()> {
    let api = Rest::new(client.clone());
    let mut services = watch::<Service>(client, ListWatch::all("/api/v1/services"), stop.clone());
    let mut pods = shared.pods.subscribe();
    let mut state = State::default();
    let mut queue: WorkQueue<Key> = WorkQueue::default();
    let mut running: FuturesUnordered<BoxFuture<'static, (Key, bool)>> = FuturesUnordered::new();
    // Services that went while nobody looked have left theirs behind.
    for key in leftovers(&api).await? {
        queue.add(key);
    }
    loop {
        tokio::select! {
            () = stop.triggered() => return Ok(()),
            Some(delta) = services.recv() => {
                for key in state.services(delta) {
                    queue.add(key);
                }
            }
            delta = pods.next() => {
                for key in state.pods(delta) {
                    queue.add_after(key, BATCH);
                }
            }
            key = queue.next(), if running.len() < WORKERS && state.is_synced() => {
                let (api, service) = (api.clone(), state.service(&key));
                let wanted = service.as_ref().filter(|service| service.is_ours()).map(|service| {
                    subsets::endpoints(service, &select::addresses(service, state.pods_of(service)))
                });
                // A service without a selector keeps what somebody else wrote; one that is gone loses it.
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

/// Endpoints that are ours by their label.
async fn leftovers(api: &Rest) -> kube::Result<Vec<Key>> {
    let selector = format!("{}%3D{}", subsets::MANAGED_BY, subsets::MANAGER);
    let path = format!("/api/v1/endpoints?labelSelector={selector}");
    let list: Option<List> = api.get_metadata_list(&path).await?;
    let items = list.map(|list| list.items).unwrap_or_default();
    Ok(items.into_iter().map(|item| item.metadata.key()).collect())
}

async fn write(api: &Rest, key: &Key, wanted: Option<Value>, gone: bool) -> kube::Result<()> {
    let collection = format!("/api/v1/namespaces/{}/endpoints", key.namespace);
    let path = format!("{collection}/{}", key.name);
    let Some(mut wanted) = wanted else {
        if gone {
            api.delete(&path, &json!({})).await?;
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
    if !subsets::differs(&old, &wanted) {
        return Ok(());
    }
    subsets::keep_foreign(&old, &mut wanted);
    api.replace::<serde::de::IgnoredAny>(&path, &wanted)
        .await
        .map(drop)
}

/// Turns what a subscription or a watch says into the three things that can happen.
fn changes<T>(delta: Delta<T>) -> (bool, Vec<T>, Vec<T>) {
    match delta {
        Delta::Listed(items) => (true, items, Vec::new()),
        Delta::Applied(item) => (false, vec![item], Vec::new()),
        Delta::Deleted(item) => (false, Vec::new(), vec![item]),
    }
}
