//! Tests of the watch cache without a server: changes are applied, watchers and lists are checked.

mod between;
mod lag;
mod promise;

use std::{
    future::Future as _,
    task::{Context, Poll, Waker},
};

use pandaemon_machinery::KindRef;
use pandaemon_store::Entry;
use pandaemon_types::{FieldSelector, LabelSelector};
use serde_json::{Value, json};

use super::*;
use crate::cache::{fixture, object};

fn kind(plural: &str) -> &'static KindRef {
    scheme::built_in().find_resource("", "v1", plural).unwrap()
}

fn filter(plural: &str, namespace: &str, labels: &str, fields: &str) -> Filter {
    Filter {
        kind: KindRef::clone(kind(plural)),
        namespace: (!namespace.is_empty()).then(|| namespace.into()),
        labels: LabelSelector::parse(labels).unwrap(),
        fields: FieldSelector::parse(fields).unwrap(),
    }
}

fn empty() -> WatchCache {
    WatchCache::new(1)
}

fn pod(name: &str, node: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "d", "labels": {"app": app}},
        "spec": {"nodeName": node},
    })
}

/// Puts (or, with `None`, deletes) an object at a revision.
fn change(cache: &WatchCache, revision: Revision, name: &str, value: Option<Value>) {
    let names = ("d", name);
    fixture::change(cache, kind("pods"), revision, names, value.as_ref());
}

fn watch(cache: &WatchCache, filter: Filter, start: Start) -> Started {
    let kind = cache.of(&filter.kind).unwrap();
    let prefix = match &filter.namespace {
        Some(namespace) => format!("/{}/{namespace}/", filter.kind.storage),
        None => format!("/{}/", filter.kind.storage),
    };
    kind.watch(cache.revision(), &prefix, filter, start)
        .unwrap()
}

/// The queued events, as `ADDED p1@5`.
fn queued(watcher: &Watcher) -> Vec<String> {
    let mut found = Vec::new();
    let context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Next::Change(change, event)) = watcher.poll_next(&context) {
        let name = event.change.object().unwrap().name().to_owned();
        let revision = event.change.revision;
        found.push(format!("{} {name}@{revision}", change.as_str()));
    }
    found
}

