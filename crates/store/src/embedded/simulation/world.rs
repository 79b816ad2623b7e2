//! A store on a simulated disk, and the model of what it must hold.

use std::{io, sync::Arc};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::model::{Item, Map};
use crate::{
    Durability, Error, Expect, Op, Options, Range, Revision, Transaction, Write,
    disk::simulated::{Faults, Mutation, Simulated},
    embedded::{
        open_writer,
        writer::{Job, Outcome, Request, Writer},
    },
    random::Rng,
};

/// Writes a checkpoint when the writer waits for its end.
fn when_awaited(job: Job) -> io::Result<Outcome> {
    Ok(Box::new(|| Ok(job())))
}

/// A transaction, and what became of it.
type Answer = (Transaction, oneshot::Receiver<crate::Result<Revision>>);

pub(super) struct World {
    pub(super) disk: Simulated,
    pub(super) rng: Rng,
    pub(super) writer: Option<Writer>,
    options: Options,
    /// What the store must hold.
    pub(super) now: Map,
    /// What it may hold after a crash instead: a batch whose fate is open.
    undecided: Vec<Map>,
    /// The highest revision that a client or a follower knows of.
    revision: Revision,
    /// The revision at which the store was closed in order, if no call has failed.
    closed_at: Option<Revision>,
    compactions: Vec<oneshot::Receiver<crate::Result<()>>>,
    pub(super) has_faults: bool,
    /// What the last frames left, for the tests of damage.
    pub(super) history: Vec<Map>,
    /// A number that tells values apart.
    count: u64,
    /// Prints what happens.
    is_traced: bool,
}

