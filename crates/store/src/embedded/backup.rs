//! Backups: a file with the state at one revision, and with files that belong to it.
//!
//! A backup is encoded as a checkpoint is. Before the state it has records of files, the first of
//! which is [`MANIFEST`]. A reader takes the bytes as they come, from a connection or from a disk,
//! and refuses everything but a whole backup: nothing is searched for behind bad bytes, as a repair
//! does.

use std::{
    collections::{BTreeMap, BTreeSet},
    io, mem,
};

use bytes::Bytes;
use imbl::OrdMap;

use super::{
    file_header::{FILE_HEADER, FileHeader, Kind, Parsed},
    frame::{Frame, HEADER, Header, Record, records},
    state_frames::{Durable, StateFrames},
};
use crate::{
    Entry, Key, Revision,
    encryption::{KeyId, key_id},
    prefix_of,
    random::random,
};

/// The name of the file that says what a backup is.
pub const MANIFEST: &str = "manifest.json";
/// A frame of a backup is not longer: a frame has at most a transaction more than its target size.
/// Bounds what a reader allocates for bytes that are no backup.
const MAX_FRAME: usize = 16 << 20;

/// The durable entries of a store at one revision. Values are as they are stored: encrypted.
#[derive(Debug)]
pub struct StateSnapshot(Durable);

impl StateSnapshot {
    pub(super) fn new(state: Durable) -> Self {
        Self(state)
    }

    /// The stored value of a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&[u8]> {
        self.0.entries.get(key).map(|entry| &*entry.value)
    }

    /// The latest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.0.reserved
    }
}

/// The bytes of a backup, made as they are asked for: a part is in memory, and the entries are
/// shared with the store.
#[derive(Debug)]
pub struct BackupStream {
    header: Option<[u8; FILE_HEADER]>,
    frames: StateFrames,
}

impl BackupStream {
    /// A backup of this state and these files, by name and content. The first one is the
    /// [`MANIFEST`].
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(state: StateSnapshot, files: &[(String, Vec<u8>)]) -> io::Result<Self> {
        let header = FileHeader {
            kind: Kind::Backup,
            file: u64::from_le_bytes(random()?),
            place: 0,
            first: 0,
        };
        let mut first = Frame::new();
        for (name, content) in files {
            first.push(Record::File { name, content });
        }
        Ok(Self {
            header: Some(header.encode()),
            frames: StateFrames::new(header, state.0, first),
        })
    }

    /// The next part; `None` after the last one.
    ///
    /// # Errors
    /// If a part is too long for the format.
    pub fn next_part(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(header) = self.header.take() {
            return Ok(Some(Bytes::copy_from_slice(&header)));
        }
        let frame = self.frames.next()?;
        Ok(frame.map(Bytes::copy_from_slice))
    }
}

/// Why bytes are no whole backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The first bytes are of something else.
    #[error("it is no backup of pandaemon")]
    NotABackup,
    /// A later version wrote it.
    #[error(
        "the backup has the format {0}, and this version of pandaemon knows the format 2: use the version that \
         wrote it"
    )]
    Version(u32),
    /// It ends before its end mark.
    #[error(
        "the backup is cut off at byte {at}: it has no end mark. Nothing of it is used; take another backup, or get \
         the whole file"
    )]
    CutOff {
        /// How many bytes it has.
        at: u64,
    },
    /// It was changed since it was written.
    #[error(
        "the backup is damaged at byte {at}: {what}. Nothing of it is used; take another backup, or get the file \
         from another copy"
    )]
    Damaged {
        /// Where the bytes begin that cannot be read.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
}

/// What is in a backup.
#[derive(Debug, Default)]
pub struct Contents {
    /// The files, the [`MANIFEST`] included, by name.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The revision of the state.
    pub revision: Revision,
    /// Number of entries, by what their keys begin with, such as `/apps/daemonsets/`.
    pub counts: BTreeMap<String, u64>,
    /// The encryption keys that values need.
    pub keys: BTreeSet<KeyId>,
    /// Size of the backup, in bytes.
    pub bytes: u64,
    /// The entries, of a reader that keeps them.
    pub(super) entries: OrdMap<Key, Entry>,
}

impl Contents {
    /// Number of entries.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    fn count_entry(&mut self, key: &str, value: &[u8]) {
        let prefix = prefix_of(key);
        match self.counts.get_mut(prefix) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(prefix.to_owned(), 1)),
        }
        self.keys.extend(key_id(value));
    }
}

/// Reads a backup, from bytes as they come.
#[derive(Debug)]
pub struct BackupReader {
    keeps_entries: bool,
    contents: Contents,
    /// Bytes that are not read yet, and where they begin.
    buffer: Vec<u8>,
    at: u64,
    /// The number of the file, once its header was read.
    file: Option<u64>,
    /// Number of frames so far.
    frames: u64,
    last: Option<Key>,
    has_ended: bool,
}

