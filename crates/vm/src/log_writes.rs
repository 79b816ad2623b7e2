//! Replays what the kernel's target dm-log-writes has logged: every write to a block device in the
//! order in which flushes made it durable. A device can be brought to the state in which a power
//! cut at any moment could have left it.
//!
//! The format is in the kernel's `drivers/md/dm-log-writes.c`. All numbers are little endian. The
//! first sector has magic, version, number of entries and size of a sector. An entry is a sector
//! with the device's sector, the number of sectors, flags and the length of a mark, which follows
//! in the same sector; then the sectors that were written, except of discards.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use fastrand::Rng;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const FUA: u64 = 1 << 1;
const DISCARD: u64 = 1 << 2;
const MARK: u64 = 1 << 3;
/// The head of an entry: four numbers.
const HEAD: usize = 32;
/// What a disk writes as a whole.
const ATOM: u64 = 512;

/// A log, which stays in its file.
#[derive(Debug)]
pub struct Log {
    file: File,
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    flags: u64,
    /// Bytes of the device.
    at: u64,
    length: u64,
    /// Where its bytes are in the log.
    data: u64,
    mark: Option<String>,
}

impl Entry {
    /// Whether it, and all entries before it, are on the disk when it is in the log.
    fn is_durable(&self) -> bool {
        self.flags & (FLUSH | FUA) != 0
    }

    fn is(&self, flag: u64) -> bool {
        self.flags & flag != 0
    }
}

impl Log {
    /// Reads the log of a device that dm-log-writes has closed.
    ///
    /// # Errors
    /// When the file cannot be read or has another format.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        Self::read(file).with_context(|| format!("read the log {}", path.display()))
    }

    fn read(file: File) -> anyhow::Result<Self> {
        let mut head = [0; HEAD];
        file.read_exact_at(&mut head, 0)?;
        ensure!(number(&head, 0) == MAGIC, "it has no log of dm-log-writes");
        ensure!(number(&head, 1) == VERSION, "its version is not {VERSION}");
        let count = number(&head, 2);
        let sector = number(&head, 3) & u64::from(u32::MAX);
        ensure!(
            sector.is_power_of_two() && (512..=4096).contains(&sector),
            "sectors of {sector} bytes"
        );
        let mut entries = Vec::new();
        let mut at = sector;
        for index in 0..count {
            let entry = read_entry(&file, sector, at).with_context(|| format!("entry {index}"))?;
            at = entry.data + if entry.is(DISCARD) { 0 } else { entry.length };
            entries.push(entry);
        }
        Ok(Self { file, entries })
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The marks, each with the number of entries before it.
    pub fn marks(&self) -> impl Iterator<Item = (usize, &str)> {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(index, entry)| Some((index, entry.mark.as_deref()?)))
    }

    /// Where the log can be cut: the numbers of entries up to and including each flush and each
    /// write with FUA.
    #[must_use]
    pub fn durable_points(&self) -> Vec<usize> {
        let entries = self.entries.iter().enumerate();
        let durable = entries.filter(|(_, entry)| entry.is_durable());
        durable.map(|(index, _)| index + 1).collect()
    }

    /// Writes the entries of this range to a device.
    ///
    /// # Errors
    /// When the log cannot be read or the device not be written.
    pub fn replay(&self, range: std::ops::Range<usize>, device: &File) -> anyhow::Result<()> {
        for entry in &self.entries[range] {
            self.write(entry, 0..entry.length, device)?;
        }
        Ok(())
    }

    /// The number of writes after `point` that the next flush was to make durable.
    #[must_use]
    pub fn pending(&self, point: usize) -> usize {
        self.pending_entries(point).count()
    }

    fn pending_entries(&self, point: usize) -> impl Iterator<Item = &Entry> {
        let later = self.entries[point..].iter();
        later
            .take_while(|entry| !entry.is_durable())
            .filter(|entry| !entry.is(MARK))
    }

    /// Writes to a device that was replayed up to `point` what a disk may have written beyond it
    /// by chance: some of the [pending](Self::pending) writes, whole or in part, in any order.
    /// Returns how many.
    ///
    /// # Errors
    /// As [`Log::replay`].
    pub fn tear(&self, point: usize, device: &File, random: &mut Rng) -> anyhow::Result<usize> {
        let mut pending: Vec<&Entry> = self.pending_entries(point).collect();
        random.shuffle(&mut pending);
        let mut written = 0;
        for entry in pending {
            match random.u8(0..4) {
                0 => {}
                1 => {
                    for atom in (0..entry.length).step_by(usize::try_from(ATOM)?) {
                        if random.bool() {
                            self.write(entry, atom..entry.length.min(atom + ATOM), device)?;
                        }
                    }
                    written += 1;
                }
                _ => {
                    self.write(entry, 0..entry.length, device)?;
                    written += 1;
                }
            }
        }
        Ok(written)
    }

    /// Writes a part of an entry; what is discarded reads as zeros.
    fn write(
        &self,
        entry: &Entry,
        part: std::ops::Range<u64>,
        device: &File,
    ) -> anyhow::Result<()> {
        let mut buffer = vec![0; usize::try_from(part.end - part.start)?.min(1 << 20)];
        let mut at = part.start;
        while at < part.end {
            let length = usize::try_from(part.end - at)?.min(buffer.len());
            let bytes = &mut buffer[..length];
            if !entry.is(DISCARD) {
                self.file.read_exact_at(bytes, entry.data + at)?;
            }
            device.write_all_at(bytes, entry.at + at)?;
            at += length as u64;
        }
        Ok(())
    }
}

