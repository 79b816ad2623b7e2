//! A full disk: durable writes fail, volatile writes succeed, and writes resume when there is
//! space.

use std::{fs, time::Duration};

use crate::common::{copy, open, put, state, volatile_put};
use pandaemon_store::{Embedded, Error, Expect, Options, Store as _};
use pandaemon_testkit::disk::Tmpfs;

#[tokio::test]
async fn writes_fail_on_a_full_disk_and_resume_when_there_is_space() {
    let root = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(&root.path().join("disk"), 8) else {
        return;
    };
    let (directory, filler) = (disk.path().join("store"), disk.path().join("filler"));
    fs::write(&filler, vec![1; 6 << 20]).unwrap();
    let options = Options {
        log_bytes: 512 << 10,
        ..Options::default()
    };
    let store = Embedded::open(&directory, options.clone()).unwrap();
    let value = "v".repeat(20_000);
    // A checkpoint that runs while the disk fills up frees the log that it replaces. The disk
    // counts as full when 20 attempts in a row have failed.
    let (mut written, mut refused) = (0, 0);
    let error = loop {
        match store
            .commit(put(&format!("/{written:04}"), Expect::Absent, &value))
            .await
        {
            Ok(_) => (written, refused) = (written + 1, 0),
            Err(error) if refused == 20 => break error,
            Err(_) => {
                refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    assert!(written > 10 && written < 150, "{written} writes");
    assert!(matches!(error, Error::Storage(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("is full (No space left on device"),
        "{error}"
    );
    for _ in 0..3 {
        // In one batch with a volatile write, which needs no disk.
        let durable = store.commit(put("/more", Expect::Absent, &value));
        let volatile = store.commit(volatile_put("/lease", Expect::Absent, ""));
        let (durable, volatile) = tokio::join!(durable, volatile);
        assert!(matches!(durable, Err(Error::Storage(_))), "{durable:?}");
        assert!(
            matches!(volatile, Ok(_) | Err(Error::Conflict { .. })),
            "{volatile:?}"
        );
    }
    let acknowledged: Vec<String> = state(&store)
        .into_iter()
        .filter(|line| !line.starts_with("/lease"))
        .collect();
    assert_eq!(acknowledged.len(), written);
    // A kill on the full disk loses no acknowledged write.
    copy(&directory, &root.path().join("copy"));
    assert_eq!(state(&open(&root.path().join("copy"))), acknowledged);

    fs::remove_file(&filler).unwrap();
    store
        .commit(put("/more", Expect::Absent, &value))
        .await
        .unwrap();
    let expected: Vec<String> = state(&store)
        .into_iter()
        .filter(|line| !line.starts_with("/lease"))
        .collect();
    copy(&directory, &root.path().join("copy2"));
    assert_eq!(state(&open(&root.path().join("copy2"))), expected);
    drop(store);
    assert_eq!(
        state(&Embedded::open(&directory, options).unwrap()),
        expected
    );
}

#[tokio::test]
async fn a_read_only_directory_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(&root.path().join("disk"), 8) else {
        return;
    };
    disk.set_read_only(true).unwrap();
    let error = Embedded::open(disk.path(), Options::default()).unwrap_err();
    assert!(
        error.to_string().contains("Read-only file system"),
        "{error}"
    );
}
