//! The entry points of the fuzz targets `log_frames` and `backup` in `fuzz/`: the readers of log
//! files and of backups, on any bytes and on files that were damaged.

use std::io;

use super::{
    backup::{BackupReader, MANIFEST},
    file_header::{FileHeader, Kind},
    frame::{Frame, Record, records},
    reader::{Next, Reader, Start},
};
use crate::disk::{DiskFile, Step};

/// A file in memory that is only read.
#[derive(Debug)]
struct Bytes(Vec<u8>);

impl DiskFile for Bytes {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = self.0.get(at..).unwrap_or_default();
        let length = buffer.len().min(bytes.len());
        buffer[..length].copy_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn write_at(&self, _: &[u8], _: u64, _: Step) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_size(&self, _: u64, _: Step) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self, _: Step) -> io::Result<()> {
        Ok(())
    }

    fn sync_all(&self, _: Step) -> io::Result<()> {
        Ok(())
    }
}

/// A frame that was read: its sequence number and its payload.
type Read = (u64, Vec<u8>);

/// All frames of a file, and whether the reader has noticed damage.
fn read(content: Vec<u8>, kind: Kind) -> io::Result<(Vec<Read>, bool)> {
    let mut reader = Reader::over(Box::new(Bytes(content)))?;
    let (mut frames, mut is_damaged) = (Vec::new(), false);
    match reader.start(kind, 0, true)? {
        Start::Empty | Start::Version(_) => return Ok((frames, false)),
        Start::Headless(None) => return Ok((frames, true)),
        Start::Headless(Some(_)) => is_damaged = true,
        Start::One | Start::Two(_) => {}
    }
    let mut expected = 0;
    loop {
        match reader.next(expected)? {
            Next::Frame(frame) => {
                let payload = reader.payload(&frame)?;
                let _count = records(payload).count();
                frames.push((frame.sequence, payload.to_vec()));
                expected = frame.sequence.saturating_add(1);
            }
            Next::Damaged { resumes, sequence } => {
                assert!(sequence > expected || resumes > reader.at, "no progress");
                is_damaged = true;
                expected = sequence;
                reader.resume(resumes);
            }
            Next::End | Next::Torn => return Ok((frames, is_damaged)),
        }
    }
}

/// Reads bytes as a file, and builds a file of them, which it damages.
///
/// # Panics
/// When the reader takes something for a frame that was not written as one, or overlooks that one
/// is missing which others follow.
///
/// # Errors
/// None: all is in memory.
pub fn read_log(data: &[u8]) -> io::Result<()> {
    for kind in [Kind::Segment, Kind::Checkpoint] {
        read(data.to_vec(), kind)?;
    }
    let (count, rest) = data.split_first().unwrap_or((&0, &[]));
    let count = usize::from(*count % 8);
    let (values, edits) = rest.split_at(rest.len() / 2);
    let header = FileHeader {
        kind: Kind::Segment,
        file: 0x5eed_5eed_5eed_5eed,
        place: 1,
        first: 0,
    };
    let mut content = header.encode().to_vec();
    let mut written: Vec<Read> = Vec::new();
    let mut starts = Vec::new();
    let length = (values.len() / (count + 1)).max(1);
    for value in values.chunks(length).take(count) {
        let mut frame = Frame::new();
        let sequence = written.len() as u64;
        frame.push(Record::Put {
            key: "/k",
            created: 1,
            modified: sequence,
            value,
        });
        let bytes = frame.seal(header.file, sequence).unwrap_or_default();
        let payload = bytes.get(super::frame::HEADER..).unwrap_or_default();
        written.push((sequence, payload.to_vec()));
        starts.push(content.len());
        content.extend_from_slice(bytes);
    }
    assert_eq!(
        read(content.clone(), header.kind)?,
        (written.clone(), false)
    );
    let whole = content.clone();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % content.len();
        content[at] ^= edit[2];
    }
    let mut changed = content.iter().zip(&whole);
    let first = changed.position(|(now, before)| now != before);
    let (found, is_damaged) = read(content.clone(), header.kind)?;
    for frame in &found {
        assert!(written.contains(frame), "a frame that was not written");
    }
    // The last frame is whole, and something before it is not.
    let last = starts.last().copied().unwrap_or_default();
    if first.is_some_and(|first| first < last) && content.get(last..) == whole.get(last..) {
        assert!(is_damaged, "a frame is missing, and nothing was said");
    }
    Ok(())
}

