//! Recovery: reads the newest checkpoint, then the log segments after it.
//!
//! Only the last frame of the log can be torn, because the next frame is written after it is
//! durable. A torn frame was never acknowledged and is dropped. Any other mismatch is damage:
//! opening fails with an error that names the file.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use imbl::OrdMap;

use super::{
    TEMPORARY_NAME,
    frame::{HEADER, Header, Record, records},
    log::{checkpoint_name, segment_name},
};
use crate::{Entry, Error, Key, Result, Revision};

/// A segment counts as at least so many bytes, so that many restarts lead to a checkpoint as well.
const SEGMENT_MIN_BYTES: u64 = 4 << 20;

/// The recovered state.
#[derive(Debug, Default)]
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
}

/// Says of a key and a stored value whether the value has an outdated form.
pub(super) type IsOutdated<'a> = &'a dyn Fn(&str, &[u8]) -> bool;

/// Numbers of the checkpoint and segment files, in order.
#[derive(Debug, Default)]
struct Files {
    checkpoints: Vec<u64>,
    segments: Vec<u64>,
}

/// Reads the state from a directory and removes files that the newest checkpoint replaces.
pub(super) fn recover(directory: &Path, is_outdated: IsOutdated<'_>) -> Result<Recovered> {
    // The rest of a checkpoint that a crash cut off.
    let _absent = fs::remove_file(directory.join(TEMPORARY_NAME));
    let files = list(directory).map_err(|error| failed("read", directory, &error))?;
    let mut state = Recovered {
        segment: 1,
        ..Recovered::default()
    };
    if let Some(newest) = files.checkpoints.last() {
        state.read_checkpoint(&directory.join(checkpoint_name(*newest)), is_outdated)?;
        state.segment = *newest;
    }
    // The next compaction removes them, or else fails.
    state.has_outdated |= remove_replaced(directory, &files, state.segment).is_err();
    let first = state.segment;
    let segments: Vec<u64> = files
        .segments
        .into_iter()
        .filter(|number| *number >= first)
        .collect();
    for (index, number) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        let path = directory.join(segment_name(*number));
        state.read_segment(&path, last, is_outdated)?;
        state.segment = number + 1;
    }
    Ok(state)
}

/// Removes the files that checkpoint `keep` replaces. The next checkpoint or start retries
/// failures.
pub(super) fn remove_before(directory: &Path, keep: u64) -> io::Result<()> {
    remove_replaced(directory, &list(directory)?, keep)
}

fn remove_replaced(directory: &Path, files: &Files, keep: u64) -> io::Result<()> {
    let mut removed = Ok(());
    let segments = files
        .segments
        .iter()
        .filter(|n| **n < keep)
        .map(|n| segment_name(*n));
    let checkpoints = files
        .checkpoints
        .iter()
        .filter(|n| **n < keep)
        .map(|n| checkpoint_name(*n));
    for name in segments.chain(checkpoints) {
        if let Err(error) = fs::remove_file(directory.join(&name)) {
            tracing::warn!(file = name, %error, "cannot remove an old file of the store; the next start tries again");
            removed = Err(error);
        }
    }
    removed
}

