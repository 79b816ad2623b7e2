//! The protobuf wire format: tags, variable-length integers and byte strings.

use crate::bounds::TooManyValues;

/// Bytes that are no valid message; the texts are those of Go's library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    /// The bytes end inside a field.
    #[error("unexpected EOF")]
    Short,
    /// A number has too many bytes.
    #[error("proto: integer overflow")]
    Overflow,
    /// The wire type is unknown, or not that of the field.
    #[error("proto: wrong wireType")]
    Type,
    /// A string is not UTF-8.
    #[error("proto: invalid UTF-8")]
    Text,
    /// Embedded JSON cannot be read.
    #[error("proto: invalid raw JSON")]
    Json,
    /// A time is out of range.
    #[error("proto: timestamp out of range")]
    Time,
    /// Messages are nested too deeply.
    #[error("proto: exceeded max recursion depth")]
    Deep,
    /// There are too many values.
    #[error(transparent)]
    Many(#[from] TooManyValues),
}

/// The value of a field in its wire type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Payload<'a> {
    /// A variable-length integer (wire type 0).
    Integer(u64),
    /// Eight bytes, little-endian (wire type 1).
    Eight([u8; 8]),
    /// Four bytes, little-endian (wire type 5).
    Four([u8; 4]),
    /// A string, bytes or a message (wire type 2).
    Bytes(&'a [u8]),
}

impl<'a> Payload<'a> {
    /// The value as bytes.
    pub(super) fn bytes(self) -> Result<&'a [u8], WireError> {
        if let Payload::Bytes(bytes) = self {
            Ok(bytes)
        } else {
            Err(WireError::Type)
        }
    }

    /// The value as a string.
    pub(super) fn text(self) -> Result<String, WireError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| WireError::Text)
    }

    /// The value as a signed integer.
    pub(super) fn integer(self) -> Result<i64, WireError> {
        if let Payload::Integer(number) = self {
            Ok(number.cast_signed())
        } else {
            Err(WireError::Type)
        }
    }

    /// The value as a float of either size.
    pub(super) fn float(self) -> Result<f64, WireError> {
        match self {
            Payload::Eight(bytes) => Ok(f64::from_le_bytes(bytes)),
            Payload::Four(bytes) => Ok(f32::from_le_bytes(bytes).into()),
            _ => Err(WireError::Type),
        }
    }
}

/// Reads the fields of one message.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of the message in these bytes.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next field: its number and value; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Payload<'a>)>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.integer()?;
        let payload = match tag & 7 {
            0 => Payload::Integer(self.integer()?),
            1 => Payload::Eight(self.array()?),
            2 => {
                let length = usize::try_from(self.integer()?).map_err(|_| WireError::Overflow)?;
                Payload::Bytes(self.take(length)?)
            }
            5 => Payload::Four(self.array()?),
            _ => return Err(WireError::Type),
        };
        Ok(Some((tag >> 3, payload)))
    }

    fn integer(&mut self) -> Result<u64, WireError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(WireError::Overflow)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| WireError::Short)
    }
}
