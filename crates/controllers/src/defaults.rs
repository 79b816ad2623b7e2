//! What every namespace has: the ServiceAccount `default`, and the ConfigMap `kube-root-ca.crt`.
//!
//! Two loops of one shape: watch namespaces and the one object of that name in each, and put it back when it is
//! missing or was changed.

use std::collections::{BTreeMap, BTreeSet};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use pandaemon_client::{
    errors,
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Object, ObjectMeta},
    rest::{Patch, Rest},
    work_queue::WorkQueue,
};
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use serde_json::{Value, json};

/// Namespaces that are looked after at the same time; upstream has one worker for accounts.
const WORKERS: usize = 8;

const CA_TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints \
    such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
    Kubernetes clusters.";

/// The object that each namespace must have.
#[derive(Debug, Clone)]
struct Wanted {
    plural: &'static str,
    name: &'static str,
    body: Value,
    /// The part that is put back when it was changed; `None`: only existence matters.
    data: Option<BTreeMap<String, String>>,
}

/// Keeps a ServiceAccount `default` in every namespace.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run_accounts(client: Client, stop: Shutdown) -> anyhow::Result<()> {
    let body = json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" },
    });
    run(
        client,
        Wanted {
            plural: "serviceaccounts",
            name: "default",
            body,
            data: None,
        },
        stop,
    )
    .await
}

