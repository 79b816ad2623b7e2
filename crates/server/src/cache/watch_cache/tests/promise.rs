//! The promise of watches (`docs/reliability.md`): whatever happens, each watch delivers what a
//! model says, or ends, and then goes on without a gap or is refused with 410.

mod client;
mod concurrent;
mod model;

use std::{cell::Cell, collections::BTreeMap, time::Duration};

use pandaemon_runtime::metrics::Metrics;
use pandaemon_store::{
    Expect, Key, Op, Store, Transaction,
    double::{Double, Faults},
};
use parking_lot::Mutex;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::task::JoinHandle;

use self::{
    client::{Allowed, Begin, Client},
    model::{APPS, Fields, Item, KINDS, Labels, NAMES, NAMESPACES, NODES, PODS, Selection, Truth},
};
use super::*;
use crate::{
    admission::{AdmissionConfiguration, Chain},
    registry::Registry,
};

/// A write of an object; `None` deletes it.
#[derive(Debug, Clone, Copy)]
struct Write {
    key: u8,
    item: Option<u8>,
    /// Another object, of the other kind, in the same transaction.
    with: Option<u8>,
}

#[derive(Debug, Clone)]
enum Step {
    /// Writers at the same time.
    Write(Vec<Write>),
    Open(Selection, Begin, bool),
    /// The client of this number reads what has come; if its watch has ended, it opens another.
    Read(u8),
    /// The connection of this client is lost.
    Lose(u8),
    /// Time for what is under way.
    Pass,
    /// Time until bookmarks are due.
    Wait,
    ForgetHistory,
    ShrinkHistory(u16),
    /// The changes of the store break off at so many of a thousand batches, and are forgotten at so
    /// many of these.
    Break(u32, u32),
    Mend,
    /// The server ends, in order or not, and another one starts.
    Restart(bool),
}

/// What is the same during a run.
#[derive(Debug, Clone, Copy)]
struct Setting {
    seed: u64,
    latency: u64,
    /// Whether queues are small.
    is_slow: bool,
    /// Whether the history is short.
    is_short: bool,
}

/// A server: what is between the store and the bodies of watches.
struct Plane {
    registry: Arc<Registry>,
    reflector: JoinHandle<Option<()>>,
}

impl Plane {
    async fn start(store: Arc<dyn Store>, setting: Setting) -> Self {
        let mut budgets = Budgets::default();
        if setting.is_slow {
            budgets.queued = budget::Budget::new(20_000);
        }
        if setting.is_short {
            budgets.history = budget::Budget::new(6_000);
        }
        let cache = WatchCache::with_budgets(0, budgets).loaded(&*store).await;
        let cache = Arc::new(cache.unwrap());
        let reflector = run_reflector(Arc::clone(&cache), Arc::clone(&store));
        let reflector = pandaemon_runtime::spawn("reflector", reflector);
        let admission = Chain::new(
            AdmissionConfiguration::default(),
            Vec::new(),
            &Metrics::default(),
        );
        Self {
            registry: Arc::new(Registry::new(store, cache, admission)),
            reflector,
        }
    }

    fn cache(&self) -> &WatchCache {
        &self.registry.cache
    }
}

/// The keys of all objects, by number.
fn place(number: u8) -> (&'static str, (&'static str, &'static str)) {
    let number = usize::from(number);
    let names = (NAMESPACES[number / 2 % 2], NAMES[number / 4 % 3]);
    (KINDS[number % 2], names)
}

struct World {
    setting: Setting,
    store: Double,
    truth: Arc<Mutex<Arc<Truth>>>,
    plane: Plane,
    clients: Vec<Client>,
    allowed: Allowed,
    written: u64,
    /// The revision that readers of an object have seen it at, at least.
    seen: BTreeMap<u8, Revision>,
}

impl World {
    async fn start(setting: Setting) -> Self {
        let store = Double::new(Faults::default(), setting.seed);
        let (plural, names) = place(0);
        let first = Op::Put(Item::new(0, 0).encode(plural, names));
        let key = key(kind(plural), names.0, names.1);
        let first = Transaction::of(key, Expect::Absent, first);
        store.commit(first).await.unwrap();
        let plane = Plane::start(Arc::new(store.clone()), setting).await;
        let world = Self {
            setting,
            store,
            truth: Arc::default(),
            plane,
            clients: Vec::new(),
            allowed: Allowed {
                slow: setting.is_slow,
                short_history: setting.is_short,
                ..Allowed::default()
            },
            written: 0,
            seen: BTreeMap::new(),
        };
        world.mend();
        world
    }

