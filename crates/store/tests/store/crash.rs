//! kill -9 under load: after a restart the store holds the acknowledged writes and no others.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use crate::common::{delete, entries, latest, put, volatile_put};
use pandaemon_store::{Embedded, Expect, Options, Revision, Store as _};

const WRITERS: usize = 24;

fn options() -> Options {
    // Small, so that some kills happen during a checkpoint.
    Options {
        log_bytes: 200_000,
        ..Options::default()
    }
}

/// The value that operation `n` of a writer stores; `None` for a deletion.
fn value(n: u64) -> Option<String> {
    (n % 7 != 6).then(|| {
        format!(
            "{n}:{}",
            "v".repeat(500 + usize::try_from(n % 900).unwrap())
        )
    })
}

/// The process that is killed, not a test. It uses the current directory.
#[test]
#[ignore = "started by nothing_acknowledged_is_lost"]
fn child() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let store = Embedded::open("store", options()).unwrap();
    runtime.block_on(async {
        let writers = (0..WRITERS).map(|writer| work(&store, writer));
        futures::future::join_all(writers).await;
    });
}

async fn work(store: &Embedded, writer: usize) {
    let key = format!("/{}/{writer}", std::process::id());
    let mut expect = Expect::Absent;
    for n in 0.. {
        let write = match (value(n), expect) {
            (Some(value), _) => put(&key, expect, &value),
            (None, Expect::At(revision)) => delete(&key, revision),
            (None, Expect::Absent) => unreachable!(),
        };
        let revision = store.commit(write).await.unwrap();
        println!("ack {writer} {n} {revision}");
        expect = if value(n).is_some() {
            Expect::At(revision)
        } else {
            Expect::Absent
        };
        if n % 5 == 0 {
            let write = volatile_put(&format!("/lease{key}/{n}"), Expect::Absent, "");
            let revision = store.commit(write).await.unwrap();
            println!("volatile {revision}");
        }
    }
}

#[derive(Debug, Default)]
struct Acknowledged {
    /// The last acknowledged operation of each writer.
    last: BTreeMap<usize, u64>,
    revision: Revision,
}

fn killed_after(directory: &std::path::Path, time: Duration) -> (u32, Acknowledged) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::child",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .current_dir(directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Acknowledged::default();
    let mut killer = None;
    for line in lines {
        let line = line.unwrap();
        let words: Vec<u64> = line
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let complete = line.starts_with("ack ") || line.starts_with("volatile ");
        let Some(revision) = words.last().filter(|_| complete) else {
            continue;
        };
        acknowledged.revision = acknowledged.revision.max(*revision);
        if let [writer, n, _] = words[..] {
            acknowledged
                .last
                .insert(usize::try_from(writer).unwrap(), n);
        }
        // The time until the kill starts at the first acknowledgement, however slow the machine is.
        if killer.is_none() {
            let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
            killer = Some(std::thread::spawn(move || {
                std::thread::sleep(time);
                nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
            }));
        }
    }
    killer.unwrap().join().unwrap();
    let pid = child.id();
    assert!(!child.wait().unwrap().success());
    (pid, acknowledged)
}

#[test]
fn nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut revision = 0;
    let mut before: Vec<String> = Vec::new();
    for time in [1, 20, 333, 77, 150, 5, 500, 240] {
        let (pid, acknowledged) = killed_after(directory.path(), Duration::from_millis(time));
        assert!(
            acknowledged.revision > revision,
            "a revision was used again"
        );
        let store = Embedded::open(directory.path().join("store"), options()).unwrap();
        revision = latest(&store);
        assert!(revision >= acknowledged.revision);
        let entries: BTreeMap<String, Vec<u8>> = entries(&store)
            .into_iter()
            .map(|entry| (entry.key.to_string(), entry.value.to_vec()))
            .collect();
        for (writer, n) in &acknowledged.last {
            let found = entries.get(&format!("/{pid}/{writer}"));
            let found = found.map(|value| String::from_utf8(value.clone()).unwrap());
            // The unacknowledged next operation may or may not have been stored.
            let allowed = [value(*n), value(n + 1)];
            assert!(
                allowed.contains(&found),
                "writer {writer} after {n}: {found:?}"
            );
        }
        let own = format!("/{pid}/");
        let others: Vec<String> = entries
            .keys()
            .filter(|key| !key.starts_with(&own))
            .cloned()
            .collect();
        assert_eq!(others, before, "the keys of earlier rounds have changed");
        before = entries.into_keys().collect();
    }
}
