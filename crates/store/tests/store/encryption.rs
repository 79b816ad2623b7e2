//! Encryption at rest: the first start of an upgrade, kills at every step, missing keys, settings.

use std::{fs, os::unix::fs::PermissionsExt as _};

use pandaemon_store::{Expect, Op, Store, Transaction, encryption::Settings};

use crate::{
    common::all,
    home::{Home, PREFIX, fill, first_key, name, secret, values},
};

#[tokio::test]
async fn no_plaintext_is_left_after_a_start_even_if_it_was_killed_at_any_step() {
    let root = tempfile::tempdir().unwrap();
    let home = Home::new(root.path(), "home");
    let (texts, before) = {
        let store = home.plain();
        (fill(&store).await, values(&store).await)
    };
    let home = home.without_checkpoints();
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
    // Killed while a checkpoint was being written, by this version and by the one before.
    let torn = copies.pop().unwrap();
    for torn in [&torn, &home] {
        fs::write(torn.store().join("checkpoint.tmp"), &texts[0]).unwrap();
    }
    copies.extend([replaced, torn, home]);
    for home in copies {
        let store = home.open().await.unwrap();
        assert_eq!(home.files_with(&texts), [""; 0], "{:?}", home.path);
        assert_eq!(values(&*store.store()).await, before, "{:?}", home.path);
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
