//! Model test: any sequence of transactions, restarts and kills gives the same state and the same
//! changes as a plain map.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::common::{Kept, copy, latest, open, state};
use pandaemon_store::{
    Durability, Embedded, Error, Expect, Op, Revision, Store, Transaction, Write,
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    /// Transactions that are sent concurrently.
    Transactions(Vec<(Vec<Attempt>, bool)>),
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
    Delete,
    Check,
}

#[derive(Debug, Clone)]
struct Known {
    created: Revision,
    modified: Revision,
    value: String,
    volatile: bool,
}

impl Known {
    fn show(&self, key: &str) -> String {
        format!("{key}={}@{}/{}", self.value, self.created, self.modified)
    }
}

#[derive(Debug, Default)]
struct Model {
    keys: BTreeMap<String, Known>,
    revision: Revision,
    events: Vec<String>,
}

impl Model {
    /// A transaction of these attempts, as far as each is about a key of its own.
    fn request(&self, attempts: &[Attempt], is_volatile: bool) -> Transaction {
        let mut writes: Vec<Write> = Vec::new();
        for attempt in attempts {
            let write = self.write(attempt);
            if writes.iter().all(|other| other.key != write.key) {
                writes.push(write);
            }
        }
        let durability = if is_volatile {
            Durability::Volatile
        } else {
            Durability::Durable
        };
        Transaction { writes, durability }
    }

    fn write(&self, attempt: &Attempt) -> Write {
        // A collection each, so that any of them may be changed together.
        let key = format!("/{}/k", attempt.key);
        let known = self.keys.get(&key);
        let expect = match (known, attempt.matching) {
            (Some(known), true) => Expect::At(known.modified),
            (None, true) | (Some(_), false) => Expect::Absent,
            (None, false) => Expect::At(self.revision),
        };
        let op = match attempt.kind {
            Kind::Put => Op::Put(attempt.value.to_string().into()),
            Kind::Delete => Op::Delete,
            Kind::Check => Op::Check,
        };
        Write {
            key: key.into(),
            expect,
            op,
            note: None,
        }
    }

    /// Which write of a transaction is a conflict.
    fn conflict(&self, transaction: &Transaction) -> Option<usize> {
        transaction.writes.iter().position(|write| {
            let known = self.keys.get(&*write.key);
            !match write.expect {
                Expect::Absent => known.is_none() && !matches!(write.op, Op::Delete),
                Expect::At(revision) => known.is_some_and(|known| known.modified == revision),
            }
        })
    }

    /// Applies a transaction. Returns the revision that the store must assign, or which write is a
    /// conflict.
    fn apply(&mut self, transaction: &Transaction) -> Result<Revision, usize> {
        if let Some(at) = self.conflict(transaction) {
            return Err(at);
        }
        let is_change = |write: &Write| !matches!(write.op, Op::Check);
        self.revision += u64::from(transaction.writes.iter().any(is_change));
        for write in &transaction.writes {
            let key = write.key.to_string();
            let old = self.keys.get(&key).cloned();
            let after = match &write.op {
                Op::Check => continue,
                Op::Delete => {
                    self.keys.remove(&key);
                    format!("{key} is gone")
                }
                Op::Put(value) => {
                    let new = Known {
                        created: old.as_ref().map_or(self.revision, |old| old.created),
                        modified: self.revision,
                        value: String::from_utf8_lossy(value).into_owned(),
                        volatile: transaction.durability == Durability::Volatile
                            && old.is_none_or(|old| old.volatile),
                    };
                    let after = new.show(&key);
                    self.keys.insert(key, new);
                    after
                }
            };
            self.events.push(format!("{}: {after}", self.revision));
        }
        Ok(self.revision)
    }

    /// A restart: volatile keys are gone, which is news of one more revision.
    fn restart(&mut self) {
        let before = self.keys.len();
        self.keys.retain(|_, known| !known.volatile);
        self.revision += u64::from(self.keys.len() < before);
        self.events.clear();
    }

