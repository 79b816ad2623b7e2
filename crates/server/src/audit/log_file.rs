//! The file of the audit log, which is replaced when it is large. Old ones are deleted by number
//! and age. Upstream: `lumberjack`, with its names of old files.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use pandaemon_runtime::files::{open_private, private_dir};

/// The format of the time in the name of an old file.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S%.3f";

/// When a log is replaced, and how long it is kept then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Size in bytes from which a log is replaced.
    pub max_size: u64,
    /// How long an old log is kept; zero: for ever.
    pub max_age: SignedDuration,
    /// How many old logs are kept; zero: all.
    pub max_backups: usize,
}

/// A log that is replaced when it is large.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    limits: Limits,
    /// The open file and its size; `None` after it could not be replaced.
    file: Option<(fs::File, u64)>,
}

impl LogFile {
    /// Opens or creates the log, with mode 0600 in directories of mode 0700.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn open(path: &Path, limits: Limits) -> io::Result<Self> {
        let mut new = Self {
            path: path.to_owned(),
            limits,
            file: None,
        };
        new.reopen()?;
        new.delete_old(Timestamp::now())?;
        Ok(new)
    }

    /// Appends whole lines.
    ///
    /// # Errors
    /// If the file system refuses. The lines may then be there in part.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let added = lines.len() as u64;
        let is_full = |size: u64| size > 0 && size.saturating_add(added) > self.limits.max_size;
        match &self.file {
            None => self.reopen()?,
            Some((_, size)) if is_full(*size) => self.replace(Timestamp::now())?,
            Some(_) => {}
        }
        let Some((file, size)) = &mut self.file else {
            return Err(io::Error::other("the log is not open"));
        };
        *size = size.saturating_add(added);
        file.write_all(lines)
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            private_dir(parent)?;
        }
        let file = open_private(fs::OpenOptions::new().append(true).create(true), &self.path)?;
        let size = file.metadata()?.len();
        self.file = Some((file, size));
        Ok(())
    }

    fn replace(&mut self, now: Timestamp) -> io::Result<()> {
        self.file = None;
        let stamp = now.to_zoned(TimeZone::UTC).strftime(STAMP);
        let (stem, end) = self.name_parts();
        let old = self.path.with_file_name(format!("{stem}-{stamp}{end}"));
        fs::rename(&self.path, old)?;
        self.reopen()?;
        self.delete_old(now)
    }

    /// The name of the log before and from its last dot.
    fn name_parts(&self) -> (String, String) {
        let text =
            |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        let end = text(self.path.extension()).map(|end| format!(".{end}"));
        let stem = text(self.path.file_stem()).unwrap_or_default();
        (stem, end.unwrap_or_default())
    }

    fn delete_old(&self, now: Timestamp) -> io::Result<()> {
        let (stem, end) = self.name_parts();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut old = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stamp = name
                .strip_prefix(&stem)
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|rest| rest.strip_suffix(&end));
            let time = stamp
                .and_then(|stamp| DateTime::strptime(STAMP, stamp).ok())
                .and_then(|time| time.to_zoned(TimeZone::UTC).ok());
            if let Some(time) = time {
                old.push((time.timestamp(), entry.path()));
            }
        }
        old.sort_unstable_by(|a, b| b.cmp(a));
        let Limits {
            max_age,
            max_backups,
            ..
        } = self.limits;
        for (index, (time, path)) in old.iter().enumerate() {
            let is_surplus = max_backups > 0 && index >= max_backups;
            let is_expired = !max_age.is_zero() && now.duration_since(*time) > max_age;
            if is_surplus || is_expired {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_log_is_replaced_by_size_and_old_ones_go_by_number_and_age() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("audit");
        let path = folder.join("audit.log");
        let day = SignedDuration::from_hours(24);
        let limits = Limits {
            max_size: 10,
            max_age: day,
            max_backups: 2,
        };
        let mut log = LogFile::open(&path, limits).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&path)), (0o700, 0o600));
        log.append(b"12345\n").unwrap();
        log.append(b"123\n").unwrap();
        assert_eq!(names(&folder), ["audit.log"], "exactly full");
        log.append(b"larger than the limit\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"larger than the limit\n");
        let second = names(&folder);
        assert_eq!(second.len(), 2);
        assert_eq!(fs::read(folder.join(&second[0])).unwrap(), b"12345\n123\n");

        fs::write(folder.join("audit-notes.log"), "kept").unwrap();
        let now = Timestamp::now();
        let at = |hours: i64| {
            let time = (now - SignedDuration::from_hours(hours)).to_zoned(TimeZone::UTC);
            format!("audit-{}.log", time.strftime(STAMP))
        };
        for hours in [1, 2, 30] {
            fs::write(folder.join(at(hours)), "old").unwrap();
        }
        log.delete_old(now).unwrap();
        let expected = [
            at(1),
            second[0].clone(),
            "audit-notes.log".into(),
            "audit.log".into(),
        ];
        assert_eq!(names(&folder), expected, "two are kept");
        log.limits.max_backups = 0;
        fs::write(folder.join(at(30)), "old").unwrap();
        log.delete_old(now).unwrap();
        assert_eq!(names(&folder), expected, "the older than a day is deleted");
    }

    #[test]
    fn an_existing_log_is_continued() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let limits = Limits {
            max_size: 100,
            max_age: SignedDuration::ZERO,
            max_backups: 0,
        };
        LogFile::open(&path, limits)
            .unwrap()
            .append(b"a\n")
            .unwrap();
        LogFile::open(&path, limits)
            .unwrap()
            .append(b"b\n")
            .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a\nb\n");
    }
}