fn read_entry(file: &File, sector: u64, at: u64) -> anyhow::Result<Entry> {
    let mut head = vec![0; usize::try_from(sector)?];
    file.read_exact_at(&mut head, at)?;
    let flags = number(&head, 2);
    let mark = if flags & MARK == 0 {
        None
    } else {
        let length = usize::try_from(number(&head, 3))?;
        let text = head
            .get(HEAD..HEAD + length)
            .context("a mark is too long")?;
        Some(String::from_utf8_lossy(text).into_owned())
    };
    let bytes = |sectors: u64| sectors.checked_mul(sector).context("beyond any device");
    Ok(Entry {
        flags,
        at: bytes(number(&head, 0))?,
        length: bytes(number(&head, 1))?,
        data: at + sector,
        mark,
    })
}

/// A number of a head, by its place.
fn number(head: &[u8], place: usize) -> u64 {
    let bytes = head.iter().skip(8 * place).take(8).enumerate();
    bytes.fold(0, |sum, (index, byte)| {
        sum | u64::from(*byte) << (8 * index)
    })
}

/// A copy of a device whose holes stay holes.
///
/// # Errors
/// When `cp` fails.
pub fn copy_device(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = Command::new("cp")
        .args(["--sparse=always", "--reflink=auto"])
        .arg(from)
        .arg(to)
        .status();
    let status = status.context("run cp")?;
    ensure!(
        status.success(),
        "cp {} {}: {status}",
        from.display(),
        to.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log as the kernel writes it.
    struct Writer {
        bytes: Vec<u8>,
        count: u64,
    }

    impl Writer {
        fn new() -> Self {
            Self {
                bytes: vec![0; 512],
                count: 0,
            }
        }

        fn entry(mut self, flags: u64, sector: u64, sectors: u64, data: &[u8]) -> Self {
            let mut head: Vec<u8> = [sector, sectors, flags, 0]
                .into_iter()
                .flat_map(u64::to_le_bytes)
                .collect();
            if flags & MARK != 0 {
                head[24..32].copy_from_slice(&(data.len() as u64).to_le_bytes());
                head.extend(data);
            }
            head.resize(512, 0);
            self.bytes.extend(head);
            if flags & MARK == 0 {
                self.bytes.extend(data);
            }
            self.count += 1;
            self
        }

        fn write(self, flags: u64, sector: u64, values: &[u8]) -> Self {
            let data: Vec<u8> = values.iter().flat_map(|value| [*value; 512]).collect();
            self.entry(flags, sector, values.len() as u64, &data)
        }

        fn log(mut self) -> Log {
            let head = [MAGIC, VERSION, self.count, 512].map(u64::to_le_bytes);
            self.bytes[..HEAD].copy_from_slice(&head.concat());
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&self.bytes, 0).unwrap();
            Log::read(file).unwrap()
        }
    }

    fn device() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 * 512).unwrap();
        file
    }

    /// The first byte of each sector; the bytes of a sector must be equal.
    fn sectors(device: &File) -> Vec<u8> {
        let mut bytes = [0; 8 * 512];
        device.read_exact_at(&mut bytes, 0).unwrap();
        let sectors = bytes.chunks(512);
        sectors
            .map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]));
                sector[0]
            })
            .collect()
    }

    fn sample() -> Log {
        Writer::new()
            .write(0, 0, &[1, 1])
            .write(0, 4, &[2])
            .entry(FLUSH, 0, 0, &[])
            .entry(MARK, 0, 0, b"one")
            .write(FUA, 1, &[3])
            .write(0, 2, &[4, 5, 6])
            .entry(DISCARD, 4, 2, &[])
            .write(FLUSH | FUA, 7, &[7])
            .entry(MARK, 0, 0, b"two")
            .log()
    }

    #[test]
    fn replaying_writes_what_was_logged_up_to_each_flush() {
        let log = sample();
        assert_eq!(log.len(), 9);
        assert_eq!(log.durable_points(), [3, 5, 8]);
        assert_eq!(log.marks().collect::<Vec<_>>(), [(3, "one"), (8, "two")]);
        let device = device();
        log.replay(0..3, &device).unwrap();
        assert_eq!(sectors(&device), [1, 1, 0, 0, 2, 0, 0, 0]);
        log.replay(3..5, &device).unwrap();
        assert_eq!(sectors(&device), [1, 3, 0, 0, 2, 0, 0, 0]);
        log.replay(5..8, &device).unwrap();
        assert_eq!(sectors(&device), [1, 3, 4, 5, 0, 0, 0, 7]);
    }

    #[test]
    fn a_torn_device_has_some_of_the_writes_before_the_next_flush() {
        let log = sample();
        assert_eq!([0, 3, 5, 8].map(|point| log.pending(point)), [2, 0, 2, 0]);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let device = device();
            log.replay(0..5, &device).unwrap();
            let written = log.tear(5, &device, &mut Rng::with_seed(seed)).unwrap();
            assert!(written <= log.pending(5), "{written}");
            let state = sectors(&device);
            // What was durable stays, and what belongs to the next flush is not there.
            assert_eq!((state[0], state[1], state[7]), (1, 3, 0));
            assert!(state[2] == 0 || state[2] == 4, "{state:?}");
            assert!(state[3] == 0 || state[3] == 5, "{state:?}");
            seen.insert(state);
        }
        assert!(
            seen.contains(&vec![1, 3, 0, 0, 2, 0, 0, 0]),
            "nothing was written"
        );
        assert!(
            seen.contains(&vec![1, 3, 4, 0, 2, 0, 0, 0]),
            "a part of a write"
        );
        assert!(
            seen.contains(&vec![1, 3, 4, 5, 0, 0, 0, 0]),
            "everything was written"
        );
    }

    #[test]
    fn another_file_is_no_log() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let error = Log::read(file).unwrap_err();
        assert!(error.to_string().contains("no log"), "{error}");
    }
}
