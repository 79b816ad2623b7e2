//! The directory of a store on the file system of this machine.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};
use pandaemon_runtime::files::{open_private, private_dir, sync_directory, sync_parent};

use super::{Directory, Disk, DiskFile, LockGuard, Step};
use crate::{Error, Result, random::random};

/// The file whose lock keeps other processes out.
const LOCK: &str = "lock";

/// A directory of the file system, by its path.
#[derive(Debug)]
pub(crate) struct Local(PathBuf);

impl Local {
    /// The directory of this path, which may not exist yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Disk for Local {
    fn path(&self) -> &Path {
        &self.0
    }

    fn create_directory(&self) -> io::Result<()> {
        private_dir(&self.0)
    }

    /// An advisory lock, which the kernel releases when the process ends. The process id is
    /// written into the file, for the error text of other processes.
    fn lock(&self) -> Result<LockGuard> {
        let path = self.file(LOCK);
        let failed = |error| Error::Storage(format!("lock {}: {error}", path.display()));
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = open_private(options, &path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(refusal(&self.0, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // On a full disk the process id cannot be written. The store must open all the same.
        let note = file.set_len(0).and_then(|()| file.rewind());
        drop(note.and_then(|()| writeln!(file, "{}", std::process::id())));
        Ok(Box::new(file))
    }

    fn random(&self) -> io::Result<u64> {
        random().map(u64::from_le_bytes)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for file in fs::read_dir(&self.0)? {
            // A name that is no text is none of ours.
            names.extend(file?.file_name().into_string());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(LocalFile(File::open(self.file(name))?)))
    }

    fn edit(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = File::options();
        let file = options.read(true).write(true).open(self.file(name))?;
        Ok(Box::new(LocalFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(true);
        Ok(Box::new(LocalFile(open_private(
            options,
            &self.file(name),
        )?)))
    }

    fn rename(&self, from: &str, to: &str, _: Step) -> io::Result<()> {
        fs::rename(self.file(from), self.file(to))
    }

    fn remove(&self, name: &str, _: Step) -> io::Result<()> {
        fs::remove_file(self.file(name))
    }

    fn create_below(&self, name: &str) -> io::Result<()> {
        private_dir(&self.file(name))
    }

    fn link(&self, name: &str, below: &str, _: Step) -> io::Result<()> {
        let (from, to) = (self.file(name), self.file(below).join(name));
        if fs::hard_link(&from, &to).is_ok() {
            return Ok(());
        }
        let mut source = File::open(from)?;
        let mut options = File::options();
        let mut copy = open_private(options.write(true).create_new(true), &to)?;
        io::copy(&mut source, &mut copy)?;
        copy.sync_all()
    }

    fn sync_directory(&self, which: Directory<'_>, _: Step) -> io::Result<()> {
        match which {
            Directory::Own => sync_directory(&self.0),
            Directory::Below(name) => sync_directory(&self.file(name)),
            Directory::Parent => match sync_parent(&self.0) {
                // Another user has made the directory: in one that we may not read.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                synced => synced,
            },
        }
    }
}

fn refusal(directory: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let owner = match file
        .read_to_string(&mut text)
        .map(|_| text.trim().parse::<u32>())
    {
        Ok(Ok(pid)) => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    Error::Locked(format!(
        "data directory {} is in use by {owner}",
        directory.display()
    ))
}

/// An open file.
#[derive(Debug)]
struct LocalFile(File);

impl DiskFile for LocalFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64, _: Step) -> io::Result<usize> {
        self.0.write_at(bytes, at)
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        let too_large = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let (from, to) = (i64::try_from(from), i64::try_from(to));
        let (from, to) = (from.map_err(too_large)?, to.map_err(too_large)?);
        match fallocate(&self.0, FallocateFlags::empty(), from, to - from) {
            // The file system cannot allocate ahead. A full disk then fails the write instead.
            Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_size(&self, size: u64, _: Step) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync_data(&self, _: Step) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self, _: Step) -> io::Result<()> {
        self.0.sync_all()
    }
}
