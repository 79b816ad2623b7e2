//! Model test: any sequence of writes, restarts and kills gives the same state and the same feed as
//! a plain map.

use std::{collections::BTreeMap, path::PathBuf};

use crate::common::{copy, delete, open, put, show, state, volatile_put};
use pandaemon_store::{Durability, Embedded, Error, Expect, Feed, Op, Revision, Store, Write};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// Writes that are sent concurrently.
    Writes(Vec<Attempt>),
    Restart,
    Kill,
}

#[derive(Debug, Clone)]
struct Attempt {
    key: u8,
    value: u16,
    kind: Kind,
    /// Whether the precondition holds before the step.
    matching: bool,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Put,
    VolatilePut,
    Delete,
}

#[derive(Debug, Clone)]
struct Known {
    created: Revision,
    modified: Revision,
    value: String,
    volatile: bool,
}

#[derive(Debug, Default)]
struct Model {
    keys: BTreeMap<String, Known>,
    revision: Revision,
    feed: Vec<String>,
}

impl Model {
    fn request(&self, attempt: &Attempt) -> Write {
        let key = format!("/{}", attempt.key);
        let known = self.keys.get(&key);
        let expect = match (known, attempt.matching) {
            (Some(known), true) => Expect::At(known.modified),
            (None, true) | (Some(_), false) => Expect::Absent,
            (None, false) => Expect::At(self.revision),
        };
        match attempt.kind {
            Kind::Put => put(&key, expect, &attempt.value.to_string()),
            Kind::VolatilePut => volatile_put(&key, expect, &attempt.value.to_string()),
            Kind::Delete => Write {
                expect,
                ..delete(&key, 0)
            },
        }
    }

    /// Applies a write. Returns the revision that the store must assign; `None` for a conflict.
    fn apply(&mut self, write: &Write) -> Option<Revision> {
        let key = write.key.to_string();
        let old = self.keys.get(&key).cloned();
        let holds = match write.expect {
            Expect::Absent => old.is_none() && matches!(write.op, Op::Put(_)),
            Expect::At(revision) => old.as_ref().is_some_and(|old| old.modified == revision),
        };
        if !holds {
            return None;
        }
        self.revision += 1;
        let text = |k: &Known| format!("{key}={}@{}/{}", k.value, k.created, k.modified);
        let before = old.as_ref().map_or_else(|| "-".to_owned(), text);
        let after = match &write.op {
            Op::Delete => {
                self.keys.remove(&key);
                "-".to_owned()
            }
            Op::Put(value) => {
                let new = Known {
                    created: old.as_ref().map_or(self.revision, |old| old.created),
                    modified: self.revision,
                    value: String::from_utf8_lossy(value).into_owned(),
                    volatile: write.durability == Durability::Volatile
                        && old.is_none_or(|old| old.volatile),
                };
                let after = text(&new);
                self.keys.insert(key, new);
                after
            }
        };
        self.feed
            .push(format!("{}: {before} -> {after}", self.revision));
        Some(self.revision)
    }

    fn restart(&mut self) {
        self.keys.retain(|_, known| !known.volatile);
        self.feed.clear();
    }

    fn state(&self) -> Vec<String> {
        let show = |(key, known): (&String, &Known)| {
            format!("{key}={}@{}/{}", known.value, known.created, known.modified)
        };
        self.keys.iter().map(show).collect()
    }
}

struct Harness {
    _root: tempfile::TempDir,
    directory: PathBuf,
    copies: usize,
    store: Option<Embedded>,
    feed: Option<Box<dyn Feed>>,
    model: Model,
}

impl Harness {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("0");
        let model = Model::default();
        let mut harness = Self {
            _root: root,
            directory,
            copies: 0,
            store: None,
            feed: None,
            model,
        };
        harness.open();
        harness
    }

    fn open(&mut self) {
        let store = open(&self.directory);
        self.feed = Some(store.follow(store.snapshot().revision).unwrap());
        self.store = Some(store);
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Writes(attempts) => self.write(attempts).await,
            Step::Restart => {
                self.check_feed().await;
                self.store = None;
                self.open();
                self.model.restart();
                assert_eq!(
                    self.store.as_ref().unwrap().snapshot().revision,
                    self.model.revision
                );
            }
            Step::Kill => {
                self.copies += 1;
                let to = self.directory.with_file_name(self.copies.to_string());
                copy(&self.directory, &to);
                self.check_feed().await;
                self.directory = to;
                self.store = None;
                self.open();
                self.model.restart();
                let revision = self.store.as_ref().unwrap().snapshot().revision;
                assert!(revision >= self.model.revision);
                self.model.revision = revision;
            }
        }
        let store = self.store.as_ref().unwrap();
        assert_eq!(state(store), self.model.state());
    }

    async fn write(&mut self, attempts: &[Attempt]) {
        let store = self.store.as_ref().unwrap();
        let writes: Vec<Write> = attempts.iter().map(|a| self.model.request(a)).collect();
        let commits = writes.iter().map(|write| store.commit(write.clone()));
        let results = futures::future::join_all(commits).await;
        for (write, result) in writes.iter().zip(results) {
            match (self.model.apply(write), result) {
                (Some(revision), Ok(given)) => assert_eq!(revision, given),
                (None, Err(Error::Conflict(entry))) => {
                    let known = self.model.keys.get(&*write.key).map(|known| known.modified);
                    assert_eq!(entry.map(|entry| entry.mod_revision), known);
                }
                (expected, given) => panic!("{write:?}: {expected:?}, but {given:?}"),
            }
        }
        assert_eq!(store.snapshot().revision, self.model.revision);
    }

    async fn check_feed(&mut self) {
        let mut read = Vec::new();
        while read.len() < self.model.feed.len() {
            read.extend(
                self.feed
                    .as_mut()
                    .unwrap()
                    .next()
                    .await
                    .unwrap()
                    .iter()
                    .map(show),
            );
        }
        assert_eq!(read, self.model.feed);
    }
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let kind =
        prop_oneof![3 => Just(Kind::Put), 1 => Just(Kind::VolatilePut), 1 => Just(Kind::Delete)];
    let parts = (0_u8..6, any::<u16>(), kind, prop::bool::weighted(0.85));
    parts.prop_map(|(key, value, kind, matching)| Attempt {
        key,
        value,
        kind,
        matching,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(attempt(), 1..8).prop_map(Step::Writes),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn any_sequence_of_writes_restarts_and_kills_matches_a_map(steps in prop::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut harness = Harness::new();
            for step in &steps {
                harness.step(step).await;
            }
            harness.check_feed().await;
        });
    }
}
