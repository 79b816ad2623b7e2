//! `pandaemon store check` and `pandaemon store repair`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use futures::executor::block_on;
use pandaemon_store::{Embedded, Expect, Op, Options, Range, Store, Transaction};

use crate::process::program;

fn command(what: &str, directory: &Path, more: &[&str]) -> (i32, String, String) {
    let mut command = program();
    let command = command.args(["store", what]).arg(directory).args(more);
    let Output {
        status,
        stdout,
        stderr,
    } = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn open(data: &Path) -> Embedded {
    Embedded::open(data.join("store"), Options::default()).unwrap()
}

/// A store with a flipped bit in its second write.
fn damaged(data: &Path) -> PathBuf {
    let store = open(data);
    for key in ["/pods/d/a", "/pods/d/b", "/pods/d/c"] {
        let value = format!("the value of {key}");
        let write = Transaction::of(key.into(), Expect::Absent, Op::Put(value.into()));
        block_on(store.commit(write)).unwrap();
    }
    drop(store);
    let path = data.join("store/log-000000000001");
    let mut content = fs::read(&path).unwrap();
    let text = b"the value of /pods/d/b";
    let at = content.windows(text.len()).position(|bytes| bytes == text);
    content[at.unwrap()] ^= 1;
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn a_damaged_store_is_shown_and_repaired_on_demand_only() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (code, _, stderr) = command("check", folder.path(), &[]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("there is no store in"), "{stderr}");
    let path = damaged(&data);
    let before = fs::read(&path).unwrap();

    let (code, stdout, stderr) = command("check", &data, &[]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("is damaged in 1 place"), "{stderr}");
    let line = format!("damaged: {} at byte ", path.display());
    assert!(stdout.contains(&line), "{stdout}");
    assert!(stdout.contains("the frame 1 cannot be read"), "{stdout}");
    assert!(stdout.contains("2 entries can be read"), "{stdout}");

    let (code, _, stderr) = command("repair", &data, &[]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("with /pods/d/c"), "{stderr}");
    assert!(stderr.contains("nothing was changed"), "{stderr}");
    assert_eq!(fs::read(&path).unwrap(), before);

    let (code, _, stderr) = command("repair", &data, &["--yes"]);
    assert_eq!(code, 0, "{stderr}");
    let kept = data.join("store/before-repair-1/log-000000000001");
    assert!(stderr.contains("before-repair-1"), "{stderr}");
    assert_eq!(fs::read(kept).unwrap(), before);

    let (code, stdout, stderr) = command("check", &data.join("store"), &[]);
    assert_eq!(code, 0, "{stdout}{stderr}");
    let store = open(&data);
    let page = block_on(store.range(Range::default())).unwrap();
    let keys: Vec<&str> = page.entries.iter().map(|entry| &*entry.key).collect();
    assert_eq!(keys, ["/pods/d/a", "/pods/d/c"]);
    let (code, _, stderr) = command("repair", &data, &["--yes"]);
    assert_eq!(code, 4, "{stderr}");
    drop(store);
    let (code, _, stderr) = command("repair", &data, &["--yes"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("there is nothing to repair"), "{stderr}");
}
