//! Lists and watches as streams.

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use super::{Answer, State};

/// The most events that a watch is behind.
const EVENTS: usize = 1000;

pub(super) fn watch_object(state: &mut State, collection: &str, query: &str) -> Answer {
    let name = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("fieldSelector=metadata.name%3D"))
        .unwrap_or_default();
    let key = (collection.to_owned(), name.to_owned());
    let kind = match collection {
        "secrets" => "Secret",
        "configmaps" => "ConfigMap",
        _ => "CertificateSigningRequest",
    };
    let (sender, receiver) = mpsc::channel(EVENTS);
    if query.contains("sendInitialEvents=true") {
        let found = state.objects.get(&key).cloned();
        send_list(&sender, kind, state.version, found.iter());
    }
    state.object_watchers.push((key, sender));
    lines(receiver)
}

/// Sends a list as a stream: the objects, and the bookmark that ends it.
fn send_list<'a>(
    sender: &mpsc::Sender<Value>,
    kind: &str,
    version: u64,
    objects: impl Iterator<Item = &'a Value>,
) {
    let annotations = json!({ "k8s.io/initial-events-end": "true" });
    let meta = json!({ "resourceVersion": version.to_string(), "annotations": annotations });
    let end = json!({ "type": "BOOKMARK", "object": { "kind": kind, "metadata": meta } });
    for object in objects {
        let event = json!({ "type": "ADDED", "object": object });
        sender.try_send(event).unwrap();
    }
    sender.try_send(end).unwrap();
}

fn lines(receiver: mpsc::Receiver<Value>) -> Answer {
    let lines = ReceiverStream::new(receiver)
        .map(|event| Ok(Frame::data(Bytes::from(format!("{event}\n")))));
    Response::new(StreamBody::new(lines).boxed())
}

pub(super) fn watch_pods(state: &mut State, query: &str) -> Answer {
    let version = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("resourceVersion="))
        .and_then(|version| version.parse().ok());
    let (sender, receiver) = mpsc::channel(EVENTS);
    if query.contains("sendInitialEvents=true") {
        send_list(&sender, "Pod", state.version, state.pods.values());
    } else {
        for event in state.since(version.unwrap_or(0)) {
            sender.try_send(event).unwrap();
        }
    }
    state.watchers.push(sender);
    lines(receiver)
}
