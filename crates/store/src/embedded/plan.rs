//! The effect of a batch of transactions on the state, as a pure function.
//!
//! The plan works on a clone of the state, which takes constant time for a persistent map. When the
//! disk refuses a batch, the plan is dropped and the state is unchanged.

use imbl::{OrdMap, OrdSet};

use super::{
    frame::{Frame, Record},
    state_frames::put_record,
};
use crate::{Durability, Entry, Error, Event, Key, Op, Result, Revision, Transaction, Write};

/// The state of the store. Owned by the writer.
#[derive(Debug, Clone)]
pub(super) struct State {
    pub(super) entries: OrdMap<Key, Entry>,
    /// Keys that exist in memory only. A key is either volatile or durable.
    pub(super) volatile: OrdSet<Key>,
    /// The last assigned revision.
    pub(super) revision: Revision,
    /// A start after a crash is at this revision. Those that were assigned are lower, so that
    /// followers from before the crash hear of the volatile keys that are gone.
    pub(super) reserved: Revision,
    /// Size of all keys and values, in bytes.
    pub(super) bytes: u64,
}

/// Number of revisions that a reservation covers. A crash skips at most so many.
const RESERVATION: Revision = if cfg!(test) { 32 } else { 1 << 24 };

/// Why the disk has refused a batch.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) text: String,
    /// The batch may be on disk all the same.
    pub(super) is_undecided: bool,
    /// Which of its transactions were to be written to the disk.
    pub(super) in_frame: Vec<bool>,
}

impl Refused {
    /// What the caller of a transaction gets.
    pub(super) fn error(&self, transaction: usize) -> Error {
        let text = &self.text;
        match self.is_undecided && self.is_in_frame(transaction) {
            true => Error::Unknown(format!("{text}; the write may be there after a restart")),
            false => Error::Storage(text.clone()),
        }
    }

    fn is_in_frame(&self, transaction: usize) -> bool {
        self.in_frame.get(transaction).copied().unwrap_or_default()
    }
}

/// The planned effect of a batch.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) state: State,
    pub(super) events: Vec<Event>,
    /// The records to sync before the batch is visible.
    pub(super) frame: &'a mut Frame,
    /// Of each transaction so far, whether it is in the frame.
    pub(super) in_frame: Vec<bool>,
    /// Why durable writes fail, if the disk refused the batch before.
    pub(super) refused: Option<&'a Refused>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(state: &State, frame: &'a mut Frame, refused: Option<&'a Refused>) -> Self {
        frame.clear();
        Self {
            state: state.clone(),
            events: Vec::new(),
            frame,
            in_frame: Vec::new(),
            refused,
        }
    }

    /// Adds a transaction. It sees the earlier ones of the same batch.
    pub(super) fn transact(&mut self, transaction: &Transaction) -> Result<Revision> {
        let at = self.in_frame.len();
        self.in_frame.push(false);
        // Whatever its guards say now: it may be on disk.
        if let Some(refused) = self.refused.filter(|refused| refused.is_in_frame(at)) {
            return Err(refused.error(at));
        }
        let mut needs_disk = false;
        for (at, write) in transaction.writes.iter().enumerate() {
            let current = self.state.entries.get(&write.key);
            if !write.holds(current) {
                let current = current.cloned();
                return Err(Error::Conflict { at, current });
            }
            needs_disk |= self.is_durable(write, transaction.durability, current.is_some());
        }
        if let (true, Some(refused)) = (needs_disk, self.refused) {
            return Err(refused.error(at));
        }
        let is_change = |write: &Write| !matches!(write.op, Op::Check);
        if transaction.writes.iter().any(is_change) {
            self.state.revision += 1;
        }
        if let Some(in_frame) = self.in_frame.last_mut() {
            *in_frame = needs_disk;
        }
        for write in &transaction.writes {
            self.write(write, transaction.durability);
        }
        Ok(self.state.revision)
    }

    fn write(&mut self, write: &Write, durability: Durability) {
        let previous = self.state.entries.get(&write.key).cloned();
        let durable = self.is_durable(write, durability, previous.is_some());
        match &write.op {
            Op::Put(value) => self.put(write, value.clone(), previous, durable),
            Op::Delete => self.delete(write, previous, durable),
            Op::Check => {}
        }
    }

    /// Adds a reservation if one is due. Returns whether the batch needs the disk.
    pub(super) fn finish(&mut self) -> bool {
        let State {
            revision, reserved, ..
        } = self.state;
        // A batch that is synced anyway renews the reservation early.
        let low = reserved.saturating_sub(revision) < RESERVATION / 2;
        let is_due = revision >= reserved && !self.events.is_empty();
        if is_due || (low && !self.frame.is_empty()) {
            self.state.reserved = revision + RESERVATION;
            self.frame.push(Record::Reserve(self.state.reserved));
        }
        !self.frame.is_empty()
    }

    /// Whether the write needs the disk. A key that is on disk stays durable, whatever the write
    /// asks for. Deleting a key that is not on disk needs no record.
    fn is_durable(&self, write: &Write, durability: Durability, exists: bool) -> bool {
        if matches!(write.op, Op::Check) {
            return false;
        }
        match (exists, self.state.volatile.contains(&write.key)) {
            (true, false) => true,
            (true, true) if matches!(write.op, Op::Delete) => false,
            _ => durability == Durability::Durable,
        }
    }

    fn put(&mut self, write: &Write, value: bytes::Bytes, previous: Option<Entry>, durable: bool) {
        let revision = self.state.revision;
        // All entries of a key share the first copy of its name.
        let key = previous
            .as_ref()
            .map_or(&write.key, |entry| &entry.key)
            .clone();
        let create_revision = previous
            .as_ref()
            .map_or(revision, |entry| entry.create_revision);
        let entry = Entry {
            key: key.clone(),
            value,
            create_revision,
            mod_revision: revision,
        };
        if durable {
            self.frame.push(put_record(&key, &entry));
            self.state.volatile.remove(&key);
        } else {
            self.state.volatile.insert(key.clone());
        }
        self.state.bytes += size(&entry);
        self.state.bytes -= previous.as_ref().map_or(0, size);
        self.state.entries.insert(Key::clone(&key), entry.clone());
        self.events.push(Event {
            revision,
            key,
            entry: Some(entry),
            note: write.note.clone(),
        });
    }

    fn delete(&mut self, write: &Write, previous: Option<Entry>, durable: bool) {
        if durable {
            self.frame.push(Record::Delete { key: &write.key });
        } else {
            self.state.volatile.remove(&write.key);
        }
        self.state.bytes -= previous.as_ref().map_or(0, size);
        self.state.entries.remove(&write.key);
        let key = previous.map_or_else(|| write.key.clone(), |entry| entry.key);
        self.events.push(Event {
            revision: self.state.revision,
            key,
            entry: None,
            note: None,
        });
    }
}

/// Size of an entry's key and value, in bytes.
pub(super) fn size(entry: &Entry) -> u64 {
    (entry.key.len() + entry.value.len()) as u64
}
