//! Encryption at rest: the first start of an upgrade, kills at every step, missing keys, rotation.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use pandaemon_store::{
    Embedded, Expect, Op, Options, Range, Store, Transaction,
    encryption::{EncryptedStore, Encryption, Error, Settings},
};

use crate::common::{Kept, all, copy, delete, put};

const PREFIX: &str = "/secrets/";

/// A store and its key file in a directory.
struct Home(PathBuf);

impl Home {
    fn new(root: &Path, name: &str) -> Self {
        let path = root.join(name);
        fs::create_dir_all(path.join("store")).unwrap();
        Self(path)
    }

    fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    /// What a kill at this moment would leave.
    fn copied(&self, root: &Path, name: &str) -> Self {
        let home = Self::new(root, name);
        copy(&self.store(), &home.store());
        drop(fs::copy(self.keys(), home.keys()));
        home
    }

    fn settings(&self) -> Settings {
        Settings {
            key_file: self.keys(),
            prefixes: vec![PREFIX.into()],
            keeps_encrypted: false,
            deletes_lost: false,
        }
    }

    async fn open(&self) -> Result<EncryptedStore, Error> {
        self.open_with(self.settings(), &|_, _| {}).await
    }

    async fn open_with(
        &self,
        settings: Settings,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<EncryptedStore, Error> {
        let encryption = Encryption::read(settings)?;
        let is_outdated = |key: &str, stored: &[u8]| encryption.is_outdated(key, stored);
        let (inner, has_outdated) = Embedded::open_checked(self.store(), small(), is_outdated)?;
        EncryptedStore::open(Arc::new(inner), encryption, has_outdated, progress).await
    }

    /// A store without encryption, as it was before the upgrade.
    fn plain(&self) -> Embedded {
        Embedded::open(self.store(), small()).unwrap()
    }

    /// The files of the store that contain one of these texts, or its base64.
    fn files_with(&self, texts: &[String]) -> Vec<String> {
        let files = fs::read_dir(self.store()).unwrap();
        let with = files.filter_map(|file| {
            let path = file.unwrap().path();
            // A checkpoint may remove a file meanwhile.
            let content = fs::read(&path).unwrap_or_default();
            let has = |text: &[u8]| content.windows(text.len()).any(|window| window == text);
            let encoded = |text: &str| BASE64.encode(text);
            let has = texts
                .iter()
                .any(|text| has(text.as_bytes()) || has(encoded(text).as_bytes()));
            has.then(|| path.file_name().unwrap().to_string_lossy().into_owned())
        });
        with.collect()
    }
}

/// Leads to several segments and checkpoints with a few values.
fn small() -> Options {
    Options {
        log_bytes: 4_000,
        ..Options::default()
    }
}

fn secret(number: u64) -> String {
    format!("secret-of-{number:03}-that-nobody-may-read")
}

fn name(number: u64) -> String {
    format!("/secrets/d/{number:03}")
}

/// The name of the first key of a key file.
fn first_key(keys: &Path) -> String {
    let text = fs::read_to_string(keys).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("# key "));
    line.unwrap().to_owned()
}

/// Writes Secrets, of which some are replaced or deleted, and other objects. Returns the texts that
/// no file may contain later.
async fn fill(store: &dyn Store) -> Vec<String> {
    for number in 0..40 {
        let write = put(&name(number), Expect::Absent, &secret(number));
        let revision = store.commit(write).await.unwrap();
        let other = put(&format!("/pods/d/{number}"), Expect::Absent, "a pod");
        store.commit(other).await.unwrap();
        if number % 3 == 0 {
            let text = format!("{} replaced", secret(number + 100));
            let write = put(&name(number), Expect::At(revision), &text);
            store.commit(write).await.unwrap();
        } else if number % 3 == 1 {
            let gone = delete(&name(number), revision);
            store.commit(gone).await.unwrap();
        }
    }
    (0..140).map(secret).collect()
}

/// The entries without their revisions.
async fn values(store: &dyn Store) -> Vec<(String, Bytes)> {
    let page = store.range(Range::default()).await.unwrap();
    let entries = page.entries.into_iter();
    entries
        .map(|entry| (entry.key.to_string(), entry.value))
        .collect()
}