impl BackupReader {
    /// A reader that checks a backup, and forgets its entries.
    #[must_use]
    pub fn checking() -> Self {
        Self::new(false)
    }

    /// A reader that keeps the entries in memory, for a restore.
    #[must_use]
    pub fn keeping() -> Self {
        Self::new(true)
    }

    fn new(keeps_entries: bool) -> Self {
        Self {
            keeps_entries,
            contents: Contents::default(),
            buffer: Vec::new(),
            at: 0,
            file: None,
            frames: 0,
            last: None,
            has_ended: false,
        }
    }

    /// Number of entries so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.contents.count()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// If they do not belong to a whole backup.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.buffer.extend_from_slice(bytes);
        let buffer = mem::take(&mut self.buffer);
        let mut rest = buffer.as_slice();
        while let Some(left) = self.step(rest)? {
            self.at += (rest.len() - left.len()) as u64;
            rest = left;
        }
        let read = buffer.len() - rest.len();
        self.buffer = buffer;
        self.buffer.drain(..read);
        Ok(())
    }

    /// The contents, after the last bytes.
    ///
    /// # Errors
    /// If the backup has no end.
    pub fn finish(mut self) -> Result<Contents, BackupError> {
        let at = self.at + self.buffer.len() as u64;
        if self.file.is_none() && FileHeader::parse(&self.buffer, Kind::Backup) == Parsed::None {
            return Err(BackupError::NotABackup);
        }
        if !self.has_ended {
            return Err(BackupError::CutOff { at });
        }
        self.contents.bytes = at;
        Ok(self.contents)
    }

    /// Reads the header of the file, or a frame. Returns what comes after it; `None` if it is not
    /// whole yet.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<&'a [u8]>, BackupError> {
        let Some(file) = self.file else {
            if bytes.len() < FILE_HEADER {
                return Ok(None);
            }
            return match FileHeader::parse(bytes, Kind::Backup) {
                Parsed::Header(header) => {
                    self.file = Some(header.file);
                    Ok(bytes.get(FILE_HEADER..))
                }
                Parsed::Version(version) => Err(BackupError::Version(version)),
                Parsed::None => Err(BackupError::NotABackup),
            };
        };
        if self.has_ended && !bytes.is_empty() {
            return Err(self.damaged("bytes follow its end mark"));
        }
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let header = Header::parse(header);
        let header = header.filter(|header| header.file == file && header.sequence == self.frames);
        let header = header.ok_or_else(|| self.damaged("the head of a frame cannot be read"))?;
        if header.length > MAX_FRAME {
            return Err(self.damaged("a frame is too long"));
        }
        let Some((payload, rest)) = bytes[HEADER..].split_at_checked(header.length) else {
            return Ok(None);
        };
        if !header.fits(payload) {
            return Err(self.damaged("the checksum of a frame is wrong"));
        }
        for record in records(payload) {
            let record = record.map_err(|()| self.damaged("a frame has no records"))?;
            self.record(record).map_err(|what| self.damaged(what))?;
        }
        self.frames += 1;
        Ok(Some(rest))
    }

    fn damaged(&self, what: &'static str) -> BackupError {
        BackupError::Damaged { at: self.at, what }
    }

    fn record(&mut self, record: Record<'_>) -> Result<(), &'static str> {
        if self.has_ended {
            return Err("records follow its end mark");
        }
        match record {
            Record::File { name, content } => {
                if self.contents.files.is_empty() && name != MANIFEST {
                    return Err("it does not begin with its manifest");
                }
                let content = content.to_vec();
                self.contents.files.insert(name.to_owned(), content);
            }
            Record::Reserve(_) if self.contents.files.is_empty() => {
                return Err("it does not begin with its manifest");
            }
            Record::Reserve(revision) => self.contents.revision = revision,
            Record::Put {
                key,
                created,
                modified,
                value,
            } => {
                if self.last.as_ref().is_some_and(|last| &**last >= key) {
                    return Err("its keys are not in order");
                }
                if created > modified || modified > self.contents.revision {
                    return Err("a revision is later than the one of the backup");
                }
                self.contents.count_entry(key, value);
                let key = Key::from(key);
                self.last = Some(Key::clone(&key));
                if self.keeps_entries {
                    let entry = Entry {
                        key: Key::clone(&key),
                        value: Bytes::copy_from_slice(value),
                        create_revision: created,
                        mod_revision: modified,
                    };
                    self.contents.entries.insert(key, entry);
                }
            }
            Record::End { entries, .. } if entries == self.contents.count() => {
                self.has_ended = true;
            }
            Record::End { .. } => return Err("its number of entries is another one"),
            Record::Delete { .. } => return Err("it has a deletion"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
