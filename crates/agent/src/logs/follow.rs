//! A log read while it is written, also when it is put aside and begun anew meanwhile.

use std::{
    fs::{self, File},
    io::{self, BufReader},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::read::{next_line, open};

/// The place in a log up to which it was read.
pub(crate) struct Follow {
    path: PathBuf,
    reader: BufReader<File>,
    /// The file that took the place of the one being read, which is read to its end first.
    successor: Option<BufReader<File>>,
}

impl Follow {
    /// Begins where the last `tail` lines begin.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) fn new(path: &Path, tail: Option<u64>) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            reader: open(path, tail)?,
            successor: None,
        })
    }

    /// Reads the next whole line; false at the end of what is written so far.
    ///
    /// # Errors
    /// When the disk says no.
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

    /// Looks whether another file has taken the log's place. The runtime writes to the old one
    /// until it has made the new one, so the old one is complete from now on.
    ///
    /// # Errors
    /// When the disk says no.
    pub(crate) fn look(&mut self) -> io::Result<bool> {
        let Ok(there) = fs::metadata(&self.path) else {
            return Ok(false);
        };
        if there.ino() == self.reader.get_ref().metadata()?.ino() {
            return Ok(false);
        }
        self.successor = Some(open(&self.path, None)?);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write as _};

    use super::Follow;

    fn all(follow: &mut Follow) -> String {
        let (mut line, mut out) = (Vec::new(), Vec::new());
        while follow.next(&mut line).unwrap() {
            out.append(&mut line);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_is_lost_when_the_log_is_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut writer = fs::File::create(&path).unwrap();
        writer.write_all(b"one\n").unwrap();
        let mut follow = Follow::new(&path, None).unwrap();
        assert_eq!(all(&mut follow), "one\n");
        fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        assert!(!follow.look().unwrap());
        writer.write_all(b"two\n").unwrap();
        fs::write(&path, "three\n").unwrap();
        assert!(follow.look().unwrap());
        assert_eq!(all(&mut follow), "two\nthree\n");
        assert!(!follow.look().unwrap());
    }
}
