//! The cache without a server: changes go in, watchers and lists are looked at.

use std::task::{Context, Poll, Waker};

use pandaemon_store::Entry;
use pandaemon_types::{FieldSelector, LabelSelector};
use serde_json::{Value, json};

use super::*;
use crate::object;

fn kind(plural: &str) -> &'static Kind {
    scheme::find_resource("", "v1", plural).unwrap()
}

fn filter(plural: &str, namespace: &str, labels: &str, fields: &str) -> Filter {
    Filter {
        kind: kind(plural),
        namespace: (!namespace.is_empty()).then(|| namespace.into()),
        labels: LabelSelector::parse(labels).unwrap(),
        fields: FieldSelector::parse(fields).unwrap(),
    }
}

fn empty() -> Cache {
    Cache::new(&Snapshot {
        revision: 1,
        entries: Default::default(),
    })
}

fn pod(name: &str, node: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "d", "labels": {"app": app}},
        "spec": {"nodeName": node},
    })
}

/// Puts (or, with `None`, deletes) an object at a revision.
fn change(cache: &Cache, revision: Revision, name: &str, value: Option<Value>) {
    let key = key(kind("pods"), "d", name);
    let entry = |value: bytes::Bytes| Entry {
        key: Arc::clone(&key),
        value,
        create_revision: revision,
        mod_revision: revision,
    };
    let previous = cache
        .of(kind("pods"))
        .unwrap()
        .get(&key)
        .map(|o| entry(o.bytes.clone()));
    let entry = value.map(|value| entry(object::encode(&value).unwrap()));
    cache.apply(&[StoreEvent {
        revision,
        entry,
        previous,
    }]);
}

fn watch(cache: &Cache, filter: Filter, start: Start) -> Started {
    let kind = cache.of(filter.kind).unwrap();
    let prefix = match &filter.namespace {
        Some(namespace) => format!("/{}/{namespace}/", filter.kind.storage),
        None => format!("/{}/", filter.kind.storage),
    };
    kind.watch(cache.revision(), &prefix, filter, start)
        .unwrap()
}

/// What is queued, as `ADDED p1@5`.
fn queued(watcher: &Watcher) -> Vec<String> {
    let mut found = Vec::new();
    let context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Next::Change(change, event)) = watcher.poll_next(&context) {
        let name = event.any().unwrap().name().to_owned();
        found.push(format!("{} {name}@{}", change.as_str(), event.revision));
    }
    found
}

#[test]
fn each_watcher_sees_what_it_asked_for_and_nothing_else() {
    let cache = empty();
    let start = |f| watch(&cache, f, Start::Now).watcher;
    let all = start(filter("pods", "", "", ""));
    let namespace = start(filter("pods", "d", "", ""));
    let elsewhere = start(filter("pods", "e", "", ""));
    let node = start(filter("pods", "", "", "spec.nodeName=n1"));
    let one = start(filter("pods", "d", "", "metadata.name=p2"));
    let labelled = start(filter("pods", "", "app=web", ""));
    change(&cache, 2, "p1", Some(pod("p1", "n1", "web")));
    change(&cache, 3, "p2", Some(pod("p2", "n2", "db")));
    change(&cache, 4, "p2", None);
    let everything = ["ADDED p1@2", "ADDED p2@3", "DELETED p2@4"];
    assert_eq!(queued(&all), everything);
    assert_eq!(queued(&namespace), everything);
    assert!(queued(&elsewhere).is_empty());
    assert_eq!(queued(&node), ["ADDED p1@2"]);
    assert_eq!(queued(&one), ["ADDED p2@3", "DELETED p2@4"]);
    assert_eq!(queued(&labelled), ["ADDED p1@2"]);
}

#[test]
fn leaving_a_selector_is_a_deletion_and_entering_it_an_arrival() {
    let cache = empty();
    let labelled = watch(&cache, filter("pods", "", "app=web", ""), Start::Now).watcher;
    let node = watch(
        &cache,
        filter("pods", "", "", "spec.nodeName=n1"),
        Start::Now,
    )
    .watcher;
    change(&cache, 2, "p", Some(pod("p", "", "web")));
    change(&cache, 3, "p", Some(pod("p", "n1", "db")));
    change(&cache, 4, "p", Some(pod("p", "n1", "web")));
    change(&cache, 5, "p", Some(pod("p", "n2", "web")));
    assert_eq!(
        queued(&labelled),
        ["ADDED p@2", "DELETED p@3", "ADDED p@4", "MODIFIED p@5"]
    );
    assert_eq!(queued(&node), ["ADDED p@3", "MODIFIED p@4", "DELETED p@5"]);
}

