//! The file calls of the embedded store, behind one seam: [`local::Local`] is the file system, and
//! `simulated::Simulated` is a disk of tests that loses, tears and refuses what a real one may.
//!
//! A [`Disk`] is one directory. Every call that changes a file or makes a change durable names
//! itself with a [`Step`], so that tests can leave it out or exchange two of them.

pub(crate) mod local;
#[cfg(test)]
pub(crate) mod simulated;

use std::{fmt::Debug, io, path::Path};

use crate::Result;

/// A call that changes a file or makes a change durable, by its purpose. A test shows of each one
/// that something is lost without it (`every_sync_and_every_order_is_needed`), but for
/// [`Step::FreeSpace`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// The name of the store's directory is durable.
    SyncParent,
    /// The file header of a new segment is written.
    WriteSegmentHeader,
    /// It is durable before the first frame is written: what follows a torn one is then damage.
    SyncSegmentHeader,
    /// The name of a new segment is durable before a write in it is acknowledged.
    SyncDirectoryAfterSegment,
    /// A frame is written.
    WriteFrame,
    /// It is durable before its writes are acknowledged.
    SyncFrame,
    /// A frame that may have been written in part, or wholly, is cut off.
    CutAfterFailure,
    /// That is durable before its writes are answered as refused, and before the next frame.
    SyncCut,
    /// A part of a checkpoint is written.
    WriteCheckpoint,
    /// A checkpoint is durable before it gets its name.
    SyncCheckpoint,
    /// A checkpoint gets its name.
    RenameCheckpoint,
    /// That is durable before the files that it replaces are removed.
    SyncDirectoryAfterRename,
    /// A file that a checkpoint replaces is removed.
    RemoveReplaced,
    /// The last frame that a start has read is written once more: after a failed sync the system
    /// may show bytes that it will never write.
    RewriteLastFrame,
    /// What a start has read is durable before it is built upon.
    SyncRecovered,
    /// So is the name of the checkpoint, before the files that it replaces are removed.
    SyncRecoveredDirectory,
    /// A file of a damaged store gets a second name, in the directory of those that are kept.
    LinkKept,
    /// That is durable before the first names are removed.
    SyncKept,
    /// Bytes that are not read are given back. Nothing depends on it.
    FreeSpace,
}

#[cfg(test)]
impl Step {
    /// All of them.
    pub(crate) const ALL: [Self; 19] = [
        Self::SyncParent,
        Self::WriteSegmentHeader,
        Self::SyncSegmentHeader,
        Self::SyncDirectoryAfterSegment,
        Self::WriteFrame,
        Self::SyncFrame,
        Self::CutAfterFailure,
        Self::SyncCut,
        Self::WriteCheckpoint,
        Self::SyncCheckpoint,
        Self::RenameCheckpoint,
        Self::SyncDirectoryAfterRename,
        Self::RemoveReplaced,
        Self::RewriteLastFrame,
        Self::SyncRecovered,
        Self::SyncRecoveredDirectory,
        Self::LinkKept,
        Self::SyncKept,
        Self::FreeSpace,
    ];
}

/// The directory of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Directory<'a> {
    /// The one that the store's directory is in.
    Parent,
    /// The directory of the store.
    Own,
    /// One in it.
    Below(&'a str),
}

/// Held while the store is in use by this process; released when dropped.
pub(crate) type LockGuard = Box<dyn Debug + Send + Sync>;

/// The directory of a store.
pub(crate) trait Disk: Send + Sync + Debug {
    /// The path, for messages.
    fn path(&self) -> &Path;
    /// Creates the directory if it does not exist.
    fn create_directory(&self) -> io::Result<()>;
    /// Keeps other processes out.
    ///
    /// # Errors
    /// [`crate::Error::Locked`] while another one has the lock.
    fn lock(&self) -> Result<LockGuard>;
    /// A number that no client can guess.
    fn random(&self) -> io::Result<u64>;
    /// The names in the directory, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file to be read.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file to be changed.
    fn edit(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Creates a file, or empties the one of that name.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name. One that had it before is gone.
    fn rename(&self, from: &str, to: &str, step: Step) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str, step: Step) -> io::Result<()>;
    /// Creates a directory in this one.
    fn create_below(&self, name: &str) -> io::Result<()>;
    /// Gives a file a second name in a directory below, or copies it there if the file system has
    /// no second names.
    fn link(&self, name: &str, below: &str, step: Step) -> io::Result<()>;
    /// Makes created, renamed and removed names of a directory durable.
    fn sync_directory(&self, which: Directory<'_>, step: Step) -> io::Result<()>;
}

/// An open file.
pub(crate) trait DiskFile: Send + Sync + Debug {
    /// Its size in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads bytes at an offset. Fewer than asked for are no error, none is the end.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes bytes at an offset. Fewer than given are no error.
    fn write_at(&self, bytes: &[u8], at: u64, step: Step) -> io::Result<usize>;
    /// Allocates space from an offset to another one, and makes the file as large.
    fn allocate(&self, from: u64, to: u64) -> io::Result<()>;
    /// Cuts the file off, or fills it up with zeros.
    fn set_size(&self, size: u64, step: Step) -> io::Result<()>;
    /// Makes the bytes durable, and the size that is needed to read them (fdatasync). After an
    /// error they are in an unknown state for good: repeating it proves nothing.
    fn sync_data(&self, step: Step) -> io::Result<()>;
    /// The same with all that is known of the file (fsync).
    fn sync_all(&self, step: Step) -> io::Result<()>;
}

/// Writes all bytes at an offset.
pub(crate) fn write_all_at(
    file: &dyn DiskFile,
    mut bytes: &[u8],
    mut at: u64,
    step: Step,
) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, at, step) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                at += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Fills a buffer with the bytes at an offset.
pub(crate) fn read_exact_at(
    file: &dyn DiskFile,
    mut buffer: &mut [u8],
    mut at: u64,
) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = buffer.get_mut(read..).unwrap_or_default();
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
