//! Reads all files of the store in order, changes nothing, and finds out what is missing.
//!
//! A start, `pandaemon store check` and `pandaemon store repair` all read the files this way. A
//! start refuses what has damage.

use std::{io, path::PathBuf};

use bytes::Bytes;
use imbl::OrdMap;

use super::{
    damage::{Damage, Missing},
    file_header::{FILE_HEADER, Kind},
    files::{Files, checkpoint_name, segment_name},
    frame::{Record, records},
    reader::{Found, Next, Reader, Start},
};
use crate::{Entry, Error, Key, Result, Revision, disk::Disk};

/// Says of a key and a stored value whether the value has an outdated form.
pub(super) type IsOutdated<'a> = &'a dyn Fn(&str, &[u8]) -> bool;

/// What is in a file of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileReport {
    /// Its name in the directory of the store.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// The version of its format; 0 if nothing was written into it.
    pub format: u32,
    /// Number of whole frames.
    pub frames: u64,
    /// The first and the last sequence number of its frames.
    pub sequences: Option<(u64, u64)>,
    /// The lowest and the highest revision of its values.
    pub revisions: Option<(Revision, Revision)>,
    /// Number of values.
    pub values: u64,
    /// Where bytes begin that a crash cut off, or that are a damaged last frame.
    pub torn: Option<u64>,
    /// A newer checkpoint replaces it, so it was not read.
    pub is_replaced: bool,
}

/// A frame, by its place.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) at: u64,
    pub(super) end: u64,
}

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Walk {
    pub(super) entries: OrdMap<Key, Entry>,
    /// Revisions up to this one must not be assigned again.
    pub(super) revision: Revision,
    /// Sequence number of the next frame.
    pub(super) next: u64,
    /// Number of the next segment.
    pub(super) segment: u64,
    /// The checkpoint that replaces all files before this number; 0 for none.
    pub(super) checkpoint: u64,
    /// Size of the checkpoint, in bytes.
    pub(super) checkpoint_bytes: u64,
    /// Bytes of each segment since the checkpoint, without what was allocated ahead.
    pub(super) log_bytes: Vec<u64>,
    /// A file has an outdated value.
    pub(super) has_outdated: bool,
    /// A file is of an earlier format.
    pub(super) has_old_format: bool,
    pub(super) listed: Files,
    pub(super) files: Vec<FileReport>,
    pub(super) damage: Vec<Damage>,
    /// The last frame of the log.
    pub(super) last: Option<Place>,
    /// Bytes after it that are no frame: its end, and the size of the file.
    pub(super) torn: Option<Place>,
    /// Frames that were read after damage, and their keys.
    pub(super) kept_frames: u64,
    pub(super) kept_keys: Vec<Key>,
    /// A file of the format of today came before.
    saw_new_format: bool,
}

/// The walk, with what it needs on its way.
struct Walker<'a> {
    disk: &'a dyn Disk,
    is_outdated: IsOutdated<'a>,
    walk: Walk,
}

/// Reads all files.
///
/// # Errors
/// If a file cannot be read at all, or is of an unknown format. Damage is no error.
pub(super) fn walk(disk: &dyn Disk, is_outdated: IsOutdated<'_>) -> Result<Walk> {
    let listed = Files::list(disk).map_err(|error| failed("read", disk.path().into(), &error))?;
    let checkpoint = listed.checkpoints.last().copied();
    let mut walker = Walker {
        disk,
        is_outdated,
        walk: Walk {
            segment: 1,
            checkpoint: checkpoint.unwrap_or_default(),
            ..Walk::default()
        },
    };
    if let Some(number) = checkpoint {
        walker.checkpoint(number)?;
        walker.walk.segment = number;
        // It is made, and durable, before its checkpoint.
        if !listed.segments.contains(&number) {
            walker.damaged(&segment_name(number), 0, 0, Missing::File);
        }
    }
    let first = walker.walk.checkpoint;
    for number in listed.segments.iter().copied() {
        if number >= first {
            walker.segment(number)?;
            walker.walk.segment = number + 1;
        }
    }
    let mut walk = walker.walk;
    walk.list_replaced(disk, &listed)?;
    walk.listed = listed;
    Ok(walk)
}

pub(super) fn failed(verb: &str, path: PathBuf, error: &io::Error) -> Error {
    Error::Storage(format!("{verb} {}: {error}", path.display()))
}

impl Walk {
    fn list_replaced(&mut self, disk: &dyn Disk, listed: &Files) -> Result<()> {
        for name in listed.names() {
            if self.files.iter().all(|file| file.name != name) {
                let read = |error| failed("read", disk.path().join(&name), &error);
                let size = disk.open(&name).and_then(|file| file.size());
                self.files.push(FileReport {
                    size: size.map_err(read)?,
                    name,
                    is_replaced: true,
                    ..FileReport::default()
                });
            }
        }
        Ok(())
    }