#[test]
fn a_watch_from_the_past_is_told_what_it_missed() {
    let cache = empty();
    change(&cache, 2, "p", Some(pod("p", "n1", "web")));
    change(&cache, 3, "p", Some(pod("p", "n1", "db")));
    let started = watch(&cache, filter("pods", "", "", ""), Start::After(2));
    assert_eq!(started.backlog.len(), 1);
    assert_eq!(started.backlog[0].0, ChangeKind::Modified);
    let with_state = watch(&cache, filter("pods", "", "", ""), Start::State);
    assert_eq!(with_state.objects.len(), 1);
    assert_eq!(with_state.revision, 3);
}

#[test]
fn history_that_is_gone_is_said_to_be_gone() {
    let cache = empty();
    change(&cache, 2, "p", Some(pod("p", "n1", "web")));
    cache.forget_history();
    let kind = cache.of(kind("pods")).unwrap();
    let all = filter("pods", "", "", "");
    let refused = kind.watch(cache.revision(), "/pods/", all.clone(), Start::After(1));
    assert_eq!(refused.unwrap_err(), 2);
    assert!(
        kind.watch(cache.revision(), "/pods/", all, Start::After(2))
            .is_ok()
    );
}

#[test]
fn a_watcher_that_does_not_read_is_let_go() {
    let cache = empty();
    let watcher = watch(&cache, filter("pods", "", "", ""), Start::Now).watcher;
    for revision in 2..40_000 {
        change(&cache, revision, "p", Some(pod("p", "n1", "web")));
    }
    assert_eq!(cache.watchers(), 0);
    let context = Context::from_waker(Waker::noop());
    assert!(matches!(
        watcher.poll_next(&context),
        Poll::Ready(Next::Lagged)
    ));
}

#[test]
fn the_past_can_be_listed_while_it_is_kept() {
    let cache = empty();
    change(&cache, 2, "p1", Some(pod("p1", "n1", "web")));
    change(&cache, 3, "p2", Some(pod("p2", "n1", "web")));
    change(&cache, 4, "p1", None);
    let kind = cache.of(kind("pods")).unwrap();
    let names = |asked| {
        let (_, objects) = kind.as_of(cache.revision(), asked).unwrap();
        objects
            .values()
            .map(|o| format!("{}@{}", o.name(), o.revision))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(Some(3)), ["p1@2", "p2@3"]);
    assert_eq!(names(Some(2)), ["p1@2"]);
    assert_eq!(names(None), ["p2@3"]);
    assert!(kind.as_of(cache.revision(), Some(0)).is_none());
}

#[test]
fn lists_of_one_node_use_its_index() {
    let cache = empty();
    change(&cache, 2, "p1", Some(pod("p1", "n1", "web")));
    change(&cache, 3, "p2", Some(pod("p2", "", "web")));
    change(&cache, 4, "p2", Some(pod("p2", "n1", "web")));
    change(&cache, 5, "p1", Some(pod("p1", "n2", "web")));
    let kind = cache.of(kind("pods")).unwrap();
    let on = |node: &str| {
        let filter = filter("pods", "", "", &format!("spec.nodeName={node}"));
        let listing = kind.list(cache.revision(), "/pods/", &filter);
        listing
            .objects
            .iter()
            .map(|o| o.name().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(on("n1"), ["p2"]);
    assert_eq!(on("n2"), ["p1"]);
    assert!(on("n3").is_empty());
}

#[test]
fn an_event_is_encoded_once_for_all() {
    let cache = empty();
    let one = watch(&cache, filter("pods", "", "", ""), Start::Now).watcher;
    let two = watch(&cache, filter("pods", "d", "", ""), Start::Now).watcher;
    change(&cache, 2, "p", Some(pod("p", "n1", "web")));
    let context = Context::from_waker(Waker::noop());
    let line = |watcher: &Watcher| match watcher.poll_next(&context) {
        Poll::Ready(Next::Change(change, event)) => event.line(change),
        other => panic!("{other:?}"),
    };
    assert_eq!(line(&one).as_ptr(), line(&two).as_ptr());
}

#[tokio::test]
async fn who_waits_for_a_revision_is_woken_by_it() {
    let cache = Arc::new(empty());
    let waiting = {
        let cache = Arc::clone(&cache);
        pandaemon_runtime::spawn("waiter", async move { cache.reached(3).await })
    };
    tokio::task::yield_now().await;
    change(&cache, 2, "p", Some(pod("p", "n1", "web")));
    change(&cache, 3, "p", Some(pod("p", "n1", "db")));
    assert_eq!(waiting.await.unwrap(), Some(true));
    cache.close();
    assert!(!cache.reached(9).await);
}

#[test]
fn a_watch_that_begins_after_the_end_ends_at_once() {
    let cache = empty();
    cache.close();
    let watcher = watch(&cache, filter("pods", "", "", ""), Start::Now).watcher;
    let context = Context::from_waker(Waker::noop());
    assert!(matches!(
        watcher.poll_next(&context),
        Poll::Ready(Next::Closed)
    ));
    assert_eq!(cache.watchers(), 0);
}