    fn state(&self) -> Vec<String> {
        self.keys
            .iter()
            .map(|(key, known)| known.show(key))
            .collect()
    }
}

struct Harness {
    _root: tempfile::TempDir,
    directory: PathBuf,
    copies: usize,
    store: Option<Embedded>,
    follower: Option<Arc<Kept>>,
    model: Model,
}

impl Harness {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("0");
        let model = Model::default();
        let mut harness = Self {
            _root: root,
            directory,
            copies: 0,
            store: None,
            follower: None,
            model,
        };
        harness.open().await;
        harness
    }

    async fn open(&mut self) {
        let store = open(&self.directory);
        self.follower = Some(Kept::of(&store, latest(&store)).await);
        self.store = Some(store);
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Transactions(all) => self.commit(all).await,
            Step::Restart => {
                self.check_events();
                self.store = None;
                self.open().await;
                self.model.restart();
                assert_eq!(latest(self.store.as_ref().unwrap()), self.model.revision);
            }
            Step::Kill => {
                self.copies += 1;
                let to = self.directory.with_file_name(self.copies.to_string());
                copy(&self.directory, &to);
                self.check_events();
                self.directory = to;
                self.store = None;
                self.open().await;
                self.model.restart();
                let revision = latest(self.store.as_ref().unwrap());
                assert!(revision >= self.model.revision);
                self.model.revision = revision;
            }
        }
        let store = self.store.as_ref().unwrap();
        assert_eq!(state(store), self.model.state());
    }

    async fn commit(&mut self, all: &[(Vec<Attempt>, bool)]) {
        let store = self.store.as_ref().unwrap();
        let requests = all.iter();
        let requests =
            requests.map(|(attempts, is_volatile)| self.model.request(attempts, *is_volatile));
        let requests: Vec<Transaction> = requests.collect();
        let commits = requests.iter().map(|request| store.commit(request.clone()));
        let results = futures::future::join_all(commits).await;
        for (request, result) in requests.iter().zip(results) {
            match (self.model.apply(request), result) {
                (Ok(revision), Ok(given)) => assert_eq!(revision, given),
                (Err(known), Err(Error::Conflict { at, current })) => {
                    assert_eq!(at, known);
                    let known = self.model.keys.get(&*request.writes[at].key);
                    let known = known.map(|known| known.modified);
                    assert_eq!(current.map(|entry| entry.mod_revision), known);
                }
                (expected, given) => panic!("{request:?}: {expected:?}, but {given:?}"),
            }
        }
        assert_eq!(latest(store), self.model.revision);
    }

    fn check_events(&self) {
        let follower = self.follower.as_ref().unwrap();
        assert_eq!(follower.events(), self.model.events);
        let revisions = follower.batches().into_iter().map(|batch| {
            let revision = |event: &String| event.split(':').next().unwrap().to_owned();
            (revision(&batch[0]), revision(&batch[batch.len() - 1]))
        });
        let revisions: Vec<(String, String)> = revisions.collect();
        for pair in revisions.windows(2) {
            assert_ne!(pair[0].1, pair[1].0, "a batch ends within a revision");
        }
    }
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let kind = prop_oneof![4 => Just(Kind::Put), 1 => Just(Kind::Delete), 1 => Just(Kind::Check)];
    let parts = (0_u8..6, any::<u16>(), kind, prop::bool::weighted(0.85));
    parts.prop_map(|(key, value, kind, matching)| Attempt {
        key,
        value,
        kind,
        matching,
    })
}

fn transaction() -> impl Strategy<Value = (Vec<Attempt>, bool)> {
    (
        prop::collection::vec(attempt(), 1..4),
        prop::bool::weighted(0.2),
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(transaction(), 1..8).prop_map(Step::Transactions),
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
            let mut harness = Harness::new().await;
            for step in &steps {
                harness.step(step).await;
            }
            harness.check_events();
        });
    }
}
