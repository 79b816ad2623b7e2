//! Helpers of the tests: constructors of writes, and entries, events and states as text.

use std::{fs, path::Path};

use bytes::Bytes;
use pandaemon_store::{Durability, Embedded, Event, Expect, Op, Options, Revision, Store, Write};

pub(crate) fn open(directory: &Path) -> Embedded {
    Embedded::open(directory, Options::default()).unwrap()
}

pub(crate) fn put(key: &str, expect: Expect, value: &str) -> Write {
    let op = Op::Put(Bytes::copy_from_slice(value.as_bytes()));
    Write {
        key: key.into(),
        expect,
        op,
        durability: Durability::Durable,
    }
}

pub(crate) fn volatile_put(key: &str, expect: Expect, value: &str) -> Write {
    Write {
        durability: Durability::Volatile,
        ..put(key, expect, value)
    }
}

pub(crate) fn delete(key: &str, revision: Revision) -> Write {
    let (op, durability) = (Op::Delete, Durability::Durable);
    Write {
        key: key.into(),
        expect: Expect::At(revision),
        op,
        durability,
    }
}

fn entry(entry: &pandaemon_store::Entry) -> String {
    let value = String::from_utf8_lossy(&entry.value);
    format!(
        "{}={value}@{}/{}",
        entry.key, entry.create_revision, entry.mod_revision
    )
}

pub(crate) fn show(event: &Event) -> String {
    let new = event.entry.as_ref().map_or_else(|| "-".to_owned(), entry);
    let previous = event
        .previous
        .as_ref()
        .map_or_else(|| "-".to_owned(), entry);
    format!("{}: {previous} -> {new}", event.revision)
}

pub(crate) fn state(store: &Embedded) -> Vec<String> {
    store.snapshot().entries.values().map(entry).collect()
}

/// Copies the data directory as it is: what a kill at this moment would leave.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "lock" {
            // A checkpoint may remove a file meanwhile; then the checkpoint replaces it.
            drop(fs::copy(file.path(), to.join(file.file_name())));
        }
    }
}
