//! Keeps one object of a given name in every namespace.

use std::collections::BTreeMap;

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use kube::Client;
use pandaemon_client::{
    errors,
    list_watch::{Delta, ListWatch, watch},
    object_meta::{Object, ObjectMeta},
    rest::Rest,
    work_queue::WorkQueue,
};
use pandaemon_runtime::Shutdown;
use serde::Deserialize;
use serde_json::{Value, json};

/// Namespaces that are written at the same time; upstream's service account controller has one
/// worker.
const WORKERS: usize = 8;

/// The object that each namespace must have.
#[derive(Debug, Clone)]
pub(super) struct RequiredObject {
    pub(super) plural: &'static str,
    pub(super) name: &'static str,
    pub(super) body: Value,
    /// The data that is restored when it was changed; `None`: the object must only exist.
    pub(super) data: Option<BTreeMap<String, String>>,
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

/// The write that a namespace needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Create,
    Restore,
}

#[derive(Debug, Default)]
struct NamespaceObjects {
    /// Namespaces that are not being deleted, with their uids.
    active: BTreeMap<String, String>,
    /// Namespaces that have the object: its uid, and true if its data is right.
    objects: BTreeMap<String, (String, bool)>,
    synced: (bool, bool),
}

impl NamespaceObjects {
    fn need(&self, namespace: &str) -> Need {
        if self.synced != (true, true) || !self.active.contains_key(namespace) {
            return Need::Nothing;
        }
        match self.objects.get(namespace) {
            None => Need::Create,
            Some((_, false)) => Need::Restore,
            Some((_, true)) => Need::Nothing,
        }
    }

    fn namespaces(&mut self, delta: Delta<Namespace>) -> Vec<String> {
        match delta {
            Delta::Listed(items) => {
                let active = items
                    .into_iter()
                    .filter(|item| !item.metadata.is_deleting());
                let active = active.map(|item| (item.metadata.name, item.metadata.uid));
                self.active = active.collect();
                self.synced.0 = true;
                self.active.keys().cloned().collect()
            }
            Delta::Applied(item) if !item.metadata.is_deleting() => {
                let (name, uid) = (item.metadata.name, item.metadata.uid);
                if self.active.insert(name.clone(), uid).is_none() {
                    vec![name]
                } else {
                    Vec::new()
                }
            }
            Delta::Applied(item) | Delta::Deleted(item) => {
                let name = &item.metadata.name;
                // A later namespace of the name stays.
                if self.active.get(name) == Some(&item.metadata.uid) {
                    self.active.remove(name);
                }
                Vec::new()
            }
        }
    }

    fn objects(&mut self, required: &RequiredObject, delta: Delta<NamedObject>) -> Vec<String> {
        let good = |object: &NamedObject| {
            required
                .data
                .as_ref()
                .is_none_or(|data| *data == object.data)
        };
        match delta {
            Delta::Listed(items) => {
                self.objects = items
                    .iter()
                    .map(|o| {
                        let known = (o.metadata.uid.clone(), good(o));
                        (o.metadata.namespace.clone(), known)
                    })
                    .collect();
                self.synced.1 = true;
                self.active.keys().cloned().collect()
            }
            Delta::Applied(object) => {
                let known = (object.metadata.uid.clone(), good(&object));
                self.objects
                    .insert(object.metadata.namespace.clone(), known);
                vec![object.metadata.namespace]
            }
            Delta::Deleted(object) => {
                let ObjectMeta { namespace, uid, .. } = object.metadata;
                // A later object of the name stays.
                let known = self.objects.get(&namespace);
                if known.is_none_or(|(known, _)| *known != uid) {
                    return Vec::new();
                }
                self.objects.remove(&namespace);
                vec![namespace]
            }
        }
    }
}

/// Watches namespaces and the object in each, and creates or restores the object where it is
/// missing or was changed. The first client writes, the second reads.
pub(super) async fn keep_in_all_namespaces(
    [writer, reader]: [Client; 2],
    required: RequiredObject,
    stop: Shutdown,
) -> anyhow::Result<()> {
    let apis = [Rest::new(writer), Rest::new(reader.clone())];
    let source = ListWatch::all(format!("/api/v1/{}", required.plural))
        .fields(format!("metadata.name={}", required.name));
    let mut objects = watch::<NamedObject>(reader.clone(), source, stop.clone());
    let namespaces = ListWatch::all("/api/v1/namespaces").metadata_only();
    let mut namespaces = watch::<Namespace>(reader, namespaces, stop.clone());
    let mut objects_by_namespace = NamespaceObjects::default();
    let mut queue: WorkQueue<String> = WorkQueue::default();
    let mut running: FuturesUnordered<BoxFuture<'_, (String, bool)>> = FuturesUnordered::new();
    loop {
        let touched = tokio::select! {
            () = stop.triggered() => return Ok(()),
            Some(delta) = namespaces.recv() => objects_by_namespace.namespaces(delta),
            Some(delta) = objects.recv() => objects_by_namespace.objects(&required, delta),
            name = queue.next(), if running.len() < WORKERS => {
                let need = objects_by_namespace.need(&name);
                running.push(act(&apis, &required, name, need).boxed());
                continue;
            }
            Some((name, ok)) = running.next() => {
                queue.finish(name, ok);
                continue;
            }
            else => return Ok(()),
        };
        for name in touched {
            if objects_by_namespace.need(&name) != Need::Nothing {
                queue.add(name);
            }
        }
    }
}