    fn apply(&mut self, record: Record<'_>, report: &mut FileReport, is_outdated: IsOutdated<'_>) {
        match record {
            Record::Put {
                key,
                created,
                modified,
                value,
            } => {
                self.has_outdated = self.has_outdated || is_outdated(key, value);
                let known = self.entries.get(key);
                let key = known.map_or_else(|| key.into(), |old| old.key.clone());
                let entry = Entry {
                    key: Key::clone(&key),
                    value: Bytes::copy_from_slice(value),
                    create_revision: created,
                    mod_revision: modified,
                };
                self.revision = self.revision.max(modified);
                self.keep(&key);
                self.entries.insert(key, entry);
                report.values += 1;
                let (low, high) = report.revisions.unwrap_or((modified, modified));
                report.revisions = Some((low.min(modified), high.max(modified)));
            }
            Record::Delete { key } => {
                self.keep(&key.into());
                self.entries.remove(key);
            }
            // After damage the last one that can be read need not be the last one.
            Record::Reserve(revision) if self.damage.is_empty() => self.revision = revision,
            Record::Reserve(revision) => self.revision = self.revision.max(revision),
            Record::End { .. } | Record::File { .. } => (),
        }
    }

    fn keep(&mut self, key: &Key) {
        if !self.damage.is_empty() {
            self.kept_keys.push(Key::clone(key));
        }
    }
}