    /// Gives all changes so far.
    fn source(&self) -> impl Fn() -> Arc<Truth> + Send + Sync + 'static {
        let (store, truth) = (self.store.clone(), Arc::clone(&self.truth));
        move || {
            let mut truth = truth.lock();
            let known = truth.events();
            Arc::make_mut(&mut truth).update(&store.events()[known..]);
            Arc::clone(&truth)
        }
    }

    fn faults(&self) -> Faults {
        Faults {
            latency: Duration::from_millis(self.setting.latency),
            ..Faults::default()
        }
    }

    fn mend(&self) {
        self.store.set_faults(self.faults());
    }

    /// Begins a write. Its guards are those of the state at this moment.
    async fn write(&mut self, write: Write) {
        let mut all = vec![(write.key, write.item)];
        let other = write.with.filter(|other| other % 2 != write.key % 2);
        all.extend(other.map(|other| (other, Some(other))));
        let mut writes = Vec::new();
        for (number, item) in all {
            let (plural, names) = place(number);
            let key = key(kind(plural), names.0, names.1);
            let old = self.store.get(&key).await.unwrap();
            self.written += 1;
            let op = match item {
                Some(choice) => Op::Put(Item::new(self.written, choice).encode(plural, names)),
                None if old.is_some() => Op::Delete,
                None => continue,
            };
            let expect = old.map_or(Expect::Absent, |old| Expect::At(old.mod_revision));
            writes.extend(Transaction::of(key, expect, op).writes);
        }
        let transaction = Transaction {
            writes,
            ..Transaction::of(Key::from("/x//x"), Expect::Absent, Op::Check)
        };
        let store = self.store.clone();
        pandaemon_runtime::spawn("writer", async move {
            // Another writer may have been faster.
            drop(store.commit(transaction).await);
        });
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Write(writes) => {
                for write in writes {
                    self.write(*write).await;
                }
            }
            Step::Open(selection, begin, bookmarks) => {
                let mut client = Client::new(selection.clone(), *begin, *bookmarks);
                self.connect(&mut client).await;
                self.clients.push(client);
            }
            Step::Read(number) => self.read(*number).await,
            Step::Lose(number) => {
                if let Some(client) = self.client(*number) {
                    client.lose();
                }
            }
            Step::Pass => tokio::time::sleep(Duration::from_millis(10)).await,
            Step::Wait => tokio::time::sleep(Duration::from_secs(60)).await,
            Step::ForgetHistory => {
                self.plane.cache().forget_history();
                self.allowed.floor = self.plane.cache().revision();
            }
            Step::ShrinkHistory(bytes) => {
                for (_, kind) in self.plane.cache().all() {
                    kind.shrink_history((*bytes).into());
                }
                self.allowed.short_history = true;
            }
            Step::Break(broken, forgotten) => {
                self.allowed.missed |= *forgotten > 0;
                self.store.set_faults(Faults {
                    broken: *broken,
                    forgotten: *forgotten,
                    ..self.faults()
                });
            }
            Step::Mend => self.mend(),
            Step::Restart(in_order) => self.restart(*in_order).await,
        }
        tokio::task::yield_now().await;
        self.look();
    }

    fn client(&mut self, number: u8) -> Option<&mut Client> {
        let count = self.clients.len();
        self.clients.get_mut(usize::from(number) % count.max(1))
    }

    async fn connect(&self, client: &mut Client) {
        let source = self.source();
        let registry = &self.plane.registry;
        client.connect(registry, &source, self.allowed).await;
    }

    async fn read(&mut self, number: u8) {
        let (source, allowed) = (self.source(), self.allowed);
        let Some(client) = self.client(number) else {
            return;
        };
        if client.read(&source, allowed) {
            return;
        }
        let at = usize::from(number) % self.clients.len();
        let mut client = self.clients.swap_remove(at);
        self.connect(&mut client).await;
        self.clients.push(client);
    }

    async fn restart(&mut self, in_order: bool) {
        if in_order {
            self.plane.cache().close();
        } else {
            self.clients.iter_mut().for_each(Client::lose);
        }
        self.plane.reflector.abort();
        self.plane = Plane::start(Arc::new(self.store.clone()), self.setting).await;
        self.allowed = Allowed {
            start: self.allowed.start + 1,
            slow: self.setting.is_slow,
            short_history: self.setting.is_short,
            missed: self.allowed.missed,
            floor: self.plane.cache().revision(),
        };
    }

    /// Reads each object: none is older than before, or than the applied revision says.
    fn look(&mut self) {
        let truth = self.source()();
        for number in 0..12 {
            let (plural, (namespace, name)) = place(number);
            let applied = self.plane.cache().revision();
            let registry = &self.plane.registry;
            let found = registry.find(kind(plural), namespace, name);
            let found = found.map(|object| object.revision);
            let least = self.seen.entry(number).or_default();
            *least = applied.max(*least);
            let names = (namespace.to_owned(), name.to_owned());
            let at = truth.found_at((plural, &names), found, *least);
            let Some(at) = at else {
                panic!("{plural} {names:?} at {found:?}, after a reader saw it at {least}");
            };
            *least = at;
        }
    }

    /// All is quiet, and every client catches up. Returns how often watches went on and could not.
    async fn settle(&mut self) -> (usize, usize) {
        self.mend();
        tokio::time::sleep(Duration::from_secs(20)).await;
        let latest = self.store.latest().await.unwrap();
        assert!(self.plane.cache().reached(latest).await);
        let source = self.source();
        let (mut resumed, mut refused) = (0, 0);
        for client in &mut self.clients {
            let registry = &self.plane.registry;
            client.settle(registry, &source, self.allowed).await;
            resumed += client.resumed;
            refused += client.refused;
        }
        self.look();
        (resumed, refused)
    }
}

