//! A file under another name until it is whole and on the disk.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use pandaemon_runtime::files::{open_private, sync_parent};

/// A file that is being written. Dropped before its end, it is removed.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    replaces: bool,
    /// The name until the end, and the file.
    open: Option<(PathBuf, File)>,
}

impl Draft {
    /// Begins a file with mode 0600.
    ///
    /// # Errors
    /// If the file exists and may not be replaced, or cannot be written.
    pub(super) fn create(path: &Path, replaces: bool) -> anyhow::Result<Self> {
        let mut draft = Self {
            path: path.to_owned(),
            replaces,
            open: None,
        };
        draft.check()?;
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = path.with_file_name(name);
        let mut options = OpenOptions::new();
        let file = open_private(options.write(true).create_new(true), &temporary);
        let file = file.with_context(|| format!("create {}", temporary.display()))?;
        draft.open = Some((temporary, file));
        Ok(draft)
    }

    fn check(&self) -> anyhow::Result<()> {
        if !self.replaces && self.path.symlink_metadata().is_ok() {
            bail!(
                "{} exists; name another file, or replace it with --force",
                self.path.display()
            );
        }
        Ok(())
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// If they cannot be written.
    pub(super) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        match &mut self.open {
            Some((_, file)) => file.write_all(bytes),
            None => Ok(()),
        }
        .with_context(|| format!("write {}", self.path.display()))
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// If the disk refuses, or a file of that name was made meanwhile and may not be replaced.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.check()?;
        if let Some((temporary, file)) = &self.open {
            let shown = || format!("write {}", self.path.display());
            file.sync_all().with_context(shown)?;
            fs::rename(temporary, &self.path).with_context(shown)?;
            sync_parent(&self.path).with_context(shown)?;
        }
        self.open = None;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if let Some((temporary, _)) = self.open.take() {
            // What cannot be removed is no backup: it has another name.
            let _kept = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_gets_its_name_when_it_is_whole_and_replaces_none_unless_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("backup");
        let names = || pandaemon_runtime::files::children(folder.path());
        let write = |text: &str, replaces| {
            let mut draft = Draft::create(&path, replaces)?;
            draft.write(text.as_bytes())?;
            assert!(!names().contains(&path) || replaces);
            draft.finish()
        };
        let mut broken_off = Draft::create(&path, false).unwrap();
        broken_off.write(b"a").unwrap();
        assert_eq!(names().len(), 1);
        drop(broken_off);
        assert_eq!(names().len(), 0);
        write("one", false).unwrap();
        let error = write("two", false).unwrap_err().to_string();
        assert!(
            error.contains("exists") && error.contains("--force"),
            "{error}"
        );
        write("three", true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(names(), std::slice::from_ref(&path));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
        let raced = Draft::create(&path, false).unwrap();
        fs::write(&path, "of another").unwrap();
        assert!(raced.finish().is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "of another");
    }
}
