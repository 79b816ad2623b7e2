//! What becomes of the cache, its watches and the server's own readers when changes of the store
//! break off, and when changes were missed.

use std::time::Duration;

use pandaemon_store::{
    Expect, Key, Op, Store, Transaction,
    double::{Double, Faults},
};

use super::*;

/// The changes of followers break off at each batch.
fn broken() -> Faults {
    Faults {
        broken: 1000,
        ..Faults::default()
    }
}

/// A cache that follows a store double.
struct Followed {
    store: Arc<Double>,
    cache: Arc<WatchCache>,
}

impl Followed {
    async fn start(store: Double) -> Self {
        let store = Arc::new(store);
        let cache = Arc::new(WatchCache::load(&*store).await.unwrap());
        let reflector = run_reflector(Arc::clone(&cache), Arc::clone(&store) as _);
        pandaemon_runtime::spawn("reflector", reflector);
        Self { store, cache }
    }

    /// Puts (or, with `None`, deletes) a pod. Returns the revision.
    async fn write(&self, name: &str, app: Option<&str>) -> Revision {
        let key = key(kind("pods"), "d", name);
        let old = self.store.get(&key).await.unwrap();
        let expect = old.map_or(Expect::Absent, |old| Expect::At(old.mod_revision));
        let value = app.map(|app| pod(name, "n1", app));
        let op = value.map_or(Op::Delete, |value| {
            Op::Put(object::encode(&value, None).unwrap().bytes)
        });
        let write = Transaction::of(key, expect, op);
        self.store.commit(write).await.unwrap()
    }

    /// Lets the cache miss what is written meanwhile.
    async fn miss(&self, writes: &[(&str, Option<&str>)]) {
        self.store.set_faults(broken());
        for (name, app) in writes {
            self.write(name, *app).await;
        }
        // The time to notice it.
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.store.forget_history();
        self.store.set_faults(Faults::default());
    }

    /// Waits until the cache shows what is stored.
    async fn caught_up(&self) -> Revision {
        let latest = self.store.latest().await.unwrap();
        let reached = tokio::time::timeout(Duration::from_secs(60), self.cache.reached(latest));
        assert_eq!(reached.await, Ok(true));
        latest
    }

    /// The cache and the store have the same pods.
    fn assert_same(&self) {
        let stored = self.store.entries("/pods/").into_iter();
        let stored = stored.map(|entry| (entry.key, entry.mod_revision));
        let cached = self.cache.of(kind("pods")).unwrap().every();
        let cached = cached.map(|object| (Key::clone(&object.key), object.revision));
        assert_eq!(cached.collect::<Vec<_>>(), stored.collect::<Vec<_>>());
    }
}

/// The queued events, and why there are no more.
fn all(watcher: &Watcher) -> (Vec<String>, String) {
    let events = queued(watcher);
    let end = watcher.poll_next(&Context::from_waker(Waker::noop()));
    (events, format!("{end:?}"))
}

fn pods() -> Filter {
    filter("pods", "", "", "")
}

