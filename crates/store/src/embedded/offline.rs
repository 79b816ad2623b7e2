//! What an operator does with the files of a store that no process uses: see what can be read, go
//! on with that, or go on with a backup.
//!
//! Both write a checkpoint of the state to go on with. The old files get a second name before, in a
//! directory beside them, and the checkpoint gets its name in one step: what is interrupted has
//! either happened or not. A repair takes all that can be read. Values are absolute, so frames
//! behind the damage are kept.

use std::{collections::BTreeMap, io, path::Path, sync::Arc};

use imbl::{OrdMap, OrdSet};

use super::{
    backup::{Contents, StateSnapshot},
    checkpoint::{Checkpoint, Written},
    damage::Damage,
    log::Log,
    state_frames::Durable,
    walk::{FileReport, Walk, failed, walk},
};
use crate::{
    Entry, Error, Key, Result, Revision,
    disk::{Directory, Disk, LockGuard, Step, local::Local},
    prefix_of,
};

/// What the directories of old files are called, with a number.
const BEFORE_REPAIR: &str = "before-repair";
const BEFORE_RESTORE: &str = "before-restore";
/// How far revisions are raised beyond all that can be known: the store that was lost may have
/// assigned later ones. 10,000 leases a second use so many in three years. It is a small part of
/// the 2^53 that programs with floating-point numbers can tell apart. `etcdutl snapshot restore
/// --bump-revision` has this use; etcd's documentation takes 10^9.
const RAISED: Revision = 1 << 40;

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
    let store = OfflineStore::open(directory)?;
    Ok(store.report())
}

/// The files of a store, locked against other processes.
#[derive(Debug)]
pub struct OfflineStore {
    disk: Arc<dyn Disk>,
    walk: Walk,
    lock: LockGuard,
}

/// What a repair or a restore has done.
#[derive(Debug)]
pub struct Replaced {
    /// The directory with the old files, in that of the store; `None` if there were none.
    pub kept: Option<String>,
    /// Number of entries.
    pub entries: usize,
    /// The revision at which the store continues.
    pub revision: Revision,
    /// No other process uses the store before this is dropped.
    _lock: LockGuard,
}

impl OfflineStore {
    /// Reads all files of a store.
    ///
    /// # Errors
    /// Those of [`check`].
    pub fn open(directory: &Path) -> Result<Self> {
        Self::open_on(Arc::new(Local::new(directory)))
    }

    /// The same for a directory that is created if it does not exist.
    ///
    /// # Errors
    /// Those of [`check`], and if the directory cannot be created.
    pub fn create(directory: &Path) -> Result<Self> {
        let disk = Local::new(directory);
        let created = disk.create_directory();
        let created =
            created.and_then(|()| disk.sync_directory(Directory::Parent, Step::SyncParent));
        created.map_err(|error| failed("create", directory.into(), &error))?;
        Self::open_on(Arc::new(disk))
    }

