//! The head of an encoded object: where the fields are that readers look at without parsing it.

use pandaemon_machinery::kind::IndexedField;
use serde::{
    Deserialize,
    de::{Error as _, IgnoredAny},
};
use serde_json::{Error, value::RawValue};

use super::{
    METADATA,
    raw::{self, RawHead},
};

/// A part of the bytes of an object; empty if the object does not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The bytes between two offsets; empty beyond 4 GiB.
    pub(super) fn new(start: usize, end: usize) -> Self {
        match (u32::try_from(start), u32::try_from(end)) {
            (Ok(start), Ok(end)) => Self { start, end },
            _ => Self::default(),
        }
    }

    /// The position of a raw value in the bytes from which it was read.
    fn find(bytes: &[u8], raw: Option<&RawValue>) -> Self {
        let Some(raw) = raw.map(RawValue::get) else {
            return Self::default();
        };
        let start = (raw.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize);
        Self::new(start, start + raw.len())
    }

    /// The part of the bytes.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// The same part, of bytes that begin earlier by so much.
    pub(super) fn after(self, offset: usize) -> Self {
        Self::new(self.start as usize + offset, self.end as usize + offset)
    }

    /// The same part of `part`, which is a part of `bytes`; empty if it is elsewhere.
    pub(super) fn within(self, bytes: &[u8], part: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).saturating_sub(bytes.as_ptr() as usize);
        let offsets = [self.start, self.end].map(|at| (at as usize).checked_sub(start));
        match offsets {
            [Some(start), Some(end)] if end <= part.len() => Self::new(start, end),
            _ => Self::default(),
        }
    }
}

/// Where the fields of an encoded object are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// Offset of `"metadata":{`.
    pub(super) item_start: u32,
    /// Offset after the closing brace of the metadata.
    pub(super) metadata_end: u32,
    /// Whether it has a `deletionTimestamp`.
    pub(super) is_terminating: bool,
    /// `metadata.labels`.
    pub(super) labels: Span,
    /// The value by which the kind is indexed.
    pub(super) indexed: Span,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
}

impl Head {
    /// Finds the fields in encoded bytes; `index` is that of the kind.
    ///
    /// # Errors
    /// For bytes that [`super::encode()`] did not write.
    pub fn read(bytes: &[u8], index: Option<IndexedField>) -> Result<Self, Error> {
        let RawHead { metadata, indexed } = raw::read(bytes, index)?;
        let inner: Metadata<'_> = serde_json::from_str(metadata.get())?;
        let found = Span::find(bytes, Some(metadata));
        // The name of the field and the colon precede the value.
        let item_start = (found.start as usize).checked_sub(METADATA.len() - 1);
        let item_start = item_start.filter(|at| bytes[*at..].starts_with(METADATA));
        let item_start = item_start.and_then(|at| u32::try_from(at).ok());
        Ok(Self {
            item_start: item_start
                .ok_or_else(|| Error::custom("it does not start with metadata"))?,
            metadata_end: found.end,
            is_terminating: inner.deletion_timestamp.is_some(),
            labels: Span::find(bytes, inner.labels),
            indexed: Span::find(bytes, indexed),
        })
    }
}