impl Walker<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    fn damaged(&mut self, name: &str, at: u64, bytes: u64, missing: Missing) {
        self.walk.damage.push(Damage {
            file: self.path(name),
            at,
            bytes,
            missing,
        });
    }

    fn read<T>(&self, name: &str, read: io::Result<T>) -> Result<T> {
        read.map_err(|error| failed("read", self.path(name), &error))
    }

    fn open(&self, name: &str) -> Result<(Reader, FileReport)> {
        let reader = self.read(name, Reader::open(self.disk, name))?;
        let report = FileReport {
            size: reader.size,
            name: name.to_owned(),
            ..FileReport::default()
        };
        Ok((reader, report))
    }

    /// Reads how a file begins; `None` if there is nothing to read in it.
    fn start(
        &mut self,
        reader: &mut Reader,
        report: &mut FileReport,
        kind: Kind,
        number: u64,
    ) -> Result<Option<Start>> {
        let name = report.name.clone();
        let (expected, may_be_old) = match kind {
            Kind::Checkpoint | Kind::Backup => (0, true),
            Kind::Segment => (self.walk.next, !self.walk.saw_new_format),
        };
        let start = reader.start(kind, expected, may_be_old);
        let start = self.read(&name, start)?;
        match start {
            Start::Version(version) => {
                let path = self.path(&name).display().to_string();
                return Err(Error::Version { path, version });
            }
            Start::Empty => return Ok(None),
            Start::One => {
                report.format = 1;
                self.walk.has_old_format = true;
            }
            Start::Two(header) => {
                report.format = 2;
                self.walk.saw_new_format = true;
                if header.place != number {
                    self.damaged(&name, 0, 0, Missing::Name(header.place));
                }
            }
            Start::Headless(_) => report.format = 2,
        }
        Ok(Some(start))
    }

    fn checkpoint(&mut self, number: u64) -> Result<()> {
        let name = checkpoint_name(number);
        let (mut reader, mut report) = self.open(&name)?;
        let start = self.start(&mut reader, &mut report, Kind::Checkpoint, number)?;
        let mut ended = false;
        let before = self.walk.damage.len();
        match start {
            None => {}
            Some(Start::Headless(found)) => {
                self.damaged(&name, 0, FILE_HEADER as u64, Missing::Header);
                if found.is_some() {
                    self.checkpoint_frames(&mut reader, &mut report)?;
                }
            }
            Some(_) => ended = self.checkpoint_frames(&mut reader, &mut report)?,
        }
        let rest = reader.rest();
        if !ended && self.walk.damage.len() == before || ended && !rest.is_empty() {
            let missing = rest.end - rest.start;
            self.damaged(&name, rest.start, missing, Missing::Entries);
        }
        if let Some(Start::Two(header)) = start {
            self.walk.next = header.first;
        }
        self.walk.checkpoint_bytes = reader.at;
        self.walk.files.push(report);
        Ok(())
    }

    /// Whether the checkpoint is whole.
    fn checkpoint_frames(&mut self, reader: &mut Reader, report: &mut FileReport) -> Result<bool> {
        let (mut expected, mut ended) = (0, false);
        loop {
            let next = reader.next(expected);
            match self.read(&report.name, next)? {
                Next::Frame(frame) => {
                    expected = frame.sequence + 1;
                    if let Some((entries, next)) = self.frame(reader, &frame, report)? {
                        ended = entries == self.walk.entries.len() as u64;
                        self.walk.next = next;
                    }
                }
                Next::Damaged { resumes, sequence } => {
                    let bytes = resumes - reader.at;
                    let name = report.name.clone();
                    self.damaged(&name, reader.at, bytes, Missing::Entries);
                    expected = sequence;
                    reader.resume(resumes);
                }
                Next::End | Next::Torn => return Ok(ended),
            }
        }
    }

    fn segment(&mut self, number: u64) -> Result<()> {
        let name = segment_name(number);
        let (mut reader, mut report) = self.open(&name)?;
        let start = self.start(&mut reader, &mut report, Kind::Segment, number)?;
        match start {
            None => {}
            Some(Start::Headless(found)) => {
                self.damaged(&name, 0, FILE_HEADER as u64, Missing::Header);
                if found.is_some() {
                    self.frames(&mut reader, &mut report, None)?;
                }
            }
            Some(Start::Two(header)) => {
                self.frames(&mut reader, &mut report, Some(header.first))?;
            }
            Some(_) => {
                let next = self.walk.next;
                self.frames(&mut reader, &mut report, Some(next))?;
            }
        }
        self.walk.log_bytes.push(reader.at);
        self.walk.files.push(report);
        Ok(())
    }

    /// Reads the frames of a segment, the first of which has the sequence number `first`.
    fn frames(
        &mut self,
        reader: &mut Reader,
        report: &mut FileReport,
        first: Option<u64>,
    ) -> Result<()> {
        let name = report.name.clone();
        let mut expected = first.unwrap_or(self.walk.next);
        if expected > self.walk.next {
            self.lacks(&name, expected);
        }
        loop {
            let next = reader.next(expected);
            match self.read(&name, next)? {
                Next::Frame(frame) => {
                    if frame.sequence < self.walk.next && Some(frame.sequence) == first {
                        // A segment that was made and not used has a lower one, but no frame.
                        self.damaged(&name, frame.at, 0, Missing::Repeated(frame.sequence));
                    }
                    self.frame(reader, &frame, report)?;
                    expected = frame.sequence + 1;
                    self.walk.next = self.walk.next.max(expected);
                    self.walk.torn = None;
                    self.walk.last = Some(Place {
                        name: name.clone(),
                        at: frame.at,
                        end: frame.end,
                    });
                }
                Next::Damaged { resumes, sequence } => {
                    let bytes = resumes - reader.at;
                    let missing =
                        Missing::Frames(expected, sequence.saturating_sub(1).max(expected));
                    self.damaged(&name, reader.at, bytes, missing);
                    expected = sequence;
                    reader.resume(resumes);
                }
                Next::End => return Ok(()),
                Next::Torn => {
                    report.torn = Some(reader.at);
                    self.walk.torn = Some(Place {
                        name,
                        at: reader.at,
                        end: reader.size,
                    });
                    return Ok(());
                }
            }
        }
    }

    /// The segment `name` shows that there were frames up to `first`, which are not there.
    fn lacks(&mut self, name: &str, first: u64) {
        let missing = Missing::Frames(self.walk.next, first - 1);
        match (self.walk.torn.take(), &self.walk.last) {
            (Some(torn), _) => self.damaged(&torn.name, torn.at, torn.end - torn.at, missing),
            (None, Some(last)) => {
                let (name, end) = (last.name.clone(), last.end);
                self.damaged(&name, end, 0, missing);
            }
            (None, None) => self.damaged(name, 0, 0, missing),
        }
        self.walk.next = first;
    }

    /// Applies the records of a frame. Returns what the end of a checkpoint says.
    fn frame(
        &mut self,
        reader: &mut Reader,
        frame: &Found,
        report: &mut FileReport,
    ) -> Result<Option<(u64, u64)>> {
        report.frames += 1;
        let (low, _) = report.sequences.unwrap_or((frame.sequence, 0));
        report.sequences = Some((low, frame.sequence));
        self.walk.kept_frames += u64::from(!self.walk.damage.is_empty());
        let payload = reader.payload(frame);
        let payload = payload.map_err(|error| failed("read", self.path(&report.name), &error))?;
        let mut end = None;
        for record in records(payload) {
            match record {
                Ok(Record::End { entries, next }) => end = Some((entries, next)),
                // A file is in backups only.
                Ok(Record::File { .. }) | Err(()) => {
                    let name = report.name.clone();
                    let bytes = frame.end - frame.at;
                    self.damaged(&name, frame.at, bytes, Missing::Record(frame.sequence));
                    break;
                }
                Ok(record) => self.walk.apply(record, report, self.is_outdated),
            }
        }
        Ok(end)
    }
}
