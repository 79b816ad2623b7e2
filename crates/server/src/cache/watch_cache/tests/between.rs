//! Watches while a batch is applied: its changes are in the objects, but not offered yet, or
//! offered, but not applied everywhere.

use std::{future::poll_fn, time::Duration};

use pandaemon_machinery::table::IncludeObject;
use tokio::time::Instant;

use super::*;
use crate::{
    handlers::{
        render::View,
        watch::{WatchBody, WatchOptions},
    },
    http::negotiate::Form,
};

/// The event of a pod that is put.
fn put(revision: Revision, name: &str) -> StoreEvent {
    let key = key(kind("pods"), "d", name);
    let entry = Entry {
        key: Arc::clone(&key),
        value: object::encode(&pod(name, "n1", "web"), None).unwrap().bytes,
        create_revision: revision,
        mod_revision: revision,
    };
    StoreEvent {
        revision,
        key,
        entry: Some(entry),
        note: None,
    }
}

#[test]
fn every_watch_begins_at_one_revision_while_a_batch_is_applied() {
    let cache = empty();
    change(&cache, 2, "a", Some(pod("a", "n1", "web")));
    let early = watch(&cache, filter("pods", "", "", ""), Start::Now).events;
    let pods = cache.of(kind("pods")).unwrap();
    let changes = pods.apply_to_objects(&[&put(3, "b"), &put(4, "c")]);
    let begin = |start| watch(&cache, filter("pods", "", "", ""), start);
    let (state, now) = (begin(Start::State), begin(Start::Now));
    let (after_2, after_3) = (begin(Start::After(2)), begin(Start::After(3)));
    pods.offer(changes);
    change(&cache, 5, "d", Some(pod("d", "n1", "web")));
    let initial: Vec<&str> = state.objects.iter().map(|pod| pod.name()).collect();
    assert_eq!((initial, state.revision), (vec!["a", "b", "c"], 4));
    assert_eq!(queued(&state.events), ["ADDED d@5"]);
    assert_eq!(
        (queued(&now.events), now.revision),
        (vec!["ADDED d@5".to_owned()], 4)
    );
    let all = ["ADDED b@3", "ADDED c@4", "ADDED d@5"];
    assert_eq!(queued(&early), all);
    assert_eq!(queued(&after_2.events), all);
    assert_eq!(queued(&after_3.events), all[1..]);
}

/// The lines of a watch that ends by its timeout, as `ADDED 3`.
async fn lines(cache: &Arc<WatchCache>, started: Started) -> Vec<String> {
    let view = View {
        form: Form::default(),
        include: IncludeObject::default(),
        now_seconds: 0,
    };
    let options = WatchOptions {
        // Over already, so that it ends as soon as it has sent all that there is.
        deadline: Instant::now() - Duration::from_secs(1),
        bookmarks: true,
        mark_initial: false,
    };
    let kind = Arc::clone(kind("pods"));
    let mut body = WatchBody::new(Arc::clone(cache), kind, view, started, options);
    let mut found = Vec::new();
    while let Some(chunk) = poll_fn(|context| body.poll_lines(context)).await {
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            let line: Value = serde_json::from_slice(line).unwrap();
            let version = line["object"]["metadata"]["resourceVersion"].as_str();
            let version = version.unwrap();
            found.push(format!("{} {version}", line["type"].as_str().unwrap()));
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_is_not_lower_than_an_event_before_it() {
    let cache = Arc::new(empty());
    let start = || watch(&cache, filter("pods", "", "", ""), Start::Now);
    let pods = cache.of(kind("pods")).unwrap();
    let before = start();
    let changes = pods.apply_to_objects(&[&put(3, "b")]);
    let meanwhile = start();
    pods.offer(changes);
    assert_eq!(cache.revision(), 1, "it is not applied to all kinds yet");
    assert_eq!(lines(&cache, before).await, ["ADDED 3", "BOOKMARK 3"]);
    assert_eq!(meanwhile.revision, 3);
    assert_eq!(lines(&cache, meanwhile).await, ["BOOKMARK 3"]);
}