fn write() -> impl Strategy<Value = Write> {
    let item = prop::option::weighted(0.75, 0_u8..18);
    let parts = (0_u8..12, item, prop::option::weighted(0.2, 0_u8..12));
    parts.prop_map(|(key, item, with)| Write { key, item, with })
}

fn selection() -> impl Strategy<Value = Selection> {
    let labels = prop_oneof![
        3 => Just(Labels::All),
        2 => prop::sample::select(&APPS[1..]).prop_map(Labels::Is),
        1 => prop::sample::select(&APPS[1..]).prop_map(Labels::IsNot),
        1 => Just(Labels::Absent),
    ];
    let fields = prop_oneof![
        3 => Just(Fields::All),
        1 => prop::sample::select(&NAMES[..]).prop_map(Fields::Name),
        1 => prop::sample::select(&NAMES[..]).prop_map(Fields::NotName),
        1 => prop::sample::select(&NAMESPACES[..]).prop_map(Fields::Namespace),
        2 => prop::sample::select(&NODES[..]).prop_map(Fields::Node),
        1 => prop::sample::select(&["Pending", "Running"][..]).prop_map(Fields::Phase),
    ];
    let plural = prop::sample::select(&[PODS, PODS, KINDS[1]][..]);
    let namespace = prop::option::weighted(0.4, prop::sample::select(&NAMESPACES[..]));
    (plural, namespace, labels, fields).prop_map(|(plural, namespace, labels, fields)| {
        let is_of_pods = matches!(fields, Fields::Node(_) | Fields::Phase(_));
        Selection {
            plural,
            namespace,
            labels,
            fields: match plural != PODS && is_of_pods {
                true => Fields::All,
                false => fields,
            },
        }
    })
}

fn begin() -> impl Strategy<Value = Begin> {
    prop_oneof![
        Just(Begin::List),
        Just(Begin::Unset),
        Just(Begin::Any),
        Just(Begin::InitialEvents),
        Just(Begin::Now),
        any::<u8>().prop_map(Begin::After),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => prop::collection::vec(write(), 1..6).prop_map(Step::Write),
        6 => (selection(), begin(), any::<bool>()).prop_map(|(s, b, m)| Step::Open(s, b, m)),
        16 => any::<u8>().prop_map(Step::Read),
        2 => any::<u8>().prop_map(Step::Lose),
        6 => Just(Step::Pass),
        3 => Just(Step::Wait),
        1 => Just(Step::ForgetHistory),
        1 => (0_u16..3000).prop_map(Step::ShrinkHistory),
        1 => (100_u32..1000, prop_oneof![Just(0_u32), 0_u32..1000]).prop_map(|(b, f)| Step::Break(b, f)),
        1 => Just(Step::Mend),
        1 => any::<bool>().prop_map(Step::Restart),
    ]
}

fn setting() -> impl Strategy<Value = Setting> {
    let latency = prop_oneof![Just(0_u64), 1_u64..30];
    let parts = (
        any::<u64>(),
        latency,
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    );
    parts.prop_map(|(seed, latency, is_slow, is_short)| Setting {
        seed,
        latency,
        is_slow,
        is_short,
    })
}

#[test]
fn every_watch_delivers_what_the_model_says_or_ends() {
    let (resumed, refused) = (Cell::new(0), Cell::new(0));
    let config = Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    };
    let run = (setting(), prop::collection::vec(step(), 20..120));
    let outcome = TestRunner::new(config).run(&run, |(setting, steps)| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let counts = runtime.block_on(async {
            let mut world = World::start(setting).await;
            for step in &steps {
                world.step(step).await;
            }
            world.settle().await
        });
        resumed.set(resumed.get() + counts.0);
        refused.set(refused.get() + counts.1);
        Ok(())
    });
    outcome.unwrap();
    let (resumed, refused) = (resumed.get(), refused.get());
    assert!(
        resumed > 200 && refused > 200,
        "{resumed} went on, {refused} could not"
    );
}
