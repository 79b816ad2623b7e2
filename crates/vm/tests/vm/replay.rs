//! Every order in which blocks can reach a disk: dm-log-writes under the data directory, and the
//! program on disks that a power cut could have left.

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use kube::config::Kubeconfig;
use pandaemon_testkit::ServerProcess;
use pandaemon_vm::{
    MachineOptions,
    log_writes::{Log, copy_device},
    record::{Contents, Moment},
};

use crate::{
    guest::{Guest, LONG, SHORT, client, disk, folder, program},
    load::{Load, make_namespace, next_revision, nothing_wrong, read_all},
    report::Report,
};

/// The size of the disk in MiB.
const DISK: u64 = 256;
/// Marks in the log, and the writes from one to the next.
const MARKS: usize = 12;
const WRITES: usize = 30;
/// Disks that end with a flush, and those that have some of the later writes, too.
const WHOLE: usize = 30;
const TORN: usize = 30;

pub(crate) fn nothing_acknowledged_is_lost_in_any_order_of_blocks(report: &Report) -> Result<()> {
    let mut random = report.random();
    let mut guest = Guest::boot(
        report,
        MachineOptions {
            disks: vec![disk("data", DISK), disk("log", 8 * DISK)],
            ..MachineOptions::new("replay")
        },
    )?;
    guest.machine.check(
        &format!(
            "set -e
             modprobe dm-log-writes
             disks=/dev/disk/by-id/virtio
             dmsetup create logged --table \"0 {} log-writes $disks-data $disks-log\"
             mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/mapper/logged
             mkdir /data
             mount /dev/mapper/logged /data",
            DISK << 11
        ),
        LONG,
    )?;
    let mut load = Load::new()?;
    let file = guest.start("server --advertise-address 10.0.2.15 --data-dir /data/pandaemon")?;
    let server = load.block_on(client(file))?;
    load.block_on(make_namespace(&server))?;
    load.start(&server, &Contents::new(), &mut random);
    let mut moments = Vec::new();
    for mark in 0..MARKS {
        load.wait_for(WRITES, guest.machine.scaled(LONG))
            .with_context(|| guest.log())?;
        // What is acknowledged now is on the disk before the mark.
        moments.push(load.record().lock().moment());
        guest
            .machine
            .check(&format!("dmsetup message logged 0 mark {mark}"), SHORT)?;
        if mark == MARKS / 2 {
            // Writes a checkpoint under load.
            guest
                .machine
                .check("pandaemon rotate-keys --data-dir /data/pandaemon", LONG)?;
        }
    }
    load.stop()?;
    nothing_wrong("before any replay", &load.take_wrong())?;
    guest.machine.check(
        "set -e; systemctl stop pandaemon; umount /data; dmsetup remove --retry logged; sync",
        LONG,
    )?;
    guest.machine.power_off()?;
    let log = Log::open(&guest.machine.disk_file("log"))?;
    report.compared(load.record().lock().acknowledged(), 0);
    let states = states(&log, MARKS, &mut random)?;
    report.say(&format!(
        "{} entries, {} flushes, {} writes acknowledged; {} disks to open",
        log.len(),
        log.durable_points().len(),
        load.record().lock().acknowledged(),
        states.len()
    ));
    let replays = Replays::new(&log)?;
    open_all(report, &load, &replays, &moments, &states, &mut random)
}

/// A state of the disk: a number of entries of the log, and some of the writes after them.
#[derive(Debug, Clone, Copy)]
struct State {
    point: usize,
    torn: bool,
    /// The last mark whose writes must be there.
    mark: usize,
}