async fn act(
    [writer, reader]: &[Rest; 2],
    required: &RequiredObject,
    namespace: String,
    need: Need,
) -> (String, bool) {
    let collection = format!("/api/v1/namespaces/{namespace}/{}", required.plural);
    let outcome = match need {
        Need::Nothing => Ok(()),
        Need::Create => writer
            .create::<serde::de::IgnoredAny>(&collection, &required.body)
            .await
            .map(drop),
        Need::Restore => {
            let path = format!("{collection}/{}", required.name);
            restore([writer, reader], &path, required).await
        }
    };
    let ok = match outcome {
        Ok(()) => true,
        Err(error) => {
            let harmless = errors::is_already_exists(&error)
                || errors::is_not_found(&error)
                || errors::is_namespace_terminating(&error);
            if !harmless {
                tracing::warn!(namespace, plural = required.plural, %error, "object of the namespace not written");
            }
            harmless
        }
    };
    (namespace, ok)
}

/// Replaces the data of an object, so that keys added by others are removed as well.
async fn restore(
    [writer, reader]: [&Rest; 2],
    path: &str,
    required: &RequiredObject,
) -> kube::Result<()> {
    // An object that is gone is created by the event of its deletion.
    let Some(mut object) = reader.get::<Value>(path).await? else {
        return Ok(());
    };
    object["data"] = json!(required.data);
    let replaced = writer.replace::<serde::de::IgnoredAny>(path, &object).await;
    replaced.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, deleting: bool) -> Namespace {
        let deletion_timestamp = deleting.then_some(pandaemon_types::Timestamp::default());
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
    fn missing_and_changed_objects_are_restored() {
        let required = RequiredObject {
            plural: "configmaps",
            name: "kube-root-ca.crt",
            body: Value::Null,
            data: Some(object("", "PEM").data),
        };
        let mut objects_by_namespace = NamespaceObjects::default();
        objects_by_namespace.namespaces(Delta::Listed(vec![
            namespace("a", false),
            namespace("b", false),
        ]));
        assert_eq!(
            objects_by_namespace.need("a"),
            Need::Nothing,
            "objects are not known yet"
        );
        let all = Delta::Listed(vec![object("a", "PEM"), object("gone", "PEM")]);
        assert_eq!(objects_by_namespace.objects(&required, all), ["a", "b"]);
        assert_eq!(
            (
                objects_by_namespace.need("a"),
                objects_by_namespace.need("b")
            ),
            (Need::Nothing, Need::Create)
        );
        objects_by_namespace.objects(&required, Delta::Applied(object("a", "other")));
        assert_eq!(objects_by_namespace.need("a"), Need::Restore);
        objects_by_namespace.namespaces(Delta::Applied(namespace("b", true)));
        assert_eq!(
            (
                objects_by_namespace.need("b"),
                objects_by_namespace.need("gone")
            ),
            (Need::Nothing, Need::Nothing)
        );
    }

    #[test]
    fn a_late_deletion_of_an_earlier_object_leaves_its_successor() {
        let required = RequiredObject {
            plural: "configmaps",
            name: "kube-root-ca.crt",
            body: Value::Null,
            data: None,
        };
        let mut known = NamespaceObjects::default();
        let of = |uid: &str| {
            let (mut namespace, mut object) = (namespace("a", false), object("a", "PEM"));
            uid.clone_into(&mut namespace.metadata.uid);
            uid.clone_into(&mut object.metadata.uid);
            (namespace, object)
        };
        let ((old, old_object), (new, new_object)) = (of("old"), of("new"));
        known.namespaces(Delta::Listed(vec![old.clone()]));
        known.objects(&required, Delta::Listed(vec![old_object.clone()]));
        known.namespaces(Delta::Applied(new));
        known.objects(&required, Delta::Applied(new_object.clone()));
        known.namespaces(Delta::Deleted(old));
        assert_eq!(
            known.objects(&required, Delta::Deleted(old_object)),
            [""; 0]
        );
        assert_eq!(known.need("a"), Need::Nothing);
        known.objects(&required, Delta::Deleted(new_object));
        assert_eq!(known.need("a"), Need::Create);
    }
}
