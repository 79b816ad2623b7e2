//! The embedded store with its threads, on a simulated disk and on files of earlier and later
//! formats.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, executor::block_on};
use parking_lot::Mutex;

use super::*;
use crate::{
    Entry, Event, Expect, Op,
    disk::simulated::{Faults, Simulated, Single},
    embedded::{
        file_header::{FILE_HEADER, FileHeader, Kind},
        files::{checkpoint_name, segment_name},
        frame::Record,
    },
};

fn put(key: &str, expect: Expect, value: &'static str) -> Transaction {
    Transaction::of(key.into(), expect, Op::Put(value.into()))
}

fn open(disk: &Simulated) -> Result<Embedded> {
    let disk = Arc::new(disk.clone());
    Embedded::open_on(disk, Options::default(), &|_, _| false).map(|(store, _)| store)
}

fn state(store: &Embedded) -> Vec<String> {
    let page = block_on(store.range(Range::default())).unwrap();
    let show = |entry: &Entry| {
        let value = String::from_utf8_lossy(&entry.value);
        format!("{}={value}@{}", entry.key, entry.mod_revision)
    };
    page.entries.iter().map(show).collect()
}

/// Keeps why no more changes come.
#[derive(Debug, Default)]
struct Ended(Mutex<Option<Error>>);

impl Follower for Ended {
    fn apply(&self, _: &[Event]) {}
    fn end(&self, why: Error) {
        *self.0.lock() = Some(why);
    }
}

#[test]
fn a_store_whose_writer_has_panicked_answers_with_errors_and_keeps_its_lock() {
    let disk = Simulated::new(1);
    let store = open(&disk).unwrap();
    let ended = Arc::new(Ended::default());
    block_on(store.commit(put("/a", Expect::Absent, "1"))).unwrap();
    block_on(store.follow(1, Arc::clone(&ended) as _)).unwrap();
    // Allocated already: the write is next.
    disk.set_single(Some((disk.calls() + 2, Single::Panic)));
    let lost = block_on(store.commit(put("/b", Expect::Absent, "1"))).unwrap_err();
    assert!(matches!(lost, Error::Unknown(_)), "{lost:?}");
    let next = block_on(store.commit(put("/c", Expect::Absent, "1"))).unwrap_err();
    // It may have reached the queue of the dying writer.
    assert!(
        matches!(next, Error::WriterPanicked | Error::Unknown(_)),
        "{next:?}"
    );
    let compacted = block_on(store.compact()).unwrap_err();
    assert!(matches!(compacted, Error::WriterPanicked), "{compacted:?}");
    assert_eq!(state(&store), ["/a=1@1"]);
    block_on(store.close());
    let late = block_on(store.follow(1, Arc::new(Ended::default())));
    assert!(matches!(late, Err(Error::WriterPanicked)), "{late:?}");
    let why = ended.0.lock().take();
    assert!(matches!(why, Some(Error::WriterPanicked)), "{why:?}");
    let has_ended = || store.thread.lock().as_ref().unwrap().is_finished();
    while !has_ended() {
        thread::yield_now();
    }
    let other = open(&disk);
    assert!(matches!(other, Err(Error::Locked(_))), "{other:?}");
    drop(store);
    let again = open(&disk).unwrap();
    let held = state(&again);
    assert!(
        held == ["/a=1@1"] || held == ["/a=1@1", "/b=1@2"],
        "{held:?}"
    );
}

#[test]
fn nothing_is_acknowledged_or_visible_before_its_sync_has_ended() {
    let disk = Simulated::new(1);
    let store = open(&disk).unwrap();
    disk.hold_frames(true);
    let mut slow = store.commit(put("/a", Expect::Absent, "1"));
    assert!((&mut slow).now_or_never().is_none());
    disk.wait_for_frame();
    // They wait for the disk, and are one batch then.
    let more = ["/b", "/c", "/d"].map(|key| store.commit(put(key, Expect::Absent, "1")));
    let mut more = futures::future::join_all(more);
    assert!((&mut more).now_or_never().is_none());
    assert!((&mut slow).now_or_never().is_none());
    assert_eq!(state(&store), [""; 0]);
    disk.hold_frames(false);
    assert_eq!(block_on(slow).unwrap(), 1);
    let more: Vec<Revision> = block_on(more).into_iter().map(Result::unwrap).collect();
    assert_eq!(more, [2, 3, 4]);
    assert_eq!(store.counters().commits.get(), 2);
}