/// Reads bytes as a backup, and builds a backup of them, which it damages.
///
/// # Panics
/// When the reader refuses a backup, or takes a damaged one.
pub fn read_backup(data: &[u8]) {
    let (part, rest) = data.split_first().unwrap_or((&0, &[]));
    let part = usize::from(*part) + 1;
    let is_taken = |bytes: &[u8]| {
        let mut reader = BackupReader::keeping();
        bytes.chunks(part).all(|part| reader.read(part).is_ok()) && reader.finish().is_ok()
    };
    let header = FileHeader {
        kind: Kind::Backup,
        file: 0x5eed_5eed_5eed_5eed,
        place: 0,
        first: 0,
    };
    let header = header.encode();
    is_taken(data);
    is_taken(&[&header, rest].concat());
    let (values, edits) = rest.split_at(rest.len() / 2);
    let values: Vec<&[u8]> = values.chunks((values.len() / 4).max(1)).collect();
    let mut content = header.to_vec();
    for (sequence, value) in (0..).zip(&values) {
        let (mut frame, key) = (Frame::new(), format!("/k/{sequence:04}"));
        if sequence == 0 {
            let (name, content) = (MANIFEST, *value);
            frame.push(Record::File { name, content });
            frame.push(Record::Reserve(1));
        }
        frame.push(Record::Put {
            key: &key,
            created: 1,
            modified: 1,
            value,
        });
        let entries = sequence + 1;
        if entries == values.len() as u64 {
            frame.push(Record::End { entries, next: 0 });
        }
        let sealed = frame.seal(0x5eed_5eed_5eed_5eed, sequence);
        content.extend_from_slice(sealed.unwrap_or_default());
    }
    assert_eq!(is_taken(&content), !values.is_empty());
    let mut changed = content.clone();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % changed.len();
        changed[at] ^= edit[2];
    }
    assert!(changed == content || !is_taken(&changed), "it is damaged");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Found by the fuzz target: a value that ends like the number of the file hid the next header.
    #[test]
    fn a_frame_is_found_behind_a_value_that_ends_like_the_number_of_the_file() {
        let data = [
            0x9b, 0xee, 0x46, 0x02, 0x01, 0x00, 0x56, 0xf2, 0x5e, 0xed, 0x5e, 0xed, 0x5e, 0x06,
            0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x8c, 0x8c, 0x8c, 0x8c, 0x8c, 0x8c, 0x8c, 0x8c,
            0x00, 0x1f, 0x00, 0x00, 0x00, 0xf2, 0xce, 0x00, 0x2f, 0x6b, 0x04, 0x00, 0x00, 0x00,
            0xff, 0xff, 0x40, 0xff, 0x41, 0x75,
        ];
        read_log(&data).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_panic_and_no_missing_frame_is_overlooked(
            count: u8,
            value in prop::collection::vec(any::<u8>(), 0..200),
            edits in prop::collection::vec((0_u16..400, any::<u8>()), 0..3),
        ) {
            let mut data = vec![count];
            data.extend(&value);
            let mut edits: Vec<u8> =
                edits.iter().flat_map(|(at, bits)| [at.to_le_bytes().as_slice(), &[*bits]].concat()).collect();
            // The second half has the edits.
            edits.resize(value.len().max(edits.len()), 0);
            data.resize(1 + edits.len(), 1);
            data.extend(edits);
            read_log(&data).unwrap();
        }

        #[test]
        fn any_bytes_are_read(data: Vec<u8>) {
            read_backup(&data);
            read_log(&data).unwrap();
        }
    }
}