#[test]
fn a_watcher_gets_exactly_the_events_of_its_scope_and_selectors() {
    let cache = empty();
    let start = |f| watch(&cache, f, Start::Now).events;
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
fn leaving_a_selector_is_deleted_and_entering_it_is_added() {
    let cache = empty();
    let labelled = watch(&cache, filter("pods", "", "app=web", ""), Start::Now).events;
    let node = watch(
        &cache,
        filter("pods", "", "", "spec.nodeName=n1"),
        Start::Now,
    )
    .events;
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
fn a_watch_from_an_older_version_gets_the_events_since() {
    let cache = empty();
    change(&cache, 2, "p", Some(pod("p", "n1", "web")));
    change(&cache, 3, "p", Some(pod("p", "n1", "db")));
    let started = watch(&cache, filter("pods", "", "", ""), Start::After(2));
    assert_eq!(queued(&started.events), ["MODIFIED p@3"]);
    let with_state = watch(&cache, filter("pods", "", "", ""), Start::State);
    assert_eq!(with_state.objects.len(), 1);
    assert_eq!(with_state.revision, 3);
}

#[test]
fn a_watch_from_before_the_history_is_refused_with_the_oldest_version() {
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
fn a_watcher_with_a_full_queue_is_removed_and_gets_lagged() {
    let cache = empty();
    let watcher = watch(&cache, filter("pods", "", "", ""), Start::Now).events;
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

/// A pod with a text of so many bytes.
fn big_pod(bytes: usize) -> Value {
    let mut pod = pod("p", "n1", "web");
    pod["spec"]["text"] = "x".repeat(bytes).into();
    pod
}

fn is_lagged(watcher: &Watcher) -> bool {
    let context = Context::from_waker(Waker::noop());
    matches!(watcher.poll_next(&context), Poll::Ready(Next::Lagged))
}

#[test]
fn a_queue_that_retains_too_many_bytes_ends_the_watch() {
    let cache = empty();
    let watcher = watch(&cache, filter("pods", "", "", ""), Start::Now).events;
    let mut revision = 1;
    while cache.watchers() == 1 {
        revision += 1;
        assert!(
            revision < 200,
            "{} bytes are queued",
            watcher.queued_bytes()
        );
        change(&cache, revision, "p", Some(big_pod(1 << 20)));
    }
    // Each retains the object before, and its line.
    assert!((60..70).contains(&revision), "{revision}");
    assert!(is_lagged(&watcher));
    assert_eq!(cache.budgets.queued.total(), 0);
}

#[test]
fn the_slowest_watch_is_ended_when_all_queues_retain_too_many_bytes() {
    let budgets = Budgets {
        queued: budget::Budget::new(1 << 20),
        ..Budgets::default()
    };
    let cache = WatchCache::with_budgets(1, budgets);
    let all = || watch(&cache, filter("pods", "", "", ""), Start::Now).events;
    let (slowest, fast) = (all(), all());
    for revision in 2..34 {
        change(&cache, revision, "p", Some(big_pod(10 << 10)));
        assert_eq!(queued(&fast).len(), 1);
    }
    let slow = all();
    for revision in 34..52 {
        let retained = cache.budgets.queued.total();
        assert_eq!(retained, slowest.queued_bytes(), "an event counts once");
        change(&cache, revision, "p", Some(big_pod(10 << 10)));
        assert_eq!(queued(&fast).len(), 1);
    }
    for revision in 52..60 {
        change(&cache, revision, "p", Some(big_pod(10 << 10)));
        assert_eq!(queued(&fast).len(), 1);
    }
    assert!(is_lagged(&slowest));
    assert_eq!(queued(&slow).len(), 26, "the others get all events");
}

#[test]
fn a_watch_that_is_dropped_before_it_is_read_is_removed() {
    let cache = empty();
    change(&cache, 2, "p", Some(pod("p", "n1", "web")));
    for start in [Start::State, Start::Now, Start::After(1)] {
        let started = watch(&cache, filter("pods", "", "", ""), start);
        assert_eq!(cache.watchers(), 1);
        drop(started);
        assert_eq!(cache.watchers(), 0);
    }
    assert_eq!(cache.budgets.queued.total(), 0);
}

#[test]
fn waiters_for_a_revision_that_never_comes_are_forgotten() {
    let cache = empty();
    let mut waiting: Vec<_> = (0..10).map(|_| Box::pin(cache.reached(u64::MAX))).collect();
    for waiter in &mut waiting {
        let polled = waiter
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    assert_eq!(cache.waiters.lock()[&u64::MAX].len(), 10);
    waiting.truncate(4);
    assert_eq!(cache.waiters.lock()[&u64::MAX].len(), 4);
    drop(waiting);
    assert!(cache.waiters.lock().is_empty());
}

#[test]
fn an_older_version_can_be_listed_while_the_history_reaches_back() {
    let cache = empty();
    change(&cache, 2, "p1", Some(pod("p1", "n1", "web")));
    change(&cache, 3, "p2", Some(pod("p2", "n1", "web")));
    change(&cache, 4, "p1", None);
    let kind = cache.of(kind("pods")).unwrap();
    let names = |revision| {
        let (_, objects) = kind.as_of(cache.revision(), revision).unwrap();
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
fn pods_of_a_node_are_listed_from_the_node_index() {
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
fn an_event_is_encoded_once_for_all_watchers() {
    let cache = empty();
    let one = watch(&cache, filter("pods", "", "", ""), Start::Now).events;
    let two = watch(&cache, filter("pods", "d", "", ""), Start::Now).events;
    change(&cache, 2, "p", Some(pod("p", "n1", "web")));
    let context = Context::from_waker(Waker::noop());
    let line = |watcher: &Watcher| match watcher.poll_next(&context) {
        Poll::Ready(Next::Change(change, event)) => event.line(change),
        other => panic!("{other:?}"),
    };
    assert_eq!(line(&one).as_ptr(), line(&two).as_ptr());
}

#[tokio::test]
async fn waiting_for_a_revision_ends_when_it_is_applied_or_the_cache_closes() {
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
fn a_watch_on_a_closed_cache_ends_immediately() {
    let cache = empty();
    cache.close();
    let watcher = watch(&cache, filter("pods", "", "", ""), Start::Now).events;
    let context = Context::from_waker(Waker::noop());
    assert!(matches!(
        watcher.poll_next(&context),
        Poll::Ready(Next::Closed)
    ));
    assert_eq!(cache.watchers(), 0);
}

#[test]
fn a_watch_ignores_changes_from_before_its_start() {
    let cache = empty();
    let watcher = watch(&cache, filter("pods", "", "", ""), Start::Now).events;
    watcher.start_after(2);
    change(&cache, 2, "p1", Some(pod("p1", "n1", "web")));
    change(&cache, 3, "p2", Some(pod("p2", "n1", "web")));
    assert_eq!(queued(&watcher), ["ADDED p2@3"]);
}

#[test]
fn histories_share_one_budget_and_the_largest_shrinks() {
    let cache = empty();
    let big = |revision| {
        let mut pod = pod("big", "n1", "web");
        pod["spec"]["text"] = format!("{revision}").repeat(70_000).into();
        pod
    };
    change(&cache, 2, "small", Some(pod("small", "n1", "web")));
    let node = json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1"}});
    for revision in [3, 4] {
        let key = key(kind("nodes"), "", "n1");
        let entry = Entry {
            key: Arc::clone(&key),
            value: object::encode(&node, None).unwrap().bytes,
            create_revision: 3,
            mod_revision: revision,
        };
        let (entry, note) = (Some(entry), None);
        cache.apply(&[StoreEvent {
            revision,
            key,
            entry,
            note,
        }]);
    }
    for revision in 5..200 {
        change(&cache, revision, "big", Some(big(revision)));
    }
    let pods = cache.of(kind("pods")).unwrap();
    let kept = pods.history_bytes();
    assert!((7 << 20..=8 << 20).contains(&kept), "{kept} bytes");
    let from = |kind: &str, revision| {
        let filter = filter(kind, "", "", "");
        let cache = cache.of(&filter.kind).unwrap();
        cache.watch(200, "/", filter, Start::After(revision))
    };
    assert!(from("pods", 100).is_err(), "the oldest changes are dropped");
    let backlog = |kind: &str, revision| queued(&from(kind, revision).unwrap().events).len();
    assert_eq!(backlog("pods", 190), 9);
    assert_eq!(backlog("nodes", 1), 2, "a small history stays");
}

#[tokio::test]
async fn a_kind_that_is_added_shows_the_store_and_the_changes_meanwhile() {
    use pandaemon_store::{
        Expect, Op, Store as _, Transaction,
        double::{Double, Faults},
    };
    let slow = Faults {
        latency: std::time::Duration::from_millis(20),
        ..Faults::default()
    };
    let store = Arc::new(Double::new(slow, 1));
    let put = |name: &str, expect| {
        let value = pod(name, "n1", "web");
        let op = Op::Put(object::encode(&value, None).unwrap().bytes);
        Transaction::of(key(kind("pods"), "d", name), expect, op)
    };
    for name in ["kept", "changed", "gone"] {
        store.commit(put(name, Expect::Absent)).await.unwrap();
    }
    let cache = Arc::new(WatchCache::load(&*store).await.unwrap());
    cache.remove_kind(kind("pods"));
    let reflector = run_reflector(Arc::clone(&cache), Arc::clone(&store) as _);
    pandaemon_runtime::spawn("reflector", reflector);
    let changes = async {
        store.commit(put("changed", Expect::At(2))).await.unwrap();
        let gone = key(kind("pods"), "d", "gone");
        let gone = Transaction::of(gone, Expect::At(3), Op::Delete);
        store.commit(gone).await.unwrap();
    };
    let (added, ()) = tokio::join!(cache.add_kind(kind("pods"), &*store), changes);
    added.unwrap();
    cache.reached(store.latest().await.unwrap()).await;
    let pods = cache.of(kind("pods")).unwrap();
    let found = pods
        .every()
        .map(|pod| format!("{}@{}", pod.name(), pod.revision));
    let found: Vec<String> = found.collect();
    assert_eq!(found, ["changed@4", "kept@1"]);
    // What was dropped when the history began anew counts no longer.
    assert_eq!(cache.budgets.history.total(), pods.history_bytes());
    drop(pods);
    cache.remove_kind(kind("pods"));
    assert_eq!(cache.budgets.history.total(), 0);
}
