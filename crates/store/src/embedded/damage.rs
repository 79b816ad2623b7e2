//! What is wrong with a store that cannot be opened, as text for its operator.

use std::{fmt, path::PathBuf};

/// Damage of a file of the store: bytes that were durable cannot be read. The store is not opened,
/// because it would go on without writes that were acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The path of the file.
    pub file: PathBuf,
    /// Where the damage begins.
    pub at: u64,
    /// Number of bytes that cannot be read as what they were.
    pub bytes: u64,
    /// What is missing.
    pub missing: Missing,
}

/// What cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The frames (batches of writes) with these sequence numbers, both included. Later ones can be
    /// read.
    Frames(u64, u64),
    /// Frames that were in the file already, by their sequence numbers.
    Repeated(u64),
    /// All frames of the file or an unknown number of them: its header cannot be read.
    Header,
    /// A part of the entries of a checkpoint.
    Entries,
    /// The whole file.
    File,
    /// The name of the file does not fit its content: this number is its own.
    Name(u64),
    /// The frame with this sequence number has a record that this version does not know.
    Record(u64),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frames(first, last) if first == last => {
                write!(f, "the frame {first} cannot be read, and later ones can")
            }
            Self::Frames(first, last) => {
                write!(
                    f,
                    "the frames {first} to {last} cannot be read, and later ones can"
                )
            }
            Self::Repeated(first) => write!(f, "the frame {first} is there twice"),
            Self::Header => {
                f.write_str("the header of the file cannot be read, and frames follow it")
            }
            Self::Entries => f.write_str("a part of the checkpoint cannot be read"),
            Self::File => f.write_str("the file is missing"),
            Self::Name(number) => write!(f, "the content is that of number {number}"),
            Self::Record(frame) => {
                write!(
                    f,
                    "the frame {frame} has a record that this version does not know"
                )
            }
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directory = self.file.parent().unwrap_or(&self.file).display();
        write!(
            f,
            "{} is damaged at byte {}: {}. Acknowledged writes would be lost, so the store stays closed and \
             nothing was changed. Restore the directory from a backup; or see with `pandaemon store check \
             {directory}` what can be read, and keep that with `pandaemon store repair {directory}`",
            self.file.display(),
            self.at,
            self.missing,
        )
    }
}