    pub(super) fn open_on(disk: Arc<dyn Disk>) -> Result<Self> {
        let lock = disk.lock()?;
        let walk = walk(&*disk, &|_, _| false)?;
        Ok(Self { disk, walk, lock })
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

    /// The entries, for a backup.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a part of them cannot be read.
    pub fn snapshot(&self) -> Result<StateSnapshot> {
        match self.walk.damage.first() {
            Some(damage) => Err(Error::Damaged(damage.clone())),
            None => Ok(StateSnapshot::new(Durable {
                entries: self.walk.entries.clone(),
                volatile: OrdSet::new(),
                reserved: self.walk.revision,
            })),
        }
    }

    /// Number of entries that can be read, by what their keys begin with.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for key in self.walk.entries.keys() {
            *counts.entry(prefix_of(key).to_owned()).or_default() += 1;
        }
        counts
    }

    /// Goes on with what can be read.
    ///
    /// # Errors
    /// If the disk refuses. Nothing is lost then, and the repair can be repeated.
    pub fn repair(self) -> Result<Replaced> {
        let Walk {
            entries, revision, ..
        } = &self.walk;
        let state = raised(entries, *revision, *revision + RAISED);
        self.replace(state, BEFORE_REPAIR, "repair")
    }

    /// The revision at which the store goes on after [`OfflineStore::restore`]: later than all
    /// that the present one can have.
    #[must_use]
    pub fn restored_revision(&self, backup: &Contents) -> Revision {
        self.restored(backup).reserved
    }

    fn restored(&self, backup: &Contents) -> Durable {
        let known = self.walk.revision.max(backup.revision);
        raised(&backup.entries, backup.revision, known + RAISED)
    }

    /// Goes on with a backup, instead of what there is.
    ///
    /// # Errors
    /// If the disk refuses. Nothing is lost then, and the restore can be repeated.
    pub fn restore(self, backup: &Contents) -> Result<Replaced> {
        let state = self.restored(backup);
        self.replace(state, BEFORE_RESTORE, "restore")
    }

    fn replace(self, state: Durable, kept: &str, verb: &str) -> Result<Replaced> {
        let failed = |error: io::Error| failed(verb, self.disk.path().into(), &error);
        let kept = self.keep_files(kept).map_err(failed)?;
        let newest = self.walk.listed.checkpoints.last().copied();
        let segment = self.walk.segment.max(newest.unwrap_or_default() + 1);
        let next = self.walk.next;
        // A checkpoint is followed by its segment.
        let log = Log::open(Arc::clone(&self.disk), segment - 1, next);
        let log = log.map_err(failed)?;
        let replaced = Replaced {
            kept,
            entries: state.entries.len(),
            revision: state.reserved,
            _lock: self.lock,
        };
        let checkpoint = Checkpoint {
            segment: log.segment(),
            next,
            state,
        };
        let written = checkpoint.write(&*self.disk);
        let Written { removed, .. } = written.map_err(failed)?;
        if let Err(error) = removed {
            tracing::warn!(%error, "cannot remove the old files; the next start does it");
        }
        Ok(replaced)
    }

    /// Gives all files a second name. Returns the directory of these.
    fn keep_files(&self, kept: &str) -> io::Result<Option<String>> {
        if self.walk.listed.names().next().is_none() {
            return Ok(None);
        }
        let names = self.disk.list()?;
        let free = (1..).map(|number: u64| format!("{kept}-{number}"));
        let mut free = free.filter(|name| !names.contains(name));
        let kept = free.next().ok_or(io::ErrorKind::AlreadyExists)?;
        self.disk.create_below(&kept)?;
        for name in self.walk.listed.names() {
            self.disk.link(&name, &kept, Step::LinkKept)?;
        }
        // The name of the directory is durable with that of the checkpoint, before any file goes.
        let below = Directory::Below(&kept);
        self.disk.sync_directory(below, Step::SyncKept)?;
        Ok(Some(kept))
    }
}

/// The state with later revisions: all of its entries are later than `after`, and their order is
/// the same. A client may have seen a later state of an object than the one that is back: this one
/// is later still, so that no client takes it for a late answer. And no guard of a write from
/// before holds.
fn raised(entries: &OrdMap<Key, Entry>, revision: Revision, after: Revision) -> Durable {
    let lowest = entries.values().map(|entry| entry.create_revision).min();
    let shift = (after + 1).saturating_sub(lowest.unwrap_or(revision));
    let raise = |(key, entry): (&Key, &Entry)| {
        let entry = Entry {
            create_revision: entry.create_revision + shift,
            mod_revision: entry.mod_revision + shift,
            ..entry.clone()
        };
        (Key::clone(key), entry)
    };
    Durable {
        entries: entries.iter().map(raise).collect(),
        volatile: OrdSet::new(),
        reserved: revision + shift,
    }
}