#[tokio::test]
async fn no_plaintext_is_left_after_a_start_even_if_it_was_killed_at_any_step() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home");
    let (texts, before) = {
        let store = home.plain();
        (fill(&store).await, values(&store).await)
    };
    let old = home.copied(root.path(), "old");
    assert!(home.files_with(&texts).len() > 1, "one file is no proof");
    let copies = parking_lot::Mutex::new(Vec::new());
    {
        let progress = |done: u64, total: u64| {
            assert_eq!(total, 27);
            copies
                .lock()
                .push(home.copied(root.path(), &format!("killed-{done}")));
        };
        let store = home.open_with(home.settings(), &progress).await.unwrap();
        assert_eq!(home.files_with(&texts), [""; 0]);
        assert_eq!(values(&*store.store()).await, before);
    }
    let mut copies = copies.into_inner();
    assert_eq!(copies.len(), 27);
    // Killed before a file that the checkpoint replaces was removed.
    let replaced = home.copied(root.path(), "replaced");
    for file in fs::read_dir(old.store()).unwrap() {
        let file = file.unwrap();
        let to = replaced.store().join(file.file_name());
        assert!(!to.exists(), "{to:?} was not replaced");
        fs::copy(file.path(), to).unwrap();
    }
    // Killed while the checkpoint was being written.
    let torn = copies.pop().unwrap();
    fs::write(torn.store().join("checkpoint.tmp"), &texts[0]).unwrap();
    copies.extend([replaced, torn, home]);
    for home in copies {
        let store = home.open().await.unwrap();
        assert_eq!(home.files_with(&texts), [""; 0], "{:?}", home.0);
        assert_eq!(values(&*store.store()).await, before, "{:?}", home.0);
        let mode = fs::metadata(home.keys()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_an_error_that_says_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home");
    fill(&*home.open().await.unwrap().store()).await;
    let (key, keys) = (first_key(&home.keys()), home.keys());
    let shown = keys.display().to_string();
    let text = fs::read_to_string(&keys).unwrap();

    fs::remove_file(&keys).unwrap();
    let error = home.open().await.unwrap_err().to_string();
    assert!(
        error.contains(&shown) && error.contains("is missing"),
        "{error}"
    );
    assert!(error.contains(&format!(
        "27 stored values are encrypted with its keys ({key})"
    )));
    assert!(!keys.exists(), "a new key file hides the loss");

    let other = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    fs::write(&keys, other).unwrap();
    let error = home.open().await.unwrap_err().to_string();
    assert!(
        error.contains(&shown) && error.contains("lacks a key"),
        "{error}"
    );
    assert!(error.contains(&key), "{error}");

    fs::write(&keys, text.replace('=', "!")).unwrap();
    let error = home.open().await.unwrap_err().to_string();
    assert!(
        error.contains(&shown) && error.contains("malformed"),
        "{error}"
    );

    fs::remove_file(&keys).unwrap();
    fs::create_dir(&keys).unwrap();
    let error = home.open().await.unwrap_err().to_string();
    assert!(error.starts_with("read the encryption key file"), "{error}");

    // Without its key, an object can only be deleted.
    fs::remove_dir(&keys).unwrap();
    let without = home.copied(root.path(), "without");
    let lost = Settings {
        deletes_lost: true,
        keeps_encrypted: true,
        prefixes: Vec::new(),
        ..without.settings()
    };
    drop(without.open_with(lost, &|_, _| {}).await.unwrap());
    assert_eq!(without.files_with(std::slice::from_ref(&key)), [""; 0]);
    let store = without.open().await.unwrap();
    assert_eq!(values(&*store.store()).await.len(), 40);

    // As an additional key it decrypts, and the values get the first one.
    fs::write(&keys, format!("{other}\n{text}")).unwrap();
    let store = home.open().await.unwrap();
    assert_eq!(home.files_with(&[key]), [""; 0]);
    assert_eq!(values(&*store.store()).await.len(), 67);
}

#[tokio::test]
async fn a_damaged_or_moved_value_is_not_read_and_the_others_are() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home");
    fill(&*home.open().await.unwrap().store()).await;
    {
        let raw = home.plain();
        let entry = raw.get(&name(0)).await.unwrap().unwrap();
        let mut damaged = entry.value.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        let other = raw.get(&name(2)).await.unwrap().unwrap();
        for (number, value, at) in [
            (0, damaged.into(), Expect::At(entry.mod_revision)),
            (1, other.value, Expect::Absent),
        ] {
            let write = Transaction::of(name(number).as_str().into(), at, Op::Put(value));
            raw.commit(write).await.unwrap();
        }
    }
    let encrypted = home.open().await.unwrap();
    let store = encrypted.store();
    let read = async |number| store.get(&name(number)).await.unwrap().unwrap().value;
    for number in [0, 1] {
        assert!(read(number).await.starts_with(b"pandaemon:"), "{number}");
    }
    assert_eq!(read(2).await, secret(2));
    // The key of values that cannot be read is not thrown away.
    let old = first_key(&home.keys());
    let rotation = encrypted.rotate(&|_, _| {}).await.unwrap();
    assert_eq!(
        rotation.unreadable,
        [name(0).as_str().into(), name(1).as_str().into()]
    );
    assert!(fs::read_to_string(home.keys()).unwrap().contains(&old));
    drop((store, encrypted));
    home.open().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_rotated_while_the_store_is_in_use() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home");
    let encrypted = Arc::new(home.open().await.unwrap());
    let store = encrypted.store();
    fill(&*store).await;
    let ended = Arc::new(AtomicBool::new(false));
    let writers = (0..8_u64).map(|writer| {
        let (store, ended) = (Arc::clone(&store), Arc::clone(&ended));
        pandaemon_runtime::spawn("writer", async move {
            let key = format!("/secrets/w/{writer}");
            let mut expect = Expect::Absent;
            let mut last = 0_u64;
            while !ended.load(Ordering::Acquire) {
                last += 1;
                let write = put(&key, expect, &last.to_string());
                expect = match store.commit(write).await {
                    Ok(revision) => Expect::At(revision),
                    // The rotation wrote it.
                    Err(pandaemon_store::Error::Conflict { current, .. }) => {
                        Expect::At(current.unwrap().mod_revision)
                    }
                    Err(error) => panic!("{error}"),
                };
            }
            last
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut old = vec![first_key(&home.keys())];
    for _ in 0..5 {
        let rotation = encrypted.rotate(&|_, _| {}).await.unwrap();
        assert!(
            rotation.unreadable.is_empty() && rotation.rewritten >= 26,
            "{rotation:?}"
        );
        assert_eq!(home.files_with(&old), [""; 0]);
        assert_eq!(first_key(&home.keys()), rotation.key.to_string());
        let text = fs::read_to_string(home.keys()).unwrap();
        assert_eq!(text.matches("\n# key ").count(), 1, "{text}");
        old.push(rotation.key.to_string());
    }
    ended.store(true, Ordering::Release);
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    let before = values(&*store).await;
    store.close().await;
    let again = home.open().await.unwrap();
    assert_eq!(values(&*again.store()).await, before);
}

#[tokio::test]
async fn a_rotation_that_was_killed_is_finished_by_the_next_start() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home");
    let copies = parking_lot::Mutex::new(Vec::new());
    let (old, before) = {
        let encrypted = home.open().await.unwrap();
        fill(&*encrypted.store()).await;
        let progress = |done: u64, _: u64| {
            copies
                .lock()
                .push(home.copied(root.path(), &format!("killed-{done}")));
        };
        let old = first_key(&home.keys());
        encrypted.rotate(&progress).await.unwrap();
        (old, values(&*encrypted.store()).await)
    };
    let copies = copies.into_inner();
    assert_eq!(copies.len(), 27);
    for home in copies {
        assert!(fs::read_to_string(home.keys()).unwrap().contains(&old));
        let store = home.open().await.unwrap();
        assert_eq!(values(&*store.store()).await, before);
        assert_eq!(home.files_with(std::slice::from_ref(&old)), [""; 0]);
        assert!(!fs::read_to_string(home.keys()).unwrap().contains(&old));
    }
}

#[tokio::test]
async fn what_is_encrypted_follows_the_settings() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home");
    let pods = Settings {
        prefixes: vec![PREFIX.into(), "/pods/".into()],
        ..home.settings()
    };
    let texts = fill(&*home.open_with(pods, &|_, _| {}).await.unwrap().store()).await;
    let pod = ["a pod".to_owned()];
    assert_eq!(home.files_with(&pod), [""; 0]);
    let kept = Settings {
        prefixes: Vec::new(),
        keeps_encrypted: true,
        ..home.settings()
    };
    let store = home.open_with(kept, &|_, _| {}).await.unwrap();
    store.rotate(&|_, _| {}).await.unwrap();
    assert_eq!(home.files_with(&pod), [""; 0]);
    drop(store);
    drop(home.open().await.unwrap());
    assert_ne!(home.files_with(&pod), [""; 0]);
    assert_eq!(home.files_with(&texts), [""; 0]);
    let off = Settings {
        prefixes: Vec::new(),
        ..home.settings()
    };
    drop(home.open_with(off, &|_, _| {}).await.unwrap());
    fs::remove_file(home.keys()).unwrap();
    let plain = home.plain();
    assert_eq!(all(&plain).await.len(), 67);
    assert_eq!(plain.get(&name(2)).await.unwrap().unwrap().value, secret(2));
}

#[tokio::test]
async fn followers_see_a_rotation_as_updates_without_changes() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home");
    let encrypted = home.open().await.unwrap();
    let store = encrypted.store();
    for (key, value) in [("/secrets/d/a", "1"), ("/pods/d/a", "2")] {
        let write = put(key, Expect::Absent, value);
        store.commit(write).await.unwrap();
    }
    let kept = Kept::of(&*store, 1).await;
    encrypted.rotate(&|_, _| {}).await.unwrap();
    let events = ["2: /pods/d/a=2@2/2", "3: /secrets/d/a=1@1/3"];
    assert_eq!(kept.events(), events);
}
