//! The checks themselves: a correct server has no violations, and each way to break its promises is
//! noticed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use fastrand::Rng;
use pandaemon_histories::{
    Answer, Change, Contents, Entry, History, Operation, Request, Selector, Snapshot, Version,
    WatchLog, broken::BREAKS, violations, watches,
};

const CLIENTS: usize = 6;
const KEYS: usize = 3;

/// A correct server in memory. Its clients act in steps, each at a time of its own: a request is
/// sent, has its effect, is answered.
#[derive(Debug, Default)]
struct Simulated {
    random: Rng,
    now: u64,
    revision: u64,
    values: u64,
    contents: Contents,
    /// Every change, with the state before it.
    changes: Vec<(Change, String, Version, Option<Version>)>,
    /// What each client last read, by object.
    read: BTreeMap<(usize, String), Version>,
    operations: Vec<Operation>,
}

impl Simulated {
    fn next_value(&mut self) -> u64 {
        self.values += 1;
        self.values
    }

    fn request(&mut self, client: usize, key: &str) -> Request {
        let from = self.read.get(&(client, key.to_owned())).copied();
        match (self.random.u8(0..10), from) {
            (0 | 1, _) => Request::Create(self.next_value()),
            (2..=4, Some(from)) => {
                let value = self.next_value();
                Request::Replace { from, value }
            }
            (5, _) => Request::Patch(self.next_value()),
            (6, from) => Request::Delete(from.filter(|_| self.random.bool())),
            (7, _) => Request::List,
            (8, _) => Request::ListAny,
            _ => Request::Get,
        }
    }

    fn write(&mut self, key: &str, value: u64) -> Answer {
        self.revision += 1;
        let version = Version {
            value,
            revision: self.revision,
        };
        let before = self.contents.insert(key.to_owned(), version);
        let change = before.map_or(Change::Added, |_| Change::Modified);
        self.changes.push((change, key.to_owned(), version, before));
        Answer::Written(self.revision)
    }

    fn effect(&mut self, request: Request, key: &str) -> Answer {
        let now = self.contents.get(key).copied();
        match (request, now) {
            (Request::Create(_), Some(_)) => Answer::Exists,
            (Request::Create(value), None) => self.write(key, value),
            (Request::Replace { .. } | Request::Patch(_) | Request::Delete(_), None) => {
                Answer::NotFound
            }
            (Request::Replace { from, .. } | Request::Delete(Some(from)), Some(now))
                if from != now =>
            {
                Answer::Conflict
            }
            (Request::Replace { value, .. } | Request::Patch(value), Some(_)) => {
                self.write(key, value)
            }
            (Request::Delete(_), Some(before)) => {
                self.revision += 1;
                self.contents.remove(key);
                let version = Version {
                    revision: self.revision,
                    ..before
                };
                let change = (Change::Deleted, key.to_owned(), version, Some(before));
                self.changes.push(change);
                Answer::Deleted
            }
            (Request::Get, now) => Answer::Found(now),
            (Request::List | Request::ListAny, _) => Answer::Listed(self.list(Selector::All)),
        }
    }

    fn list(&self, selector: Selector) -> Snapshot {
        let selected = self
            .contents
            .iter()
            .filter(|(_, v)| selector.matches(v.value));
        Snapshot {
            revision: self.revision,
            contents: selected
                .map(|(key, version)| (key.clone(), *version))
                .collect(),
        }
    }

    /// One client after the other takes a step.
    fn run(&mut self, steps: usize, watchers: &mut [Watcher]) {
        let mut waiting: Vec<Option<(Operation, Option<Answer>)>> = vec![None; CLIENTS];
        for _ in 0..steps {
            self.now += 3;
            for watcher in watchers.iter_mut() {
                watcher.step(self);
            }
            let client = self.random.usize(0..CLIENTS);
            waiting[client] = match waiting[client].take() {
                None => {
                    let key = format!("k{}", self.random.usize(0..KEYS));
                    let request = self.request(client, &key);
                    let is_list = matches!(request, Request::List | Request::ListAny);
                    let operation = Operation {
                        client: u32::try_from(client).unwrap(),
                        key: if is_list { String::new() } else { key },
                        called: self.now,
                        ended: None,
                        request,
                        answer: Answer::Unknown,
                    };
                    Some((operation, None))
                }
                Some((operation, None)) => match self.random.u8(0..20) {
                    // It never has its effect, or its answer is lost.
                    0 if operation.request.value().is_some() => self.lose(operation),
                    1 if operation.request.value().is_some() => {
                        let key = operation.key.clone();
                        self.effect(operation.request, &key);
                        self.lose(operation)
                    }
                    2 => self.end(operation, Answer::Refused),
                    _ => {
                        let key = operation.key.clone();
                        let answer = self.effect(operation.request, &key);
                        Some((operation, Some(answer)))
                    }
                },
                Some((operation, Some(answer))) => self.end(operation, answer),
            };
        }
        // What is still under way has no answer.
        self.operations.extend(
            waiting
                .into_iter()
                .flatten()
                .map(|(operation, _)| operation),
        );
    }

    fn lose(&mut self, mut operation: Operation) -> Option<(Operation, Option<Answer>)> {
        operation.ended = Some(self.now + 1).filter(|_| self.random.bool());
        self.operations.push(operation);
        None
    }