/// A file of format 1.
fn old_file(frames: &[(u64, &[Record<'_>])]) -> Vec<u8> {
    let mut content = Vec::new();
    for (sequence, records) in frames {
        let mut frame = Frame::new();
        records.iter().for_each(|record| frame.push(*record));
        let bytes = frame.seal(0, *sequence).unwrap();
        content.extend(format1::seal(&bytes[frame::HEADER..], *sequence));
    }
    content
}

fn record(key: &str, modified: Revision) -> Record<'_> {
    Record::Put {
        key,
        created: 1,
        modified,
        value: b"old",
    }
}

/// A directory as an earlier version leaves it: a checkpoint, a segment after it with a torn end,
/// and one that was begun.
fn old_directory() -> Simulated {
    let disk = Simulated::new(1);
    let end = Record::End {
        entries: 1,
        next: 5,
    };
    let checkpoint = [record("/a", 1), Record::Reserve(9), end];
    disk.put_file(&checkpoint_name(3), old_file(&[(0, &checkpoint)]));
    let (b, c) = ([record("/b", 10)], [record("/c", 11)]);
    let mut log = old_file(&[(5, &b), (6, &c)]);
    log.truncate(log.len() - 2);
    log.resize(4096, 0);
    disk.put_file(&segment_name(3), log);
    disk
}

#[test]
fn files_of_format_1_are_read_and_replaced_soon() {
    let disk = old_directory();
    let store = open(&disk).unwrap();
    assert_eq!(state(&store), ["/a=old@1", "/b=old@10"]);
    // Without any write.
    while store.counters().checkpoints.get() == 0 {
        thread::sleep(Duration::from_millis(1));
    }
    block_on(store.commit(put("/d", Expect::Absent, "new"))).unwrap();
    drop(store);
    for (name, content) in disk.files() {
        assert!(content.starts_with(b"pandalog"), "{name}");
    }
    let again = open(&disk).unwrap();
    assert_eq!(state(&again), ["/a=old@1", "/b=old@10", "/d=new@11"]);
}

#[test]
fn damage_of_format_1_is_refused() {
    for (number, name) in [checkpoint_name(3), segment_name(3)].iter().enumerate() {
        let disk = old_directory();
        let mut content = disk.files()[name].clone();
        if number == 1 {
            let more = [record("/c", 11)];
            content = [old_file(&[(5, &[record("/b", 10)]), (6, &more)])].concat();
        }
        content[20] ^= 1;
        disk.put_file(name, content);
        let opened = open(&disk);
        assert!(
            matches!(opened, Err(Error::Damaged(_))),
            "{name}: {opened:?}"
        );
    }
}

#[test]
fn a_file_of_a_later_version_is_refused_by_its_number() {
    let disk = Simulated::new(1);
    let header = FileHeader {
        kind: Kind::Segment,
        file: 1,
        place: 1,
        first: 0,
    };
    let mut content = header.encode();
    content[8] = 7;
    let sum = crc32fast::hash(&content[..FILE_HEADER - 4]);
    content[FILE_HEADER - 4..].copy_from_slice(&sum.to_le_bytes());
    disk.put_file(&segment_name(1), content.to_vec());
    let files = disk.files();
    let error = open(&disk).unwrap_err().to_string();
    let text = "/simulated/log-000000000001 has the format 7, and this version of pandaemon knows the formats 1 and 2: \
                start the version that wrote it";
    assert_eq!(error, text);
    assert_eq!(disk.files(), files);
}

#[test]
fn a_segment_that_was_made_and_not_used_refuses_no_start() {
    let disk = Simulated::new(1);
    let store = open(&disk).unwrap();
    block_on(store.commit(put("/a", Expect::Absent, "1"))).unwrap();
    // The new segment is there when the sync of its directory fails: list, create, write, sync.
    disk.set_single(Some((disk.calls() + 4, Single::Io)));
    block_on(store.compact()).unwrap_err();
    assert!(disk.files().contains_key(&segment_name(2)));
    block_on(store.commit(put("/b", Expect::Absent, "1"))).unwrap();
    // A part of a frame is at the end of the segment before it.
    disk.crash_at(disk.calls() + 1);
    block_on(store.commit(put("/c", Expect::Absent, "1"))).unwrap_err();
    drop(store);
    disk.kill();
    let again = open(&disk).unwrap();
    assert_eq!(state(&again), ["/a=1@1", "/b=1@2"]);
}

#[test]
fn a_store_on_a_full_disk_opens_and_writes_when_there_is_space() {
    let disk = Simulated::new(1);
    let store = open(&disk).unwrap();
    block_on(store.commit(put("/a", Expect::Absent, "1"))).unwrap();
    drop(store);
    let full = Faults {
        full: 1000,
        ..Faults::NONE
    };
    disk.set_faults(full);
    let store = open(&disk).unwrap();
    assert_eq!(state(&store), ["/a=1@1"]);
    let refused = block_on(store.commit(put("/b", Expect::Absent, "1"))).unwrap_err();
    assert!(refused.to_string().contains("is full"), "{refused}");
    disk.set_faults(Faults::NONE);
    block_on(store.commit(put("/b", Expect::Absent, "1"))).unwrap();
    disk.fail_power();
    drop(store);
    let again = open(&disk).unwrap();
    assert_eq!(state(&again)[..1], ["/a=1@1"]);
    assert_eq!(state(&again).len(), 2);
}