#[tokio::test(start_paused = true)]
async fn changes_that_broke_off_go_on_where_they_were() {
    let followed = Followed::start(Double::new(Faults::default(), 1)).await;
    let watcher = watch(&followed.cache, pods(), Start::Now).events;
    followed.write("a", Some("web")).await;
    followed.caught_up().await;
    followed.store.set_faults(broken());
    followed.write("b", Some("web")).await;
    followed.write("a", None).await;
    followed.write("a", Some("db")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    followed.store.set_faults(Faults::default());
    followed.caught_up().await;
    followed.assert_same();
    let events = ["ADDED a@1", "ADDED b@2", "DELETED a@3", "ADDED a@4"];
    assert_eq!(queued(&watcher), events);
    let resumed = watch(&followed.cache, pods(), Start::After(1)).events;
    assert_eq!(queued(&resumed), events[1..]);
    assert_eq!(followed.cache.watchers(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_missed_changes_all_watches_end_and_none_resumes_from_before() {
    let followed = Followed::start(Double::new(Faults::default(), 1)).await;
    for name in ["a", "b", "c", "d"] {
        followed.write(name, Some("web")).await;
    }
    let known = followed.caught_up().await;
    let open = [
        pods(),
        filter("pods", "", "", "spec.nodeName=n1"),
        filter("nodes", "", "", ""),
    ];
    let open = open.map(|filter| watch(&followed.cache, filter, Start::Now).events);
    followed.write("e", Some("web")).await;
    let seen = followed.caught_up().await;
    let missed = [
        ("a", None),
        ("b", None),
        ("c", None),
        ("c", Some("another")),
        ("d", Some("db")),
        ("f", Some("web")),
    ];
    followed.miss(&missed).await;
    let now = followed.caught_up().await;
    followed.assert_same();

    // Nothing is made up: what came before is there, then the watches end.
    let ends = open.map(|watcher| all(&watcher));
    let end = "Ready(Missed)".to_owned();
    let [all, of_node, nodes] = ends;
    assert_eq!(all, (vec!["ADDED e@5".to_owned()], end.clone()));
    assert_eq!(of_node, (vec!["ADDED e@5".to_owned()], end.clone()));
    assert_eq!(nodes, (Vec::new(), end));
    assert_eq!(followed.cache.watchers(), 0);
    for plural in ["pods", "nodes"] {
        let objects = followed.cache.of(kind(plural)).unwrap();
        for from in [known, seen, now - 1] {
            let start = Start::After(from);
            let refused = objects.watch(now, "/", filter(plural, "", "", ""), start);
            assert_eq!(refused.unwrap_err(), now, "{plural} from {from}");
            assert!(objects.as_of(now, Some(from)).is_none());
            assert!(objects.changes_after(from).is_none());
        }
        // Readers that compare it with what they have seen look again.
        assert_eq!(objects.last_changed(), now);
    }
    let resumed = watch(&followed.cache, pods(), Start::After(now)).events;
    let with_state = watch(&followed.cache, pods(), Start::State);
    assert_eq!(with_state.revision, now);
    let names: Vec<&str> = with_state.objects.iter().map(|pod| pod.name()).collect();
    assert_eq!(names, ["c", "d", "e", "f"]);
    followed.write("g", Some("web")).await;
    followed.caught_up().await;
    assert_eq!(queued(&resumed), ["ADDED g@12"]);
}

#[tokio::test]
async fn a_store_that_is_behind_is_not_shown() {
    let followed = Followed::start(Double::new(Faults::default(), 1)).await;
    followed.write("a", Some("web")).await;
    followed.write("b", Some("web")).await;
    followed.caught_up().await;
    let watcher = watch(&followed.cache, pods(), Start::Now).events;
    let behind = Followed::start(Double::new(Faults::default(), 1)).await;
    behind.write("a", Some("web")).await;
    let refused = followed.cache.reload(&*behind.store).await.unwrap_err();
    assert!(refused.to_string().contains("revision 1"), "{refused}");
    followed.assert_same();
    assert_eq!(followed.cache.revision(), 2);
    assert_eq!(all(&watcher), (Vec::new(), "Pending".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_object_is_waited_for_also_while_changes_are_missed() {
    let followed = Followed::start(Double::new(Faults::default(), 1)).await;
    let cache = Arc::clone(&followed.cache);
    let waiting = pandaemon_runtime::spawn("waiter", async move {
        cache.wait_for(kind("pods"), "d", "late").await
    });
    followed.write("a", Some("web")).await;
    followed.caught_up().await;
    for name in ["b", "late"] {
        followed.miss(&[(name, Some("web"))]).await;
        followed.caught_up().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let found = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    let found = found.expect("it waits for ever").unwrap().flatten();
    assert_eq!(found.map(|pod| pod.revision), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_added_while_changes_are_missed_shows_the_store() {
    for seed in 0..300 {
        let slow = Faults {
            latency: Duration::from_millis(20),
            ..Faults::default()
        };
        let lagging = Faults {
            broken: 600,
            forgotten: 600,
            ..slow.clone()
        };
        let followed = Followed::start(Double::new(slow.clone(), seed)).await;
        for name in ["kept", "changed", "gone"] {
            followed.write(name, Some("web")).await;
        }
        followed.caught_up().await;
        followed.cache.remove_kind(kind("pods"));
        followed.store.set_faults(lagging);
        let changes = async {
            followed.write("changed", Some("db")).await;
            followed.write("gone", None).await;
            followed.write("new", Some("web")).await;
        };
        let added = followed.cache.add_kind(kind("pods"), &*followed.store);
        let (added, ()) = tokio::join!(added, changes);
        added.unwrap();
        followed.store.set_faults(slow);
        followed.caught_up().await;
        followed.assert_same();
    }
}