/// States after the first mark, in the order of the log: the last one before every mark, and
/// others by chance.
fn states(log: &Log, marks: usize, random: &mut fastrand::Rng) -> Result<Vec<State>> {
    let numbered = log
        .marks()
        .filter_map(|(at, name)| Some((name.parse::<usize>().ok()?, at)));
    let mut at_marks: Vec<(usize, usize)> = numbered.collect();
    at_marks.sort_unstable();
    let complete = at_marks.len() == marks && log.marks().any(|(_, name)| name.contains("end"));
    ensure!(complete, "the log is not complete: marks {at_marks:?}");
    let points = log.durable_points();
    let mut all = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let next = points.get(index + 1).copied().unwrap_or(usize::MAX);
        // Marks before the next flush had all of this one.
        let reached = at_marks.iter().rev().find(|(_, at)| *at < next);
        if let Some((mark, at)) = reached {
            let last_before_mark = *at >= *point;
            all.push((last_before_mark, *point, *mark));
        }
    }
    random.shuffle(&mut all);
    // Stable: those before marks first, the rest by chance.
    all.sort_by_key(|(last_before_mark, ..)| !last_before_mark);
    let state = |torn| {
        move |(_, point, mark): &(bool, usize, usize)| State {
            point: *point,
            torn,
            mark: *mark,
        }
    };
    let mut states: Vec<State> = all.iter().take(WHOLE).map(state(false)).collect();
    all.retain(|(_, point, _)| log.pending(*point) > 0);
    random.shuffle(&mut all);
    states.extend(all.iter().take(TORN).map(state(true)));
    states.sort_by_key(|state| state.point);
    Ok(states)
}

/// The disk as it is replayed, and directories for copies of it.
struct Replays<'a> {
    log: &'a Log,
    work: tempfile::TempDir,
}

impl<'a> Replays<'a> {
    fn new(log: &'a Log) -> Result<Self> {
        let work = tempfile::Builder::new()
            .prefix("replay-")
            .tempdir_in(folder())?;
        File::create(work.path().join("disk"))?.set_len(DISK << 20)?;
        Ok(Self { log, work })
    }

    /// Brings the disk from one point of the log to a later one.
    fn advance(&self, from: usize, to: usize) -> Result<()> {
        let disk = File::options()
            .write(true)
            .open(self.work.path().join("disk"))?;
        self.log.replay(from..to, &disk)
    }

    /// A directory with the data directory as it is found on the disk in this state. The kernel
    /// mounts a copy, in a mount namespace that ends with the command.
    fn data_of(&self, state: State, random: &mut fastrand::Rng) -> Result<tempfile::TempDir> {
        let folder = tempfile::Builder::new()
            .prefix("state-")
            .tempdir_in(self.work.path())?;
        let copy = folder.path().join("disk");
        copy_device(&self.work.path().join("disk"), &copy)?;
        if state.torn {
            let device = File::options().read(true).write(true).open(&copy)?;
            self.log.tear(state.point, &device, random)?;
        }
        let mounted = folder.path().join("mounted");
        fs::create_dir(&mounted)?;
        let script = "mount -o loop \"$0/disk\" \"$0/mounted\" && \
                      cp -a \"$0/mounted/pandaemon\" \"$0/data\"";
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .arg(folder.path())
            .output()
            .context("run unshare")?;
        ensure!(
            output.status.success(),
            "the disk cannot be mounted: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        fs::remove_file(copy)?;
        Ok(folder)
    }
}

fn open_all(
    report: &Report,
    load: &Load,
    replays: &Replays<'_>,
    moments: &[Moment],
    states: &[State],
    random: &mut fastrand::Rng,
) -> Result<()> {
    let mut reached = 0;
    let mut failures = Vec::new();
    for (index, state) in states.iter().enumerate() {
        replays.advance(reached, state.point)?;
        reached = state.point;
        let moment = moments.get(state.mark).context("a mark without a moment")?;
        let folder = replays.data_of(*state, random)?;
        let wrong = open_one(load, folder.path(), moment);
        let wrong = wrong.unwrap_or_else(|error| vec![format!("{error:#}")]);
        report.replayed();
        if !wrong.is_empty() {
            report.compared(0, wrong.len());
            failures.push(format!("{state:?}: {}", wrong.join("; ")));
        }
        if (index + 1) % 10 == 0 {
            report.say(&format!("{} of {} disks", index + 1, states.len()));
        }
    }
    nothing_wrong("replayed disks", &failures)
}

/// Starts the program on a data directory. Returns what is wrong with its contents.
fn open_one(load: &Load, folder: &Path, moment: &Moment) -> Result<Vec<String>> {
    let server = ServerProcess::start(&program()?, folder, &["--controllers", "serviceaccount"])?;
    let file = Kubeconfig::read_from(server.kubeconfig())?;
    load.block_on(async {
        let client = client(file).await?;
        let found = read_all(&client).await?;
        let mut wrong = load.record().lock().check(moment, &found);
        let next = next_revision(&client).await?;
        if next <= moment.newest() {
            wrong.push(format!(
                "revision {next} after revision {}",
                moment.newest()
            ));
        }
        Ok(wrong)
    })
}