/// Keeps the cluster's CA certificate in a ConfigMap of every namespace.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run_root_ca(client: Client, ca_pem: String, stop: Shutdown) -> anyhow::Result<()> {
    let data = BTreeMap::from([("ca.crt".to_owned(), ca_pem)]);
    let body = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "kube-root-ca.crt",
            "annotations": { "kubernetes.io/description": CA_TEXT },
        },
        "data": data,
    });
    let wanted = Wanted {
        plural: "configmaps",
        name: "kube-root-ca.crt",
        body,
        data: Some(data),
    };
    run(client, wanted, stop).await
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Namespace {
    metadata: ObjectMeta,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct NamedObject {
    metadata: ObjectMeta,
    data: BTreeMap<String, String>,
}

impl Object for Namespace {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Object for NamedObject {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// What a namespace needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Create,
    Restore,
}

#[derive(Debug, Default)]
struct State {
    /// Namespaces that are not being deleted.
    active: BTreeSet<String>,
    /// The object of each namespace; true if it is as it must be.
    objects: BTreeMap<String, bool>,
    synced: (bool, bool),
}

impl State {
    fn need(&self, namespace: &str) -> Need {
        if self.synced != (true, true) || !self.active.contains(namespace) {
            return Need::Nothing;
        }
        match self.objects.get(namespace) {
            None => Need::Create,
            Some(false) => Need::Restore,
            Some(true) => Need::Nothing,
        }
    }

    fn namespaces(&mut self, delta: Delta<Namespace>) -> Vec<String> {
        match delta {
            Delta::Listed(items) => {
                let active = items
                    .into_iter()
                    .filter(|item| !item.metadata.is_deleting());
                self.active = active.map(|item| item.metadata.name).collect();
                self.synced.0 = true;
                self.active.iter().cloned().collect()
            }
            Delta::Applied(item) if !item.metadata.is_deleting() => {
                let name = item.metadata.name;
                if self.active.insert(name.clone()) {
                    vec![name]
                } else {
                    Vec::new()
                }
            }
            Delta::Applied(item) | Delta::Deleted(item) => {
                self.active.remove(&item.metadata.name);
                Vec::new()
            }
        }
    }

    fn objects(&mut self, wanted: &Wanted, delta: Delta<NamedObject>) -> Vec<String> {
        let good =
            |object: &NamedObject| wanted.data.as_ref().is_none_or(|data| *data == object.data);
        match delta {
            Delta::Listed(items) => {
                self.objects = items
                    .iter()
                    .map(|o| (o.metadata.namespace.clone(), good(o)))
                    .collect();
                self.synced.1 = true;
                self.active.iter().cloned().collect()
            }
            Delta::Applied(object) => {
                self.objects
                    .insert(object.metadata.namespace.clone(), good(&object));
                vec![object.metadata.namespace]
            }
            Delta::Deleted(object) => {
                self.objects.remove(&object.metadata.namespace);
                vec![object.metadata.namespace]
            }
        }
    }
}

async fn run(client: Client, wanted: Wanted, stop: Shutdown) -> anyhow::Result<()> {
    let api = Rest::new(client.clone());
    let source = ListWatch::all(format!("/api/v1/{}", wanted.plural))
        .fields(format!("metadata.name={}", wanted.name));
    let mut objects = watch::<NamedObject>(client.clone(), source, stop.clone());
    let namespaces = ListWatch::all("/api/v1/namespaces").metadata_only();
    let mut namespaces = watch::<Namespace>(client, namespaces, stop.clone());
    let mut state = State::default();
    let mut queue: WorkQueue<String> = WorkQueue::default();
    let mut running: FuturesUnordered<BoxFuture<'_, (String, bool)>> = FuturesUnordered::new();
    loop {
        let touched = tokio::select! {
            () = stop.triggered() => return Ok(()),
            Some(delta) = namespaces.recv() => state.namespaces(delta),
            Some(delta) = objects.recv() => state.objects(&wanted, delta),
            name = queue.next(), if running.len() < WORKERS => {
                let need = state.need(&name);
                running.push(act(&api, &wanted, name, need).boxed());
                continue;
            }
            Some((name, ok)) = running.next() => {
                queue.finish(name, ok);
                continue;
            }
            else => return Ok(()),
        };
        for name in touched {
            if state.need(&name) != Need::Nothing {
                queue.add(name);
            }
        }
    }
}

async fn act(api: &Rest, wanted: &Wanted, namespace: String, need: Need) -> (String, bool) {
    let collection = format!("/api/v1/namespaces/{namespace}/{}", wanted.plural);
    let outcome = match need {
        Need::Nothing => Ok(()),
        Need::Create => api
            .create::<serde::de::IgnoredAny>(&collection, &wanted.body)
            .await
            .map(drop),
        Need::Restore => {
            // A JSON patch replaces the whole map, so that keys that somebody added go as well.
            let path = format!("{collection}/{}", wanted.name);
            let body = json!([{ "op": "add", "path": "/data", "value": wanted.data }]);
            api.patch(&path, Patch::Json, &body).await
        }
    };
    let ok = match outcome {
        Ok(()) => true,
        Err(error) => {
            let harmless = errors::is_already_exists(&error)
                || errors::is_not_found(&error)
                || errors::is_namespace_terminating(&error);
            if !harmless {
                tracing::warn!(namespace, plural = wanted.plural, %error, "default object not written");
            }
            harmless
        }
    };
    (namespace, ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, deleting: bool) -> Namespace {
        let deletion_timestamp = deleting.then_some(jiff::Timestamp::UNIX_EPOCH);
        let metadata = ObjectMeta {
            name: name.to_owned(),
            deletion_timestamp,
            ..ObjectMeta::default()
        };
        Namespace { metadata }
    }

    fn object(namespace: &str, ca: &str) -> NamedObject {
        let metadata = ObjectMeta {
            namespace: namespace.to_owned(),
            ..ObjectMeta::default()
        };
        NamedObject {
            metadata,
            data: BTreeMap::from([("ca.crt".to_owned(), ca.to_owned())]),
        }
    }

    #[test]
    fn missing_and_changed_objects_are_put_back() {
        let wanted = Wanted {
            plural: "configmaps",
            name: "kube-root-ca.crt",
            body: Value::Null,
            data: Some(object("", "PEM").data),
        };
        let mut state = State::default();
        state.namespaces(Delta::Listed(vec![
            namespace("a", false),
            namespace("b", false),
        ]));
        assert_eq!(state.need("a"), Need::Nothing, "objects are not known yet");
        let all = Delta::Listed(vec![object("a", "PEM"), object("gone", "PEM")]);
        assert_eq!(state.objects(&wanted, all), ["a", "b"]);
        assert_eq!(
            (state.need("a"), state.need("b")),
            (Need::Nothing, Need::Create)
        );
        state.objects(&wanted, Delta::Applied(object("a", "other")));
        assert_eq!(state.need("a"), Need::Restore);
        state.namespaces(Delta::Applied(namespace("b", true)));
        assert_eq!(
            (state.need("b"), state.need("gone")),
            (Need::Nothing, Need::Nothing)
        );
    }
}
