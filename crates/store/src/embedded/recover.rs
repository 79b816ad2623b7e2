//! Recovery: reads the files, refuses damage, and makes durable what it has read.
//!
//! Only the last frame of the log can be torn, because the next frame is written after it is
//! durable. A torn frame was never acknowledged and is dropped. Any other mismatch is damage:
//! opening fails with an error that names the file, and nothing is changed.

use std::io;

use imbl::OrdMap;

use super::{
    files::{TEMPORARY_NAME, segment_name},
    walk::{IsOutdated, Place, Walk, failed, walk},
};
use crate::{
    Entry, Error, Key, Result, Revision,
    disk::{Directory, Disk, Step, read_exact_at, write_all_at},
};

/// A segment counts as at least so many bytes, so that many restarts lead to a checkpoint as well.
const SEGMENT_MIN_BYTES: u64 = if cfg!(test) { 1 << 10 } else { 4 << 20 };

/// The recovered state.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) entries: OrdMap<Key, Entry>,
    /// Revisions up to this one must not be assigned again.
    pub(super) revision: Revision,
    /// Sequence number of the next frame.
    pub(super) next: u64,
    /// Number of the next segment.
    pub(super) segment: u64,
    /// Bytes of log that were read since the checkpoint.
    pub(super) log_bytes: u64,
    /// Size of the checkpoint, in bytes.
    pub(super) checkpoint_bytes: u64,
    /// A file has an outdated value, or may have one.
    pub(super) has_outdated: bool,
    /// A file is of an earlier format.
    pub(super) has_old_format: bool,
}

/// Reads the state from a directory, and removes files that the newest checkpoint replaces.
pub(super) fn recover(disk: &dyn Disk, is_outdated: IsOutdated<'_>) -> Result<Recovered> {
    let mut walk = walk(disk, is_outdated)?;
    if let Some(damage) = walk.damage.first() {
        return Err(Error::Damaged(damage.clone()));
    }
    let settled = settle(disk, &mut walk);
    settled.map_err(|error| failed("write to", disk.path().into(), &error))?;
    let log_bytes = walk.log_bytes.iter();
    Ok(Recovered {
        log_bytes: log_bytes.map(|bytes| SEGMENT_MIN_BYTES.max(*bytes)).sum(),
        entries: walk.entries,
        revision: walk.revision,
        next: walk.next,
        segment: walk.segment,
        checkpoint_bytes: walk.checkpoint_bytes,
        has_outdated: walk.has_outdated,
        has_old_format: walk.has_old_format,
    })
}

/// Makes durable what was read, and gives back the space of what was not. A process that was killed
/// leaves bytes and names that the system has not written to the disk yet.
fn settle(disk: &dyn Disk, walk: &mut Walk) -> io::Result<()> {
    if let Some(last) = &walk.last {
        rewrite(disk, last)?;
    }
    // The files behind it, too: that a failed write was cut off must be durable.
    let segments = walk.listed.segments.iter();
    let segments = segments.filter(|number| **number >= walk.checkpoint);
    let last = walk.last.as_ref().map(|last| last.name.clone());
    for name in segments.map(|number| segment_name(*number)) {
        if last.as_ref().is_none_or(|last| *last <= name) {
            disk.edit(&name)?.sync_all(Step::SyncRecovered)?;
        }
    }
    if let Some(Place { name, at, .. }) = &walk.torn {
        let path = disk.path().join(name);
        let path = path.display();
        tracing::info!(
            "{path}: dropped the unacknowledged write at byte {at} that a crash cut off"
        );
        // It may have an outdated value.
        walk.has_outdated |= cut(disk, name, *at).is_err();
    }
    if walk.listed.has_temporary {
        walk.has_outdated |= disk.remove(TEMPORARY_NAME, Step::FreeSpace).is_err();
    }
    if walk.files.iter().any(|file| file.is_replaced) {
        disk.sync_directory(Directory::Own, Step::SyncRecoveredDirectory)?;
        let removed = walk.listed.remove_replaced(disk, walk.checkpoint);
        // The next compaction removes them, or else fails.
        walk.has_outdated |= removed.is_err();
    }
    Ok(())
}

/// Writes the last frame once more. After a failed sync the system may show bytes that it will
/// never write.
fn rewrite(disk: &dyn Disk, last: &Place) -> io::Result<()> {
    let file = disk.edit(&last.name)?;
    let length = usize::try_from(last.end - last.at);
    let mut frame = vec![0; length.map_err(|_| io::ErrorKind::FileTooLarge)?];
    read_exact_at(&*file, &mut frame, last.at)?;
    write_all_at(&*file, &frame, last.at, Step::RewriteLastFrame)
}

fn cut(disk: &dyn Disk, name: &str, size: u64) -> io::Result<()> {
    disk.edit(name)?.set_size(size, Step::FreeSpace)
}
