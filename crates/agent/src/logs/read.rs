//! Parses log lines in the CRI format, and selects lines as `kubectl logs` asks.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    path::Path,
};

use jiff::Timestamp;

/// One line: `TIME STREAM TAGS TEXT`. With tag `P` the text continues in the next line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// Its time stamp as text.
    pub time: &'a str,
    /// Whether the text continues in the next line.
    pub partial: bool,
    /// The text, without a newline.
    pub content: &'a [u8],
}

impl<'a> Line<'a> {
    /// Parses a line, with or without newline; `None` if it has another format.
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

/// The query parameters of a log request; the API's PodLogOptions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogOptions {
    /// Continue with lines that are written later.
    pub follow: bool,
    /// Only this many last lines.
    pub tail: Option<u64>,
    /// Only lines since this time.
    pub since: Option<Timestamp>,
    /// Print the time stamp before each line.
    pub timestamps: bool,
    /// At most this many bytes.
    pub limit: Option<u64>,
    /// The log of the previous start.
    pub previous: bool,
}

/// Selects and prints lines.
pub(crate) struct LogPrinter {
    options: LogOptions,
    /// How many bytes may still be printed; `None` without a limit.
    left: Option<u64>,
    /// Whether the next line continues the last one.
    in_line: bool,
}

impl LogPrinter {
    /// A printer with these options.
    #[must_use]
    pub(crate) const fn new(options: LogOptions) -> Self {
        let left = options.limit;
        Self {
            options,
            left,
            in_line: false,
        }
    }

    /// Appends to `out` what the options select of a line.
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
        if self.options.timestamps && !self.in_line {
            out.extend_from_slice(line.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.content);
        if !line.partial {
            out.push(b'\n');
        }
        self.in_line = line.partial;
        if let Some(left) = &mut self.left {
            let printed = out.len() - from;
            let allowed = usize::try_from(*left).unwrap_or(usize::MAX).min(printed);
            out.truncate(from + allowed);
            *left -= allowed as u64;
        }
    }

    /// Whether the byte limit is reached.
    #[must_use]
    pub(crate) const fn is_exhausted(&self) -> bool {
        matches!(self.left, Some(0))
    }
}

/// Opens a log at the beginning of its last `tail` lines.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn open(path: &Path, tail: Option<u64>) -> io::Result<BufReader<File>> {
    let mut file = File::open(path)?;
    if let Some(tail) = tail {
        let at = tail_offset(&mut file, tail)?;
        file.seek(SeekFrom::Start(at))?;
    }
    Ok(BufReader::new(file))
}

/// The offset of the last `tail` lines; searches the file backwards in blocks.
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

/// Reads the next complete line; false at the end of the file. The part of an incomplete line that
/// was read stays in `line`.
///
/// # Errors
/// If the log cannot be read.
pub(crate) fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<bool> {
    reader.read_until(b'\n', line)?;
    Ok(line.last() == Some(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::{Line, LogOptions, LogPrinter, next_line, open};

    const LOG: &str = "2024-01-01T00:00:01.000000000Z stdout F one\n\
        2024-01-01T00:00:02.000000000Z stderr P two \n\
        2024-01-01T00:00:02.500000000Z stderr F three\n\
        2024-01-01T00:00:03.000000000Z stdout F \n\
        2024-01-01T00:00:04.000000000Z stdout F five\n";

    fn read(options: &LogOptions) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), LOG).unwrap();
        let mut reader = open(file.path(), options.tail).unwrap();
        let mut printer = LogPrinter::new(options.clone());
        let (mut line, mut out) = (Vec::new(), Vec::new());
        while next_line(&mut reader, &mut line).unwrap() {
            printer.print(&line, &mut out);
            line.clear();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn partial_lines_are_joined() {
        assert_eq!(read(&LogOptions::default()), "one\ntwo three\n\nfive\n");
    }

    #[test]
    fn tail_selects_the_last_lines() {
        let tail = |tail| {
            read(&LogOptions {
                tail: Some(tail),
                ..LogOptions::default()
            })
        };
        assert_eq!(tail(0), "");
        assert_eq!(tail(1), "five\n");
        assert_eq!(tail(2), "\nfive\n");
        assert_eq!(tail(99), "one\ntwo three\n\nfive\n");
    }

    #[test]
    fn since_and_timestamps() {
        let options = LogOptions {
            since: Some("2024-01-01T00:00:03Z".parse().unwrap()),
            timestamps: true,
            ..LogOptions::default()
        };
        let expected = "2024-01-01T00:00:03.000000000Z \n2024-01-01T00:00:04.000000000Z five\n";
        assert_eq!(read(&options), expected);
    }

    #[test]
    fn the_byte_limit_cuts_within_a_line() {
        let options = LogOptions {
            limit: Some(6),
            ..LogOptions::default()
        };
        assert_eq!(read(&options), "one\ntw");
    }

    #[test]
    fn lines_in_another_format_are_skipped() {
        assert_eq!(Line::parse(b"nonsense"), None);
        assert_eq!(Line::parse(b"2024-01-01T00:00:01Z stdin F x"), None);
        let empty = Line::parse(b"2024-01-01T00:00:01Z stdout F").unwrap();
        assert_eq!(empty.content, b"");
    }
}
