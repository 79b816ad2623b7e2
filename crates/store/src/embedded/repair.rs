//! What an operator does with a store that is damaged: see what can be read, and go on with that.
//!
//! A repair writes a checkpoint of all that can be read. Values are absolute, so frames behind the
//! damage are kept. The old files get a second name before, in a directory beside them, and the
//! checkpoint gets its name in one step: a repair that is interrupted has either happened or not.

use std::{io, path::Path, sync::Arc};

use super::{
    checkpoint::{Checkpoint, Written},
    damage::Damage,
    log::Log,
    walk::{FileReport, Walk, failed, walk},
};
use crate::{
    Error, Key, Result, Revision,
    disk::{Directory, Disk, LockGuard, Step, local::Local},
};

/// What the directories of old files are called, with a number.
const KEPT: &str = "before-repair";
/// How far a repair raises the revision, beyond all that were assigned by writes that are lost:
/// clients that know a later one list again. `etcdutl snapshot restore --bump-revision` has this
/// use; its documentation takes 10^9.
const RAISED: Revision = 1 << 30;

/// What is in the files of a store.
#[derive(Debug, Clone)]
pub struct Report {
    /// The files, those that a checkpoint replaces last.
    pub files: Vec<FileReport>,
    /// What cannot be read.
    pub damage: Vec<Damage>,
    /// Number of entries that can be read.
    pub entries: usize,
    /// The highest revision that may have been assigned, as far as it can be read.
    pub revision: Revision,
    /// Number of frames that can be read behind damage.
    pub kept_frames: u64,
    /// The keys that they write or delete.
    pub kept_keys: Vec<Key>,
}

/// Reads all files of a store and changes none.
///
/// # Errors
/// [`Error::Locked`] while a process has it open, [`Error::Version`] for files of a later version,
/// [`Error::Storage`] if a file cannot be read at all.
pub fn check(directory: &Path) -> Result<Report> {
    let repair = Repair::open(directory)?;
    Ok(repair.report())
}

/// A damaged store, locked against other processes.
#[derive(Debug)]
pub struct Repair {
    disk: Arc<dyn Disk>,
    walk: Walk,
    _lock: LockGuard,
}

/// What a repair has done.
#[derive(Debug, Clone)]
pub struct Repaired {
    /// The directory with the old files, in that of the store.
    pub kept: String,
    /// Number of entries.
    pub entries: usize,
    /// The revision at which the store continues.
    pub revision: Revision,
}

impl Repair {
    /// Reads all files of a store.
    ///
    /// # Errors
    /// Those of [`check`].
    pub fn open(directory: &Path) -> Result<Self> {
        Self::open_on(Arc::new(Local::new(directory)))
    }

    pub(super) fn open_on(disk: Arc<dyn Disk>) -> Result<Self> {
        let lock = disk.lock()?;
        let walk = walk(&*disk, &|_, _| false)?;
        Ok(Self {
            disk,
            walk,
            _lock: lock,
        })
    }

    /// What was read.
    #[must_use]
    pub fn report(&self) -> Report {
        let walk = &self.walk;
        let mut kept_keys = walk.kept_keys.clone();
        kept_keys.sort_unstable();
        kept_keys.dedup();
        Report {
            files: walk.files.clone(),
            damage: walk.damage.clone(),
            entries: walk.entries.len(),
            revision: walk.revision,
            kept_frames: walk.kept_frames,
            kept_keys,
        }
    }

    /// Goes on with what can be read.
    ///
    /// # Errors
    /// If the disk refuses. Nothing is lost then, and the repair can be repeated.
    pub fn apply(self) -> Result<Repaired> {
        let kept = self.keep_files();
        let kept = kept.map_err(|error| self.failed(&error))?;
        let newest = self.walk.listed.checkpoints.last().copied();
        let segment = self.walk.segment.max(newest.unwrap_or_default() + 1);
        let next = self.walk.next;
        // A checkpoint is followed by its segment.
        let log = Log::open(Arc::clone(&self.disk), segment - 1, next);
        let log = log.map_err(|error| self.failed(&error))?;
        let reserved = self.walk.revision + RAISED;
        let checkpoint = Checkpoint {
            segment: log.segment(),
            next,
            entries: self.walk.entries.clone(),
            volatile: imbl::OrdSet::new(),
            reserved,
        };
        let written = checkpoint.write(&*self.disk);
        let Written { removed, .. } = written.map_err(|error| self.failed(&error))?;
        if let Err(error) = removed {
            tracing::warn!(%error, "cannot remove the damaged files; the next start does it");
        }
        Ok(Repaired {
            kept,
            entries: self.walk.entries.len(),
            revision: reserved,
        })
    }

    fn failed(&self, error: &io::Error) -> Error {
        failed("repair", self.disk.path().into(), error)
    }

    /// Gives all files a second name. Returns the directory of these.
    fn keep_files(&self) -> io::Result<String> {
        let names = self.disk.list()?;
        let free = (1..).map(|number: u64| format!("{KEPT}-{number}"));
        let mut free = free.filter(|name| !names.contains(name));
        let kept = free.next().ok_or(io::ErrorKind::AlreadyExists)?;
        self.disk.create_below(&kept)?;
        for name in self.walk.listed.names() {
            self.disk.link(&name, &kept, Step::LinkKept)?;
        }
        // The name of the directory is durable with that of the checkpoint, before any file goes.
        let below = Directory::Below(&kept);
        self.disk.sync_directory(below, Step::SyncKept)?;
        Ok(kept)
    }
}
