//! Tests of the event recorder.

use std::{convert::Infallible, sync::Arc};

use http::{Request, Response};
use kube::client::Body;
use parking_lot::Mutex;

use super::*;

fn pending(message: &str) -> PendingEvent {
    PendingEvent {
        object: ObjectReference::node("n1", "u"),
        event_type: EventType::Normal,
        reason: "Test",
        message: message.to_owned(),
        at: Timestamp::UNIX_EPOCH,
    }
}

#[test]
fn each_reason_of_an_object_has_its_own_budget() {
    let (mut correlator, start) = (EventCorrelator::default(), Instant::now());
    let of = |reason, message: &str| PendingEvent {
        reason,
        ..pending(message)
    };
    for pod in 0..=BURST {
        let created = of("SuccessfulCreate", &format!("Created pod: agent-{pod}"));
        let expected = if pod < BURST {
            Decision::New
        } else {
            Decision::Drop
        };
        assert_eq!(correlator.correlate(&created, start), expected, "{pod}");
    }
    let failed = of("FailedDaemonPod", "Found failed daemon pod");
    assert_eq!(correlator.correlate(&failed, start), Decision::New);
}

#[test]
fn repetitions_count_up_and_a_flood_is_held_back() {
    let (mut correlator, start) = (EventCorrelator::default(), Instant::now());
    assert_eq!(correlator.correlate(&pending("a"), start), Decision::New);
    correlator.written(&pending("a"), "/p".to_owned(), Timestamp::UNIX_EPOCH, 1);
    assert!(matches!(
        correlator.correlate(&pending("a"), start),
        Decision::Repeated { count: 2, .. }
    ));
    assert_eq!(correlator.correlate(&pending("b"), start), Decision::New);
    for _ in 3..BURST {
        assert_ne!(correlator.correlate(&pending("a"), start), Decision::Drop);
    }
    assert_eq!(correlator.correlate(&pending("a"), start), Decision::Drop);
    assert_ne!(
        correlator.correlate(&pending("a"), start + REFILL),
        Decision::Drop
    );
}

#[tokio::test]
async fn a_panic_while_an_event_is_written_loses_only_that_event() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&written);
    let service = tower::service_fn(move |request: Request<Body>| {
        let seen = Arc::clone(&seen);
        async move {
            let bytes = request.into_body().collect_bytes().await.unwrap();
            let event: Value = serde_json::from_slice(&bytes).unwrap();
            assert_ne!(event["reason"], "Bad", "a panic in the client");
            seen.lock().push(event);
            let reply = r#"{"metadata":{"name":"e"}}"#;
            Ok::<_, Infallible>(Response::new(Body::from(reply.as_bytes().to_vec())))
        }
    });
    let (client, stop) = (Client::new(service, "default"), Shutdown::default());
    let events = EventRecorder::start_on(client, "kubelet", "n1".to_owned(), stop);
    let mut pod = ObjectReference::node("p", "u");
    pod.field_path = "spec.containers{c}".to_owned();
    events.event(&pod, EventType::Warning, "Bad", "one");
    events.event(&pod, EventType::Warning, "Good", "two");
    while written.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    let event = written.lock()[0].clone();
    assert_eq!(event["reason"], "Good");
    assert_eq!(
        event["source"],
        json!({ "component": "kubelet", "host": "n1" })
    );
    assert_eq!(event["involvedObject"]["fieldPath"], "spec.containers{c}");
}

/// An error that panics where it is dropped: in the recorder's own loop.
#[derive(Debug, thiserror::Error)]
#[error("refused")]
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("a panic beside the requests");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_recorders_loop_starts_it_again() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&written);
    let service = tower::service_fn(move |request: Request<Body>| {
        let seen = Arc::clone(&seen);
        async move {
            let bytes = request.into_body().collect_bytes().await.unwrap();
            let event: Value = serde_json::from_slice(&bytes).unwrap();
            if event["reason"] == "Bad" {
                return Err(tower::BoxError::from(PanicsWhenDropped));
            }
            seen.lock().push(event["message"].clone());
            let reply = r#"{"metadata":{"name":"e"}}"#;
            Ok(Response::new(Body::from(reply.as_bytes().to_vec())))
        }
    });
    let (client, stop) = (Client::new(service, "default"), Shutdown::default());
    let events = EventRecorder::start(client, "kubelet", stop);
    let pod = ObjectReference::node("p", "u");
    events.event(&pod, EventType::Warning, "Bad", "one");
    events.event(&pod, EventType::Warning, "Good", "two");
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(*written.lock(), ["two"]);
}