impl World {
    pub(super) fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        let mut rng = Rng::new(seed);
        let disk = Simulated::new(rng.next());
        disk.mutate(mutation);
        let options = Options {
            log_bytes: 800 + u64::try_from(rng.below(6000)).unwrap(),
            ..Options::default()
        };
        Self {
            disk,
            rng,
            writer: None,
            options,
            now: Map::default(),
            undecided: Vec::new(),
            revision: 0,
            closed_at: None,
            compactions: Vec::new(),
            has_faults: false,
            history: vec![Map::default()],
            count: 0,
            is_traced: false,
        }
    }

    pub(super) fn trace(&mut self) {
        self.is_traced = true;
        self.disk.record();
    }

    fn note(&self, what: impl FnOnce() -> String) {
        if self.is_traced {
            println!("{} -- {:?}", what(), self.disk.steps());
            self.disk.record();
        }
    }

    /// Opens the store. Without faults it must open, and hold what it must.
    pub(super) fn open(&mut self) -> Result<(), String> {
        let opened = self.try_open();
        self.note(|| format!("open: {:?}", opened.as_ref().err()));
        match opened {
            Ok(writer) => self.recovered(writer),
            Err(error) if self.disk.is_crashed() || self.has_faults => {
                let is_damage = matches!(error, Error::Damaged(_));
                if is_damage {
                    Err(format!("open: {error}"))
                } else {
                    Ok(())
                }
            }
            Err(error) => Err(format!("open: {error}")),
        }
    }

    pub(super) fn try_open(&self) -> crate::Result<Writer> {
        let (queue, requests) = mpsc::channel(1);
        let disk = Arc::new(self.disk.clone());
        let (options, wake) = (self.options.clone(), queue.downgrade());
        let opened = open_writer(disk, options, &|_, _| false, requests, wake, when_awaited);
        opened.map(|(writer, _)| writer)
    }

    fn recovered(&mut self, writer: Writer) -> Result<(), String> {
        let found = held(&writer);
        let mut may_be = vec![self.now.durable()];
        may_be.append(&mut self.undecided);
        let Some(at) = may_be.iter().position(|map| *map == found) else {
            return Err(format!(
                "after a start there is\n{found:?}\nand should be\n{:?}\nor\n{:?}",
                may_be[0],
                &may_be[1..]
            ));
        };
        if at > 0 {
            self.history.push(found.clone());
        }
        // A follower that knows of a volatile key must not be taken for one that knows all.
        let oldest = self.revision + u64::from(self.now.has_volatile());
        self.now = found;
        let revision = writer.state.revision;
        let highest = self.now.0.values().map(|item| item.modified).max();
        if revision < oldest.max(highest.unwrap_or_default()) {
            return Err(format!(
                "revision {revision}, and not {oldest} or later: it can be used again"
            ));
        }
        if let Some(closed_at) = self.closed_at.take()
            && revision != closed_at
        {
            return Err(format!("revision {revision} after a close at {closed_at}"));
        }
        self.revision = revision;
        self.writer = Some(writer);
        Ok(())
    }

    /// A value: mostly short, and now and then what a header looks like.
    fn value(&mut self) -> Bytes {
        self.count += 1;
        let mut value = format!("{}:", self.count).into_bytes();
        if self.rng.chance(50) {
            let mut frame = crate::embedded::frame::Frame::new();
            frame.push(crate::embedded::frame::Record::Reserve(1 << 40));
            value.extend(b"pandalog");
            value.extend(frame.seal(self.rng.next(), 1 << 30).unwrap());
        }
        let long = self.rng.below(4) == 0;
        let length = self.rng.below(if long { 900 } else { 40 });
        value.resize(value.len() + length, b'v');
        value.into()
    }

    /// A transaction that fits what the batch leaves so far, mostly.
    fn transaction(&mut self, so_far: &Map) -> Transaction {
        let count = 1 + self.rng.below(3) * usize::from(self.rng.chance(400));
        let first = self.rng.below(4);
        let writes = (0..count).map(|at| {
            let key = format!("/{}/{}", (first + at) % 4, self.rng.below(2));
            let known = so_far.0.get(&key);
            let expect = match known {
                Some(item) if self.rng.chance(950) => Expect::At(item.modified),
                _ => Expect::Absent,
            };
            let op = match self.rng.below(10) {
                0 => Op::Check,
                1 | 2 if known.is_some() => Op::Delete,
                _ => Op::Put(self.value()),
            };
            Write {
                key: key.into(),
                expect,
                op,
                note: None,
            }
        });
        let writes = writes.collect();
        let durability = match self.rng.chance(250) {
            true => Durability::Volatile,
            false => Durability::Durable,
        };
        Transaction { writes, durability }
    }

    /// Transactions that arrive together.
    pub(super) fn batch(&mut self) -> Result<(), String> {
        let mut predicted = self.now.clone();
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        let mut revision = writer.state.revision;
        let mut requests = Vec::new();
        let mut answers: Vec<Answer> = Vec::new();
        for _ in 0..1 + self.rng.below(4) {
            let transaction = self.transaction(&predicted);
            if predicted.conflict(&transaction).is_none() {
                revision = predicted.apply(&transaction, revision);
            }
            let (reply, answer) = oneshot::channel();
            answers.push((transaction.clone(), answer));
            requests.push(Request::Commit(transaction, reply));
        }
        self.serve(requests)?;
        self.answered(answers, &predicted)
    }

    fn serve(&mut self, requests: Vec<Request>) -> Result<(), String> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let mut closing = Vec::new();
        writer.serve(requests.into_iter(), &mut closing);
        if closing.is_empty() {
            Ok(())
        } else {
            Err("a close that nobody asked for".to_owned())
        }
    }

    fn answered(&mut self, answers: Vec<Answer>, predicted: &Map) -> Result<(), String> {
        let (mut is_undecided, mut is_durable) = (false, false);
        for (transaction, mut answer) in answers {
            let answer = answer.try_recv().map_err(|_| "no answer".to_owned())?;
            self.note(|| format!("{transaction:?}: {answer:?}"));
            let conflict = self.now.conflict(&transaction);
            match answer {
                Ok(revision) => {
                    if conflict.is_some() {
                        return Err(format!("{transaction:?} has happened"));
                    }
                    is_durable |= self.now.needs_disk(&transaction);
                    let is_change = |write: &Write| !matches!(write.op, Op::Check);
                    if transaction.writes.iter().any(is_change) {
                        if revision <= self.revision {
                            return Err(format!("revision {revision} was used again"));
                        }
                        self.now.apply(&transaction, revision - 1);
                        self.revision = revision;
                    }
                }
                Err(Error::Conflict { at, .. }) if conflict == Some(at) => {}
                Err(Error::Storage(_)) if self.may_fail() => {}
                Err(Error::Unknown(_)) if self.may_fail() => is_undecided = true,
                Err(error) => return Err(format!("{transaction:?}: {error:?}")),
            }
        }
        if is_durable {
            self.undecided.clear();
            self.history.push(self.now.durable());
        }
        if is_undecided {
            self.undecided = vec![predicted.durable()];
        }
        self.look()
    }

    fn may_fail(&self) -> bool {
        self.has_faults || self.disk.is_crashed()
    }

    /// Readers see what the model holds.
    fn look(&self) -> Result<(), String> {
        let Some(writer) = &self.writer else {
            return Ok(());
        };
        let page = writer.published.range(&Range::default()).unwrap();
        let same = page.entries.len() == self.now.0.len()
            && page
                .entries
                .iter()
                .zip(&self.now.0)
                .all(|(entry, (key, item))| {
                    *entry.key == **key
                        && entry.value == item.value
                        && entry.create_revision == item.created
                        && entry.mod_revision == item.modified
                });
        if same {
            return Ok(());
        }
        Err(format!("readers see {page:?}, not {:?}", self.now))
    }

    pub(super) fn compact(&mut self) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.compactions.push(answer);
        self.serve(vec![Request::Compact(reply)])
    }

    /// Writes the checkpoint that is due.
    pub(super) fn checkpoint(&mut self) -> Result<(), String> {
        if let Some(writer) = &mut self.writer {
            writer.end_checkpoint();
        }
        self.note(|| "checkpoint".to_owned());
        self.collect()
    }

    /// Takes the answers of compactions.
    fn collect(&mut self) -> Result<(), String> {
        for mut waiting in std::mem::take(&mut self.compactions) {
            match waiting.try_recv() {
                Ok(Ok(())) => self.is_compact()?,
                Ok(Err(error)) if !self.may_fail() => return Err(format!("compact: {error}")),
                Ok(Err(_)) => {}
                Err(oneshot::error::TryRecvError::Empty) => self.compactions.push(waiting),
                // The store was closed or killed.
                Err(oneshot::error::TryRecvError::Closed) => {}
            }
        }
        Ok(())
    }

    /// No file is there that a checkpoint replaces.
    fn is_compact(&self) -> Result<(), String> {
        let names: Vec<String> = self.disk.files().into_keys().collect();
        let number = |name: &String| name.split_once('-').unwrap().1.parse::<u64>().unwrap();
        let checkpoints = names.iter().filter(|name| name.starts_with("checkpoint-"));
        let newest = checkpoints.map(number).max();
        let old = |name: &&String| name.contains('-') && Some(number(name)) < newest;
        match names.iter().find(old) {
            Some(name) => Err(format!("{name} is left after a compaction")),
            None => Ok(()),
        }
    }

    /// Closes the store in order.
    pub(super) fn close(&mut self) -> Result<(), String> {
        if let Some(mut writer) = self.writer.take() {
            writer.finish();
            if !self.has_faults && !self.disk.is_crashed() {
                // Those of failed batches count.
                let raised = u64::from(self.now.has_volatile());
                self.closed_at = Some(writer.state.revision + raised);
            }
            self.note(|| "close".to_owned());
        }
        self.compactions.clear();
        Ok(())
    }

    /// The process has died: another one starts, after a power failure or without one.
    pub(super) fn crash(&mut self, fails_power: bool) {
        self.writer = None;
        self.compactions.clear();
        self.closed_at = None;
        self.note(|| format!("crash, of the power: {fails_power}"));
        if fails_power {
            self.disk.fail_power();
        } else {
            self.disk.kill();
        }
    }

    fn set_faults(&mut self) {
        let rate = [0, 0, 30, 200];
        let mut rate = || rate[self.rng.below(4)];
        let faults = Faults {
            io: rate(),
            full: rate(),
            read: rate() / 10,
            short: rate(),
            ..Faults::NONE
        };
        self.has_faults = faults.io + faults.full + faults.read > 0;
        self.note(|| format!("{faults:?}"));
        self.disk.set_faults(faults);
    }

    pub(super) fn clear_faults(&mut self) {
        self.has_faults = false;
        self.disk.set_single(None);
        self.disk.set_faults(Faults::NONE);
    }

    /// One of the things that happen to a store.
    pub(super) fn step(&mut self) -> Result<(), String> {
        match self.rng.below(24) {
            0 => self.compact()?,
            1 | 2 => self.checkpoint()?,
            3 => self.close()?,
            4 | 5 => {
                let near = 1 + self.rng.below(12);
                let at = self.disk.calls() + u64::try_from(near).unwrap();
                self.disk.crash_at(at);
            }
            6 | 7 => self.set_faults(),
            8..=10 => self.clear_faults(),
            _ => self.batch()?,
        }
        self.collect()?;
        if self.disk.is_crashed() {
            let fails_power = self.rng.chance(650);
            self.crash(fails_power);
            if self.rng.chance(400) {
                // The start dies as well.
                let near = 1 + self.rng.below(30);
                let at = self.disk.calls() + u64::try_from(near).unwrap();
                self.disk.crash_at(at);
            }
        }
        if self.writer.is_none() {
            self.open()?;
        }
        Ok(())
    }
}

/// The entries of a store.
pub(super) fn held(writer: &Writer) -> Map {
    let entries = writer.state.entries.iter();
    let entries = entries.map(|(key, entry)| {
        let item = Item {
            value: entry.value.clone(),
            created: entry.create_revision,
            modified: entry.mod_revision,
            volatile: false,
        };
        (key.to_string(), item)
    });
    Map(entries.collect())
}
