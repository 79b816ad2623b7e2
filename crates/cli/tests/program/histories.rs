//! Histories: concurrent clients write, read and watch while the server is killed, frozen, stopped
//! and its disk is full. Everything that they were answered must be explained by a server that
//! keeps its promises (`pandaemon-histories`).
//!
//! `HISTORY_FAULTS` sets how many faults there are, `HISTORY_SEED` what they are.

#[path = "histories/clients.rs"]
mod clients;
#[path = "histories/faults.rs"]
mod faults;
#[path = "histories/recorder.rs"]
mod recorder;
#[path = "histories/watchers.rs"]
mod watchers;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use pandaemon_histories::{
    Answer, Entry, History, Selector, broken::BREAKS, linearizability, violations, watches,
};
use pandaemon_testkit::environment::number;
use tokio::time::{sleep, timeout};

use self::{
    clients::Client,
    faults::{Fault, Machine},
    recorder::Recorder,
    watchers::Watcher,
};

/// Faults of one history: a longer one takes longer to check than to make.
const FAULTS_OF_A_HISTORY: usize = 20;
/// Clients that write and read.
const CLIENTS: u32 = 8;
/// How many writes must succeed after a fault.
const WRITES_AFTER_A_FAULT: usize = 20;
/// How long that may take.
const RECOVERY: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_under_faults_keep_every_promise() {
    let faults = usize::try_from(number("HISTORY_FAULTS").unwrap_or(20)).unwrap();
    let seed = number("HISTORY_SEED").unwrap_or(1);
    let mut left = faults;
    for seed in seed.. {
        let now = left.min(FAULTS_OF_A_HISTORY);
        if now == 0 {
            break;
        }
        left -= now;
        let (history, done) = record(seed, now).await;
        let wrong = violations(&history);
        println!("{}", report(seed, &history, &done, &wrong));
        if !wrong.is_empty() {
            let folder = keep(seed, &history, &wrong);
            panic!(
                "{} violations, seed {seed}; the history is in {}:\n{}",
                wrong.len(),
                folder.display(),
                wrong[..wrong.len().min(20)].join("\n")
            );
        }
        breaks_are_noticed(&history, seed);
    }
}

/// Records a history with so many faults.
async fn record(seed: u64, faults: usize) -> (History, Vec<Fault>) {
    let mut random = Rng::with_seed(seed);
    let recorder = Arc::new(Recorder::default());
    let mut machine = Machine::start(Arc::clone(&recorder)).await;
    let clients = (0..CLIENTS).map(|number| {
        let client = Client::new(number, random.fork(), Arc::clone(&recorder));
        pandaemon_runtime::spawn("client", client.run())
    });
    let clients: Vec<_> = clients.collect();
    let watchers = [
        ("watches all", Selector::All),
        ("watches all, slowly", Selector::All),
        ("watches even values", Selector::Even),
    ];
    let watchers = watchers.map(|(name, selector)| {
        let watcher = Watcher::new(name, selector, random.fork(), Arc::clone(&recorder));
        pandaemon_runtime::spawn("watcher", watcher.run())
    });
    let mut done = Vec::new();
    for fault in machine.choose(faults, &mut random) {
        sleep(Duration::from_millis(random.u64(100..500))).await;
        machine.inject(fault, &mut random).await;
        done.push(fault);
        let goal = recorder.written() + WRITES_AFTER_A_FAULT;
        let recovered = timeout(RECOVERY, recorder.reach(goal)).await;
        assert!(recovered.is_ok(), "no writes after {fault:?}, seed {seed}");
    }
    recorder.stop();
    for client in clients {
        client.await.unwrap().expect("no panic");
    }
    clients::write_last(&recorder).await;
    let mut logs = Vec::new();
    for watcher in watchers {
        let log = timeout(RECOVERY, watcher).await.expect("a watch hangs");
        logs.push(log.unwrap().expect("no panic"));
    }
    (recorder.history(logs), done)
}

/// Each way to break the recorded history has to be noticed.
fn breaks_are_noticed(history: &History, seed: u64) {
    for (name, break_it) in BREAKS {
        let mut broken = history.clone();
        // Not every place of a history can be broken in every way.
        let mut random = Rng::with_seed(seed);
        let found = (0..1000).any(|_| break_it(&mut broken, &mut random));
        assert!(found, "the history has nothing to show that {name}");
        assert!(!violations(&broken).is_empty(), "{name}: not noticed");
    }
}

/// What was done and found, as a table.
fn report(seed: u64, history: &History, faults: &[Fault], wrong: &[String]) -> String {
    let mut answers: BTreeMap<&str, usize> = BTreeMap::new();
    for operation in &history.operations {
        *answers.entry(answer_name(&operation.answer)).or_default() += 1;
    }
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for fault in faults {
        *kinds.entry(format!("{fault:?}")).or_default() += 1;
    }
    let entries: Vec<_> = history
        .watches
        .iter()
        .flat_map(|log| &log.entries)
        .collect();
    let count = |wanted: fn(&Entry) -> bool| entries.iter().filter(|entry| wanted(entry)).count();
    let (compared, _) = watches::compare(history);
    let mut text = format!("history {seed}\n");
    let mut row = |name: &str, count: usize, details: String| {
        let _infallible = writeln!(text, "  {name:<24}{count:>8}  {details}");
    };
    let list = |counts: Vec<String>| counts.join(", ");
    row(
        "faults",
        faults.len(),
        list(
            kinds
                .iter()
                .map(|(name, n)| format!("{name} {n}"))
                .collect(),
        ),
    );
    row(
        "operations",
        history.operations.len(),
        list(
            answers
                .iter()
                .map(|(name, n)| format!("{name} {n}"))
                .collect(),
        ),
    );
    let events = count(|entry| matches!(entry, Entry::Event { .. }));
    let resumed = count(|entry| matches!(entry, Entry::Resumed(_)));
    let listed = count(|entry| matches!(entry, Entry::Listed(_)));
    row(
        "events of watches",
        events,
        format!("resumed {resumed} times, listed {listed} times"),
    );
    row(
        "compared with replays",
        compared.lists,
        format!("lists; {} writes were delivered", compared.writes),
    );
    row("violations", wrong.len(), String::new());
    text
}

fn answer_name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Written(_) => "written",
        Answer::Deleted => "deleted",
        Answer::Found(_) => "read",
        Answer::Listed(_) => "listed",
        Answer::Exists | Answer::NotFound | Answer::Conflict => "conflicts",
        Answer::Refused => "refused",
        Answer::Unknown => "no answer",
    }
}

/// Keeps a history with violations: its text, and a picture for each object without an order.
fn keep(seed: u64, history: &History, wrong: &[String]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("history-{seed}"));
    std::fs::create_dir_all(&folder).unwrap();
    let text = format!("{}\n{history:#?}\n", wrong.join("\n"));
    std::fs::write(folder.join("history.txt"), text).unwrap();
    for key in wrong.iter().filter_map(|line| line.split_once(": its ")) {
        let file = folder.join(format!("{}.html", key.0));
        linearizability::picture(history, key.0, &file).unwrap();
    }
    folder
}
