//! Truncated and damaged files.

use std::{fs, path::Path};

use crate::common::{copy, delete, entries, latest, open, put, state};
use pandaemon_store::{Embedded, Error, Expect, Missing, OfflineStore, Options, Store as _, check};

/// Commits writes of several sizes, one per batch. Returns the state after each of them.
async fn history(directory: &Path) -> (Embedded, Vec<Vec<String>>) {
    let store = open(directory);
    let mut states = vec![state(&store)];
    for write in [
        put("/a", Expect::Absent, "first"),
        put("/b", Expect::Absent, &"x".repeat(300)),
        delete("/a", 1),
        put("/a", Expect::Absent, "again"),
    ] {
        store.commit(write).await.unwrap();
        states.push(state(&store));
    }
    (store, states)
}

#[tokio::test]
async fn a_truncated_log_opens_with_a_prefix_of_the_writes() {
    let root = tempfile::tempdir().unwrap();
    let (_store, states) = history(&root.path().join("0")).await;
    let log = fs::read(root.path().join("0/log-000000000001")).unwrap();
    let used = log.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // Alternately cut off, and followed by the zeros of space that was allocated ahead.
    let mut reached = [0; 2];
    // Every third length; on the simulated disk files are cut off at any byte.
    for length in (0..=used).step_by(3).chain([used]) {
        let reached = &mut reached[length % 2];
        let mut cut = log[..length].to_vec();
        cut.resize(if length % 2 == 0 { length } else { 4096 }, 0);
        let directory = root.path().join("cut");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("log-000000000001"), cut).unwrap();
        // Twice, because the first start creates a segment of its own.
        for _ in 0..2 {
            let store = open(&directory);
            let at = states
                .iter()
                .rposition(|known| *known == state(&store))
                .unwrap();
            assert!(at >= *reached, "{length} bytes");
            *reached = at;
        }
        fs::remove_dir_all(&directory).unwrap();
    }
    assert_eq!(reached.into_iter().max(), Some(states.len() - 1));
}

#[tokio::test]
async fn damage_before_good_frames_is_an_error_with_file_and_offset() {
    let root = tempfile::tempdir().unwrap();
    let (store, _) = history(&root.path().join("0")).await;
    let directory = root.path().join("1");
    copy(&root.path().join("0"), &directory);
    drop(store);
    let path = directory.join("log-000000000001");
    let mut log = fs::read(&path).unwrap();
    // The first frame, after the header of the file.
    log[100] ^= 1;
    fs::write(&path, &log).unwrap();
    let error = Embedded::open(&directory, Options::default()).unwrap_err();
    assert!(matches!(error, Error::Damaged(_)), "{error:?}");
    let shown = directory.display();
    let text = format!(
        "{} is damaged at byte 44: the frame 0 cannot be read, and later ones can. Acknowledged writes would be lost, \
         so the store stays closed and nothing was changed. Restore the directory from a backup; or see with \
         `pandaemon store check {shown}` what can be read, and keep that with `pandaemon store repair {shown}`",
        path.display()
    );
    assert_eq!(error.to_string(), text);
    assert_eq!(fs::read(&path).unwrap(), log);
}

#[tokio::test]
async fn a_repair_keeps_what_can_be_read_and_the_old_files() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("0");
    let (store, _) = history(&directory).await;
    let running = check(&directory).unwrap_err();
    assert!(matches!(running, Error::Locked(_)), "{running:?}");
    drop(store);
    let whole = check(&directory).unwrap();
    assert_eq!(
        (whole.damage.len(), whole.entries, whole.revision),
        (0, 2, 4)
    );
    let path = directory.join("log-000000000001");
    let mut log = fs::read(&path).unwrap();
    let value = log
        .windows(9)
        .position(|bytes| bytes == b"xxxxxxxxx")
        .unwrap();
    log[value] ^= 1;
    fs::write(&path, &log).unwrap();
    let report = check(&directory).unwrap();
    assert_eq!(report.damage[0].missing, Missing::Frames(1, 1));
    assert_eq!(report.entries, 1);
    let keys: Vec<&str> = report.kept_keys.iter().map(|key| &**key).collect();
    assert_eq!(keys, ["/a"]);
    let repaired = OfflineStore::open(&directory).unwrap().repair().unwrap();
    let revision = repaired.revision;
    let old = directory
        .join(repaired.kept.as_deref().unwrap())
        .join("log-000000000001");
    assert_eq!(fs::read(old).unwrap(), log);
    drop(repaired);
    assert!(check(&directory).unwrap().damage.is_empty());
    let store = open(&directory);
    let (created, text) = (entries(&store)[0].create_revision, state(&store));
    assert_eq!(text, [format!("/a=again@{created}/{created}")]);
    assert_eq!(latest(&store), revision);
    assert!(created > 4 + (1 << 40));
}

#[tokio::test]
async fn a_directory_that_cannot_be_created_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("file"), "").unwrap();
    let error = Embedded::open(root.path().join("file"), Options::default()).unwrap_err();
    assert!(error.to_string().contains("open data directory"), "{error}");
}