fn list(directory: &Path) -> io::Result<Files> {
    let mut files = Files::default();
    for file in fs::read_dir(directory)? {
        let name = file?.file_name();
        let Some((kind, number)) = name.to_str().and_then(|name| name.split_once('-')) else {
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

fn failed(verb: &str, path: &Path, error: &io::Error) -> Error {
    Error::Storage(format!("{verb} {}: {error}", path.display()))
}

fn damaged(path: &Path, at: u64) -> Error {
    let path = path.display();
    Error::Storage(format!(
        "{path} is damaged at byte {at}: restore the directory from a backup"
    ))
}

impl Recovered {
    fn read_checkpoint(&mut self, path: &Path, is_outdated: IsOutdated<'_>) -> Result<()> {
        let mut reader = Reader::open(path)?;
        let mut ended = false;
        while let Some(frame) = reader.next()? {
            for record in records(&frame) {
                match record {
                    Ok(Record::End { entries, next }) => {
                        ended = entries == self.entries.len() as u64;
                        self.next = next;
                    }
                    Ok(record) => self.apply(record, is_outdated),
                    Err(()) => return Err(damaged(path, reader.at)),
                }
            }
        }
        self.checkpoint_bytes = reader.at;
        if ended {
            Ok(())
        } else {
            Err(damaged(path, reader.at))
        }
    }

    fn read_segment(&mut self, path: &Path, last: bool, is_outdated: IsOutdated<'_>) -> Result<()> {
        let mut reader = Reader::open(path)?;
        while let Some(frame) = reader.next()? {
            if reader.sequence != self.next {
                return Err(damaged(path, reader.at));
            }
            self.next += 1;
            for record in records(&frame) {
                let record = record.map_err(|()| damaged(path, reader.at))?;
                self.apply(record, is_outdated);
            }
        }
        self.log_bytes += reader.at.max(SEGMENT_MIN_BYTES);
        if reader.torn {
            reader.check_tail()?;
            if !last {
                return Err(damaged(path, reader.at));
            }
            let (path, at) = (path.display(), reader.at);
            tracing::info!(
                "{path}: dropped the unacknowledged write at byte {at} that a crash cut off"
            );
        }
        if last { reader.trim() } else { Ok(()) }
    }

    fn apply(&mut self, record: Record<'_>, is_outdated: IsOutdated<'_>) {
        match record {
            Record::Put {
                key,
                created,
                modified,
                value,
            } => {
                self.has_outdated = self.has_outdated || is_outdated(key, value);
                let key = self
                    .entries
                    .get(key)
                    .map_or_else(|| key.into(), |old| old.key.clone());
                let value = Bytes::copy_from_slice(value);
                let (create_revision, mod_revision) = (created, modified);
                let entry = Entry {
                    key: Key::clone(&key),
                    value,
                    create_revision,
                    mod_revision,
                };
                self.revision = self.revision.max(modified);
                self.entries.insert(key, entry);
            }
            Record::Delete { key } => {
                self.entries.remove(key);
            }
            Record::Reserve(revision) => self.revision = revision,
            Record::End { .. } => (),
        }
    }
}

/// Reads the frames of one file.
#[derive(Debug)]
struct Reader {
    path: PathBuf,
    file: BufReader<File>,
    size: u64,
    /// End of the last good frame, as an offset.
    at: u64,
    /// Sequence number of the last good frame.
    sequence: u64,
    /// The file ends in bytes that are no complete frame.
    torn: bool,
    /// Offset after the torn frame, if its length can be trusted.
    after: Option<u64>,
}

impl Reader {
    fn open(path: &Path) -> Result<Self> {
        let open = || -> io::Result<_> {
            let file = File::open(path)?;
            let size = file.metadata()?.len();
            Ok((BufReader::with_capacity(256 << 10, file), size))
        };
        let (file, size) = open().map_err(|error| failed("open", path, &error))?;
        let path = path.to_owned();
        Ok(Self {
            path,
            file,
            size,
            at: 0,
            sequence: 0,
            torn: false,
            after: None,
        })
    }

    /// The payload of the next frame; `None` at the end or at a torn frame.
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        self.read()
            .map_err(|error| failed("read", &self.path, &error))
    }

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let left = self.size - self.at;
        let mut header = [0; HEADER];
        if left < HEADER as u64 {
            self.torn = left > 0;
            return Ok(None);
        }
        self.file.read_exact(&mut header)?;
        let Some(parsed) = Header::parse(&header) else {
            self.torn = header != [0; HEADER];
            return Ok(None);
        };
        let end = self.at + (HEADER + parsed.length) as u64;
        if end > self.size {
            self.torn = true;
            return Ok(None);
        }
        let mut payload = vec![0; parsed.length];
        self.file.read_exact(&mut payload)?;
        if !parsed.fits(&payload) {
            (self.torn, self.after) = (true, Some(end));
            return Ok(None);
        }
        (self.at, self.sequence) = (end, parsed.sequence);
        Ok(Some(payload))
    }

    /// Truncates the file after the last good frame. Called before a later segment exists.
    fn trim(&self) -> Result<()> {
        if self.size == self.at {
            return Ok(());
        }
        let cut = || -> io::Result<()> {
            let file = File::options().write(true).open(&self.path)?;
            file.set_len(self.at)?;
            file.sync_all()
        };
        cut().map_err(|error| failed("trim", &self.path, &error))
    }

    /// Fails if a good frame follows the torn one: then the torn frame was durable once and is
    /// damaged.
    fn check_tail(&mut self) -> Result<()> {
        let Some(after) = self.after.take() else {
            return Ok(());
        };
        let torn_at = std::mem::replace(&mut self.at, after);
        let follows = self.next()?.is_some();
        self.at = torn_at;
        if follows {
            Err(damaged(&self.path, torn_at))
        } else {
            Ok(())
        }
    }
}
