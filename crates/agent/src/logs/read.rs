//! Reading logs: the format, and the choice of lines that `kubectl logs` offers.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use jiff::Timestamp;

/// One line: `TIME STREAM TAGS TEXT`, where the tag `P` means that the text goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// When it was written, as written.
    pub time: &'a str,
    /// Whether it goes on with the next line.
    pub partial: bool,
    /// What was printed, without the line's end.
    pub content: &'a [u8],
}

impl<'a> Line<'a> {
    /// The parts of a line, with or without its end; `None` if it is none.
    #[must_use]
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut parts = line.splitn(4, |&byte| byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let stream = parts.next()?;
        let tags = parts.next()?;
        let content = parts.next().unwrap_or_default();
        if !matches!(stream, b"stdout" | b"stderr") {
            return None;
        }
        Some(Self {
            time,
            partial: tags.split(|&byte| byte == b':').any(|tag| tag == b"P"),
            content,
        })
    }
}

/// Which lines, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Go on with what is written later.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Only lines not older.
    pub since: Option<Timestamp>,
    /// With the time before each line.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit: Option<u64>,
    /// Of the container before the present one.
    pub previous: bool,
}

/// Chooses and prints lines; remembers where a text goes on and how much may still be printed.
pub(crate) struct Printer {
    options: Options,
    left: Option<u64>,
    inside: bool,
}

impl Printer {
    /// A printer for these options.
    #[must_use]
    pub(crate) const fn new(options: Options) -> Self {
        let left = options.limit;
        Self {
            options,
            left,
            inside: false,
        }
    }

    /// Appends what is to be seen of a line.
    pub(crate) fn print(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Some(line) = Line::parse(line) else {
            return;
        };
        if let Some(since) = self.options.since
            && line
                .time
                .parse::<Timestamp>()
                .is_ok_and(|time| time < since)
        {
            return;
        }
        let from = out.len();
        if self.options.timestamps && !self.inside {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.content);
        if !line.partial {
            out.push(b'\n');
        }
        self.inside = line.partial;
        if let Some(left) = &mut self.left {
            let printed = out.len() - from;
            let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(printed);
            out.truncate(from + allowed);
            *left -= allowed as u64;
        }
    }

    /// Whether nothing more may be printed.
    #[must_use]
    pub(crate) const fn is_exhausted(&self) -> bool {
        matches!(self.left, Some(0))
    }
}

/// Opens a log at the place where its last `tail` lines begin.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn open(path: &Path, tail: Option<u64>) -> io::Result<BufReader<File>> {
    let mut file = File::open(path)?;
    if let Some(tail) = tail {
        let at = tail_offset(&mut file, tail)?;
        file.seek(SeekFrom::Start(at))?;
    }
    Ok(BufReader::new(file))
}

/// Where the last `tail` lines begin: the file is searched backwards in blocks.
fn tail_offset(file: &mut File, tail: u64) -> io::Result<u64> {
    const BLOCK: u64 = 16 << 10;
    let length = file.metadata()?.len();
    if tail == 0 {
        return Ok(length);
    }
    let (mut end, mut found) = (length, 0);
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        block.clear();
        file.by_ref().take(end - start).read_to_end(&mut block)?;
        for (at, &byte) in block.iter().enumerate().rev() {
            let position = start + at as u64;
            if byte == b'\n' && position + 1 < length {
                found += 1;
                if found == tail {
                    return Ok(position + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

/// Reads the next whole line; false at the end of what is written so far. What is read of a line
/// that is still being written stays in `line`.
///
/// # Errors
/// When the disk says no.
pub(crate) fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<bool> {
    reader.read_until(b'\n', line)?;
    Ok(line.last() == Some(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::{Line, Options, Printer, next_line, open};

    const LOG: &str = "2024-01-01T00:00:01.000000000Z stdout F one\n\
        2024-01-01T00:00:02.000000000Z stderr P two \n\
        2024-01-01T00:00:02.500000000Z stderr F three\n\
        2024-01-01T00:00:03.000000000Z stdout F \n\
        2024-01-01T00:00:04.000000000Z stdout F five\n";

    fn read(options: &Options) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), LOG).unwrap();
        let mut reader = open(file.path(), options.tail).unwrap();
        let mut printer = Printer::new(options.clone());
        let (mut line, mut out) = (Vec::new(), Vec::new());
        while next_line(&mut reader, &mut line).unwrap() {
            printer.print(&line, &mut out);
            line.clear();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_put_together() {
        assert_eq!(read(&Options::default()), "one\ntwo three\n\nfive\n");
    }

    #[test]
    fn the_last_lines() {
        let tail = |tail| {
            read(&Options {
                tail: Some(tail),
                ..Options::default()
            })
        };
        assert_eq!(tail(0), "");
        assert_eq!(tail(1), "five\n");
        assert_eq!(tail(2), "\nfive\n");
        assert_eq!(tail(99), "one\ntwo three\n\nfive\n");
    }

    #[test]
    fn lines_since_a_time_with_times() {
        let options = Options {
            since: Some("2024-01-01T00:00:03Z".parse().unwrap()),
            timestamps: true,
            ..Options::default()
        };
        let expected = "2024-01-01T00:00:03.000000000Z \n2024-01-01T00:00:04.000000000Z five\n";
        assert_eq!(read(&options), expected);
    }

    #[test]
    fn a_limit_cuts_in_the_middle() {
        let options = Options {
            limit: Some(6),
            ..Options::default()
        };
        assert_eq!(read(&options), "one\ntw");
    }

    #[test]
    fn what_is_no_line_is_left_out() {
        assert_eq!(Line::parse(b"nonsense"), None);
        assert_eq!(Line::parse(b"2024-01-01T00:00:01Z stdin F x"), None);
        let empty = Line::parse(b"2024-01-01T00:00:01Z stdout F").unwrap();
        assert_eq!(empty.content, b"");
    }
}
