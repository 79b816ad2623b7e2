//! Backups of a store: their form, damage, and restores.

use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::{
    Durability, Embedded, Expect, Op, Options, Range, Store, Transaction,
    embedded::offline::{OfflineStore, check},
};

fn put(store: &Embedded, key: &str, value: &str) {
    let write = Transaction::of(key.into(), Expect::Absent, Op::Put(value.to_owned().into()));
    block_on(store.commit(write)).unwrap();
}

fn store(folder: &std::path::Path) -> Embedded {
    let store = Embedded::open(folder.join("store"), Options::default()).unwrap();
    for number in 0..9 {
        let value = format!("{number}").repeat(1 + 60 * number);
        put(&store, &format!("/pods/d/{number}"), &value);
    }
    put(&store, "/apps/daemonsets/d/web", "a set");
    let lease = Transaction {
        durability: Durability::Volatile,
        ..Transaction::of("/leases/d/n".into(), Expect::Absent, Op::Put("late".into()))
    };
    block_on(store.commit(lease)).unwrap();
    store
}

fn files() -> Vec<(String, Vec<u8>)> {
    let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    vec![file(MANIFEST, "{}"), file("pki/ca.crt", "a certificate")]
}

fn backup(store: &dyn Store, files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let state = block_on(store.snapshot()).unwrap().unwrap();
    let mut stream = BackupStream::new(state, files).unwrap();
    let mut bytes = Vec::new();
    while let Some(part) = stream.next_part().unwrap() {
        bytes.extend_from_slice(&part);
    }
    bytes
}

/// Reads bytes that come in parts of this size.
fn read(bytes: &[u8], part: usize) -> Result<Contents, BackupError> {
    let mut reader = BackupReader::keeping();
    for part in bytes.chunks(part.max(1)) {
        reader.read(part)?;
    }
    reader.finish()
}

/// All entries with their revisions.
fn entries(store: &dyn Store) -> Vec<(String, Bytes, Revision, Revision)> {
    let page = block_on(store.range(Range::default())).unwrap();
    let entries = page.entries.into_iter();
    entries
        .map(|entry| {
            let (created, modified) = (entry.create_revision, entry.mod_revision);
            (entry.key.to_string(), entry.value, created, modified)
        })
        .collect()
}

#[test]
fn a_backup_has_the_durable_entries_at_one_revision_however_its_bytes_come() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let state = block_on(store.snapshot()).unwrap().unwrap();
    let mut stream = BackupStream::new(state, &files()).unwrap();
    let mut bytes = stream.next_part().unwrap().unwrap().to_vec();
    // What is written since is not in it.
    put(&store, "/pods/d/later", "later");
    let mut frames = 0;
    while let Some(part) = stream.next_part().unwrap() {
        bytes.extend_from_slice(&part);
        frames += 1;
    }
    assert!(frames > 3, "one part is in memory, not all");
    for part in [1, 7, FILE_HEADER, 1000, bytes.len()] {
        let contents = read(&bytes, part).unwrap();
        assert_eq!((contents.revision, contents.count()), (11, 10));
        assert_eq!(contents.bytes, bytes.len() as u64);
        let counts: Vec<_> = contents.counts.into_iter().collect();
        let expected = [
            ("/apps/daemonsets/".to_owned(), 1),
            ("/pods/".to_owned(), 9),
        ];
        assert_eq!(counts, expected);
        assert_eq!(contents.files, files().into_iter().collect());
        let web = &contents.entries["/apps/daemonsets/d/web"];
        assert_eq!((&*web.value, web.mod_revision), (&b"a set"[..], 10));
    }
    let mut checking = BackupReader::checking();
    checking.read(&bytes).unwrap();
    assert_eq!(checking.count(), 10);
    assert!(checking.finish().unwrap().entries.is_empty());
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = backup(&store(folder.path()), &files());
    for bit in 0..8 * bytes.len() {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = read(&damaged, bytes.len()).unwrap_err();
        match error {
            BackupError::Damaged { at, .. } => assert!(at <= bit as u64 / 8, "bit {bit}: {at}"),
            BackupError::NotABackup => assert!(bit < 8 * FILE_HEADER, "bit {bit}"),
            error => panic!("bit {bit}: {error}"),
        }
    }
    for size in 0..bytes.len() {
        let error = read(&bytes[..size], bytes.len()).unwrap_err();
        let expected = match size < FILE_HEADER {
            true => BackupError::NotABackup,
            false => BackupError::CutOff { at: size as u64 },
        };
        assert_eq!(error, expected, "{size}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let error = read(&longer, longer.len()).unwrap_err();
    let at = bytes.len() as u64;
    let what = "bytes follow its end mark";
    assert_eq!(error, BackupError::Damaged { at, what });
}

#[test]
fn a_frame_that_is_missing_or_in_another_place_is_named_by_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let state = block_on(store.snapshot()).unwrap().unwrap();
    let mut stream = BackupStream::new(state, &files()).unwrap();
    let parts = std::iter::from_fn(|| stream.next_part().unwrap());
    let parts: Vec<Bytes> = parts.collect();
    for at in 1..parts.len() - 1 {
        let place = parts[..at].iter().map(|part| part.len() as u64).sum();
        let expected = BackupError::Damaged {
            at: place,
            what: "the head of a frame cannot be read",
        };
        let (mut without, mut swapped) = (parts.clone(), parts.clone());
        without.remove(at);
        swapped.swap(at, at + 1);
        for changed in [without, swapped] {
            assert_eq!(read(&changed.concat(), 4096).unwrap_err(), expected);
        }
    }
}