    fn end(
        &mut self,
        mut operation: Operation,
        answer: Answer,
    ) -> Option<(Operation, Option<Answer>)> {
        let client = usize::try_from(operation.client).unwrap();
        if let Answer::Found(Some(version)) = answer {
            self.read.insert((client, operation.key.clone()), version);
        }
        operation.ended = Some(self.now);
        operation.answer = answer;
        self.operations.push(operation);
        None
    }
}

/// A client that watches.
struct Watcher {
    log: WatchLog,
    /// How many changes it has seen; `None` before its list.
    seen: Option<usize>,
}

impl Watcher {
    fn new(name: &str, selector: Selector) -> Self {
        let (name, entries) = (name.to_owned(), Vec::new());
        let log = WatchLog {
            name,
            selector,
            entries,
        };
        Self { log, seen: None }
    }

    fn step(&mut self, server: &mut Simulated) {
        let entries = &mut self.log.entries;
        let Some(seen) = self.seen.filter(|_| server.random.u16(0..300) > 0) else {
            entries.push(Entry::Listed(server.list(self.log.selector)));
            self.seen = Some(server.changes.len());
            return;
        };
        match (server.random.u8(0..8), server.changes.get(seen)) {
            (0, None) => entries.push(Entry::Bookmark(server.revision)),
            (1..=5, Some((change, key, version, before))) => {
                let was = before.filter(|before| self.log.selector.matches(before.value));
                let is = *change != Change::Deleted && self.log.selector.matches(version.value);
                let change = match (was, is) {
                    (None, false) => None,
                    (None, true) => Some((Change::Added, version.value)),
                    (Some(_), true) => Some((Change::Modified, version.value)),
                    (Some(was), false) => Some((Change::Deleted, was.value)),
                };
                entries.extend(change.map(|(change, value)| Entry::Event {
                    change,
                    key: key.clone(),
                    version: Version { value, ..*version },
                }));
                self.seen = Some(seen + 1);
            }
            _ => {}
        }
    }
}

/// A history of a correct server.
fn history(seed: u64) -> History {
    let mut server = Simulated {
        random: Rng::with_seed(seed),
        ..Simulated::default()
    };
    let mut watchers = [
        Watcher::new("all", Selector::All),
        Watcher::new("all too", Selector::All),
        Watcher::new("even", Selector::Even),
    ];
    server.run(600, &mut watchers);
    History {
        operations: server.operations,
        watches: watchers.into_iter().map(|watcher| watcher.log).collect(),
    }
}

#[test]
fn a_correct_server_has_no_violations() {
    let mut sum = watches::Compared::default();
    for seed in 0..100 {
        let history = history(seed);
        assert_eq!(violations(&history), [""; 0], "seed {seed}");
        let (compared, _) = watches::compare(&history);
        sum.lists += compared.lists;
        sum.writes += compared.writes;
        sum.selected += compared.selected;
    }
    assert!(
        sum.lists > 1_000 && sum.writes > 1_000 && sum.selected > 1_000,
        "{sum:?}"
    );
}

#[test]
fn every_way_to_break_a_promise_is_noticed() {
    for (name, break_it) in BREAKS {
        let mut done = 0;
        for seed in 0..100 {
            let mut random = Rng::with_seed(seed);
            let mut history = history(seed);
            if break_it(&mut history, &mut random) {
                done += 1;
                assert!(
                    !violations(&history).is_empty(),
                    "{name} is not noticed, seed {seed}"
                );
            }
        }
        assert!(
            done > 20,
            "{name}: only {done} histories could be broken so"
        );
    }
}

/// An operation on one object, by one client.
fn operation(called: u64, ended: Option<u64>, request: Request, answer: Answer) -> Operation {
    let (client, key) = (0, "k".to_owned());
    Operation {
        client,
        key,
        called,
        ended,
        request,
        answer,
    }
}

#[test]
fn a_write_without_an_answer_happened_or_not_and_stays_so() {
    let found = |value, revision| Answer::Found(Some(Version { value, revision }));
    let history = |reads: &[(u64, Answer)]| {
        let mut operations = vec![
            operation(1, Some(2), Request::Create(1), Answer::Written(1)),
            operation(3, Some(9), Request::Patch(2), Answer::Unknown),
        ];
        operations.extend(
            reads
                .iter()
                .map(|(at, answer)| operation(*at, Some(at + 1), Request::Get, answer.clone())),
        );
        let watches = Vec::new();
        violations(&History {
            operations,
            watches,
        })
    };
    assert_eq!(
        history(&[(4, found(1, 1)), (6, found(2, 5)), (20, found(2, 5))]),
        [""; 0]
    );
    assert_eq!(history(&[(20, found(1, 1))]), [""; 0]);
    // It was not there after its process had ended, and is there later.
    assert_eq!(history(&[(20, found(1, 1)), (30, found(2, 5))]).len(), 1);
    // It was seen, and is gone.
    assert_eq!(history(&[(4, found(2, 5)), (6, found(1, 1))]).len(), 1);
    // It was read with two revisions.
    assert_eq!(history(&[(4, found(2, 5)), (6, found(2, 6))]).len(), 1);
}
