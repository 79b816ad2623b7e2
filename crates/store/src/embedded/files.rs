//! The names of the store's files.

use std::io;

use crate::disk::{Disk, Step};

/// Name of a checkpoint while it is being written.
pub(super) const TEMPORARY_NAME: &str = "checkpoint.tmp";

/// File name of segment `number`. The names sort by number.
pub(super) fn segment_name(number: u64) -> String {
    format!("log-{number:012}")
}

/// File name of the checkpoint that replaces all segments before `number`.
pub(super) fn checkpoint_name(number: u64) -> String {
    format!("checkpoint-{number:012}")
}

/// Numbers of the checkpoint and segment files, in order.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) checkpoints: Vec<u64>,
    pub(super) segments: Vec<u64>,
    /// The rest of a checkpoint that a crash cut off.
    pub(super) has_temporary: bool,
}

impl Files {
    /// Lists the files of a directory.
    pub(super) fn list(disk: &dyn Disk) -> io::Result<Self> {
        let mut files = Self::default();
        for name in disk.list()? {
            files.has_temporary |= name == TEMPORARY_NAME;
            let Some((kind, number)) = name.split_once('-') else {
                continue;
            };
            match (kind, number.parse()) {
                ("log", Ok(number)) => files.segments.push(number),
                ("checkpoint", Ok(number)) => files.checkpoints.push(number),
                _ => (),
            }
        }
        files.segments.sort_unstable();
        files.checkpoints.sort_unstable();
        Ok(files)
    }

    /// The names of all of them.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let checkpoints = self.checkpoints.iter().map(|n| checkpoint_name(*n));
        checkpoints.chain(self.segments.iter().map(|n| segment_name(*n)))
    }

    /// Removes the files that checkpoint `keep` replaces. The next checkpoint or start retries
    /// failures.
    pub(super) fn remove_replaced(&self, disk: &dyn Disk, keep: u64) -> io::Result<()> {
        let before = |numbers: &[u64]| -> Vec<u64> {
            let numbers = numbers.iter().copied();
            numbers.filter(|number| *number < keep).collect()
        };
        let replaced = Self {
            checkpoints: before(&self.checkpoints),
            segments: before(&self.segments),
            has_temporary: false,
        };
        let mut removed = Ok(());
        for name in replaced.names() {
            if let Err(error) = disk.remove(&name, Step::RemoveReplaced) {
                tracing::warn!(file = name, %error, "cannot remove an old file of the store; the next start tries again");
                removed = Err(error);
            }
        }
        removed
    }
}
