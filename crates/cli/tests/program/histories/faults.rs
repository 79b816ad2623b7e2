//! The server process, its disk, and what happens to them.

use std::{
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use pandaemon_testkit::{ServerProcess, disk::Tmpfs};
use tempfile::TempDir;
use tokio::time::sleep;

use super::recorder::{Recorder, Server};
use crate::process::{config, start_server};

/// The size of the disk, in MiB: the log and a checkpoint of it.
const DISK: u32 = 128;

/// What happens to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It ends at once and writes nothing more.
    Kill,
    /// SIGSTOP for a while.
    Freeze,
    /// SIGKILL while it is stopped by SIGSTOP.
    KillFrozen,
    /// SIGTERM: it answers what it has begun.
    Stop,
    /// The disk has no space for a while.
    FullDisk,
    /// SIGKILL, and a start without space on the disk.
    KillOnFullDisk,
}

impl Fault {
    const ALL: [Self; 6] = [
        Self::Kill,
        Self::Freeze,
        Self::KillFrozen,
        Self::Stop,
        Self::FullDisk,
        Self::KillOnFullDisk,
    ];

    const fn needs_disk(self) -> bool {
        matches!(self, Self::FullDisk | Self::KillOnFullDisk)
    }
}

/// A server with a disk of its own.
pub(super) struct Machine {
    /// `None` while it is being started.
    server: Option<ServerProcess>,
    generation: u32,
    recorder: Arc<Recorder>,
    /// `None` where this test cannot mount one.
    disk: Option<Tmpfs>,
    folder: TempDir,
}

impl Machine {
    pub(super) async fn start(recorder: Arc<Recorder>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Tmpfs::mount(&folder.path().join("data"), DISK);
        let mut machine = Self {
            server: None,
            generation: 0,
            recorder,
            disk,
            folder,
        };
        machine.start_server().await;
        machine
    }

    async fn start_server(&mut self) {
        let folder = self.folder.path().to_owned();
        let server = tokio::task::spawn_blocking(move || start_server(&folder));
        let server = server.await.unwrap();
        let mut config = config(&server).await;
        // A repeated request would hide that the fate of the first one is unknown.
        config.default_retry = false;
        self.generation += 1;
        self.recorder.started(Server {
            generation: self.generation,
            client: kube::Client::try_from(config).unwrap(),
        });
        self.server = Some(server);
    }

    /// So many faults: each kind as often as the others, in any order.
    pub(super) fn choose(&self, count: usize, random: &mut Rng) -> Vec<Fault> {
        let kinds = Fault::ALL.into_iter();
        let kinds = kinds.filter(|fault| self.disk.is_some() || !fault.needs_disk());
        let mut faults: Vec<_> = kinds.cycle().take(count).collect();
        random.shuffle(&mut faults);
        faults
    }

    pub(super) async fn inject(&mut self, fault: Fault, random: &mut Rng) {
        let mut wait = async |range: std::ops::Range<u64>| {
            sleep(Duration::from_millis(random.u64(range))).await;
        };
        match fault {
            Fault::Kill => self.restart(|server| server.kill().unwrap()).await,
            Fault::Stop => {
                let stop = |server: &mut ServerProcess| {
                    assert_eq!(server.stop().unwrap().code(), Some(0));
                };
                self.restart(stop).await;
            }
            Fault::Freeze => {
                self.signal(Signal::SIGSTOP);
                wait(50..1_200).await;
                self.signal(Signal::SIGCONT);
            }
            Fault::KillFrozen => {
                self.signal(Signal::SIGSTOP);
                wait(10..500).await;
                self.restart(|server| server.kill().unwrap()).await;
            }
            Fault::FullDisk => {
                let filler = self.fill_disk();
                wait(200..800).await;
                fs::remove_file(filler).unwrap();
            }
            Fault::KillOnFullDisk => {
                let filler = self.fill_disk();
                wait(50..300).await;
                self.restart(|server| server.kill().unwrap()).await;
                wait(50..300).await;
                fs::remove_file(filler).unwrap();
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let server = self.server.as_ref().unwrap();
        let pid = Pid::from_raw(i32::try_from(server.pid()).unwrap());
        kill(pid, signal).unwrap();
    }

    /// Ends the process and starts another one with the same data.
    async fn restart(&mut self, end: impl FnOnce(&mut ServerProcess) + Send + 'static) {
        let mut server = self.server.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || end(&mut server));
        ended.await.unwrap();
        self.recorder.ended(self.generation);
        self.start_server().await;
    }

    /// Fills the disk to its last byte; the file that did.
    fn fill_disk(&self) -> PathBuf {
        let filler = self.disk.as_ref().unwrap().path().join("filler");
        let mut file = File::create(&filler).unwrap();
        for size in [1 << 20, 4 << 10, 1] {
            let bytes = vec![0; size];
            while file.write_all(&bytes).is_ok() {}
        }
        filler
    }
}