/// A backup of these records, which are well-formed in other ways.
fn of(records: &[Record<'_>]) -> Result<Contents, BackupError> {
    let header = FileHeader {
        kind: Kind::Backup,
        file: 7,
        place: 0,
        first: 0,
    };
    let mut frame = Frame::new();
    records.iter().for_each(|record| frame.push(*record));
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(frame.seal(7, 0).unwrap());
    read(&bytes, bytes.len())
}

#[test]
fn records_that_no_backup_has_are_refused() {
    let manifest = Record::File {
        name: MANIFEST,
        content: b"{}",
    };
    let put = |key, created, modified| Record::Put {
        key,
        created,
        modified,
        value: b"",
    };
    let (reserve, end) = (Record::Reserve(5), |entries| Record::End {
        entries,
        next: 0,
    });
    let (a, b) = (put("/a/b/c", 1, 5), put("/a/b/d", 2, 2));
    assert_eq!(of(&[manifest, reserve, a, b, end(2)]).unwrap().count(), 2);
    let cases: [(&[Record<'_>], &str); 8] = [
        (&[reserve, end(0)], "it does not begin with its manifest"),
        (
            &[Record::File {
                name: "token",
                content: b"",
            }],
            "it does not begin with its manifest",
        ),
        (&[manifest, reserve, b, a], "its keys are not in order"),
        (&[manifest, reserve, a, a], "its keys are not in order"),
        (
            &[manifest, reserve, put("/a/b/c", 1, 6)],
            "a revision is later than the one of the backup",
        ),
        (
            &[manifest, reserve, a, end(2)],
            "its number of entries is another one",
        ),
        (
            &[manifest, reserve, Record::Delete { key: "/a/b/c" }],
            "it has a deletion",
        ),
        (
            &[manifest, reserve, end(0), a],
            "records follow its end mark",
        ),
    ];
    for (records, expected) in cases {
        match of(records) {
            Err(BackupError::Damaged { at, what }) => {
                assert_eq!((at, what), (FILE_HEADER as u64, expected));
            }
            other => panic!("{records:?}: {other:?}"),
        }
    }
}

#[test]
fn a_restored_store_has_the_entries_in_their_order_with_revisions_that_are_new() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let contents = read(&backup(&store, &files()), 4096).unwrap();
    let before = entries(&store);
    put(&store, "/pods/d/later", "later");
    let seen = block_on(store.latest()).unwrap();
    drop(store);
    let offline = OfflineStore::open(&folder.path().join("store")).unwrap();
    let expected = offline.restored_revision(&contents);
    let replaced = offline.restore(&contents).unwrap();
    assert_eq!(replaced.revision, expected);
    assert_eq!(replaced.kept.as_deref(), Some("before-restore-1"));
    drop(replaced);
    let kept = check(&folder.path().join("store/before-restore-1")).unwrap();
    assert_eq!((kept.entries, kept.damage.len()), (11, 0));

    let open = || Embedded::open(folder.path().join("store"), Options::default()).unwrap();
    let restored = open();
    assert_eq!(block_on(restored.latest()).unwrap(), expected);
    let after = entries(&restored);
    let shift = after[0].2 - before[0].2;
    let durable = before
        .iter()
        .filter(|(key, ..)| !key.starts_with("/leases/"));
    let raised: Vec<_> = durable
        .map(|(key, value, created, modified)| {
            (
                key.clone(),
                value.clone(),
                created + shift,
                modified + shift,
            )
        })
        .collect();
    assert_eq!(after, raised);
    assert!(
        after
            .iter()
            .all(|(_, _, created, _)| *created > seen + (1 << 40))
    );
    assert!(
        after
            .iter()
            .all(|(_, _, _, modified)| *modified <= expected)
    );
    // Restores do not use the revisions up.
    let mut last = expected;
    drop(restored);
    for round in 0..3 {
        let again = OfflineStore::open(&folder.path().join("store")).unwrap();
        let now = again.restore(&contents).unwrap().revision;
        assert!(
            now - last < (1 << 40) + 100,
            "round {round}: {now} after {last}"
        );
        last = now;
    }
    assert_eq!(entries(&open()).len(), 10);
}

#[test]
fn a_backup_is_restored_into_a_new_directory_and_into_a_damaged_store() {
    let folder = tempfile::tempdir().unwrap();
    let contents = read(&backup(&store(folder.path()), &files()), 4096).unwrap();
    let new = folder.path().join("new/store");
    let replaced = OfflineStore::create(&new)
        .unwrap()
        .restore(&contents)
        .unwrap();
    assert_eq!(replaced.kept, None);
    let locked = Embedded::open(&new, Options::default());
    assert!(matches!(locked, Err(crate::Error::Locked(_))), "{locked:?}");
    drop(replaced);
    assert_eq!(
        entries(&Embedded::open(&new, Options::default()).unwrap()).len(),
        10
    );

    let path = folder.path().join("store/log-000000000001");
    let mut log = std::fs::read(&path).unwrap();
    log[100] ^= 1;
    std::fs::write(&path, log).unwrap();
    let damaged = OfflineStore::open(&folder.path().join("store")).unwrap();
    assert_eq!(damaged.report().damage.len(), 1);
    damaged.restore(&contents).unwrap();
    let restored = Embedded::open(folder.path().join("store"), Options::default()).unwrap();
    assert_eq!(entries(&restored).len(), 10);
}

#[test]
fn a_snapshot_keeps_its_state_while_the_store_goes_on_and_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(store(folder.path()));
    let state = block_on(store.snapshot()).unwrap().unwrap();
    let mut stream = BackupStream::new(state, &files()).unwrap();
    let mut reader = BackupReader::keeping();
    let mut round = 0;
    while let Some(part) = stream.next_part().unwrap() {
        reader.read(&part).unwrap();
        let key = format!("/pods/d/{round}-between");
        put(&store, &key, "between");
        block_on(store.compact()).unwrap();
        round += 1;
    }
    let contents = reader.finish().unwrap();
    assert_eq!(contents.count(), 10);
    block_on(store.close());
    assert!(matches!(
        block_on(store.snapshot()),
        Err(crate::Error::Closed)
    ));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>, part in 1_usize..50) {
        prop_assert!(read(&bytes, part).is_err());
        let mut with_header = FileHeader { kind: Kind::Backup, file: 7, place: 0, first: 0 }.encode().to_vec();
        with_header.extend_from_slice(&bytes);
        prop_assert!(read(&with_header, part).is_err());
    }
}
