//! The uid of an object.

use std::fmt;

use serde::{Deserialize, Deserializer};

use crate::label_set::Name;

/// The uid of an object. UUIDs, which the API server generates, are stored as 16 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Uid {
    /// A UUID in lower case with dashes.
    Uuid([u8; 16]),
    /// Any other text, kept as it is.
    Other(Name),
}

impl Uid {
    /// Whether it is the empty text, which stands for no uid.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Other(text) if text.is_empty())
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        parse_uuid(text).map_or_else(|| Self::Other(text.into()), Self::Uuid)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(text) => f.write_str(text),
            Self::Uuid(bytes) => {
                for (position, byte) in bytes.iter().enumerate() {
                    let dash = if matches!(position, 4 | 6 | 8 | 10) {
                        "-"
                    } else {
                        ""
                    };
                    write!(f, "{dash}{byte:02x}")?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Default for Uid {
    fn default() -> Self {
        Self::Uuid([0; 16])
    }
}

impl<'de> Deserialize<'de> for Uid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::from(&*std::borrow::Cow::<'de, str>::deserialize(
            deserializer,
        )?))
    }
}

/// Accepts only the form that [`Uid`] prints: 36 characters, lower case, dashes.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let mut out = [0_u8; 16];
    let mut nibbles = 0_usize;
    for (position, byte) in bytes.iter().enumerate() {
        let value = match (position, byte) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => byte - b'0',
            (_, b'a'..=b'f') => byte - b'a' + 10,
            _ => return None,
        };
        let slot = out.get_mut(nibbles / 2)?;
        *slot = (*slot << 4) | value;
        nibbles += 1;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_print_the_text_they_were_read_from() {
        for text in [
            "5b1c2a34-0000-4abc-8def-0123456789ab",
            "set-1",
            "5B1C2A34-0000-4abc-8def-0123456789ab",
        ] {
            assert_eq!(Uid::from(text).to_string(), text);
        }
        assert!(matches!(
            Uid::from("5b1c2a34-0000-4abc-8def-0123456789ab"),
            Uid::Uuid(_)
        ));
    }
}
