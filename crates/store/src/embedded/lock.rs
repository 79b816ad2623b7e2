//! One process per data directory: an advisory lock, which the kernel releases when the process
//! ends.

use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
};

use pandaemon_runtime::files::open_private;

use crate::{Error, Result};

/// Holds the lock until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock and writes the process id into the file, for the error text of other
    /// processes.
    pub(super) fn take(directory: &Path) -> Result<Self> {
        let path = directory.join("lock");
        let failed = |error| Error::Storage(format!("lock {}: {error}", path.display()));
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = open_private(options, &path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Err(refusal(directory, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        // On a full disk the process id cannot be written. The store must open all the same.
        let note = file.set_len(0).and_then(|()| file.rewind());
        drop(note.and_then(|()| writeln!(file, "{}", std::process::id())));
        Ok(Self { _file: file })
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
