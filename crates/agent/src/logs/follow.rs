//! Reads a log while it is written and rotated.

use std::{
    fs::{self, File},
    io::{self, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::read::{next_line, open};

/// Reads the lines of a log, across rotations.
pub(crate) struct LogFollower {
    path: PathBuf,
    reader: BufReader<File>,
    /// The file that replaced the one being read. The old one is read to its end first.
    successor: Option<BufReader<File>>,
}

impl LogFollower {
    /// Starts at the last `tail` lines, or at the beginning.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(crate) fn new(path: &Path, tail: Option<u64>) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            reader: open(path, tail)?,
            successor: None,
        })
    }

    /// Reads the next complete line; false at the end of the file.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(crate) fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        if next_line(&mut self.reader, line)? {
            return Ok(true);
        }
        let Some(successor) = self.successor.take() else {
            return Ok(false);
        };
        self.reader = successor;
        next_line(&mut self.reader, line)
    }

    /// Whether the log was rotated. The runtime writes to the old file until it has created the new
    /// one, so the old file is complete then.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(crate) fn check_rotation(&mut self) -> io::Result<bool> {
        let Ok(current) = fs::metadata(&self.path) else {
            return Ok(false);
        };
        if current.ino() == self.reader.get_ref().metadata()?.ino() {
            return Ok(false);
        }
        self.successor = Some(open(&self.path, None)?);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::LogFollower;

    fn all(follow: &mut LogFollower) -> String {
        let (mut line, mut out) = (Vec::new(), Vec::new());
        while follow.next(&mut line).unwrap() {
            out.append(&mut line);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_line_is_lost_when_the_log_is_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut writer = fs::File::create(&path).unwrap();
        writer.write_all(b"one\n").unwrap();
        let mut follow = LogFollower::new(&path, None).unwrap();
        assert_eq!(all(&mut follow), "one\n");
        fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        assert!(!follow.check_rotation().unwrap());
        writer.write_all(b"two\n").unwrap();
        fs::write(&path, "three\n").unwrap();
        assert!(follow.check_rotation().unwrap());
        assert_eq!(all(&mut follow), "two\nthree\n");
        assert!(!follow.check_rotation().unwrap());
    }
}
