//! Bounds on what one request can make of itself: values of a body, and texts of an answer.
//!
//! A body of 3 MiB can hold a million values, each of which takes more memory than its text, and
//! can be wrong in as many places. No bound is near what real objects have.

use std::{borrow::Cow, fmt};

use serde_json::Value;

/// Most values in a body, the names of fields included. Objects are stored up to 1.5 MiB, which
/// is 3 bytes for each.
const MAX_VALUES: usize = 500_000;
/// Most JSON objects in a body: each takes some 650 bytes of memory, and may get defaults. It is
/// one for 30 bytes of the largest object that can be stored; real ones have one for 60 at most.
const MAX_OBJECTS: usize = 50_000;
/// Most levels of nesting in a body, as the JSON parser has it.
pub(crate) const MAX_DEPTH: usize = 128;

/// Most texts of one kind in an answer, as upstream's decoder has it for unknown fields.
pub(crate) const MAX_TEXTS: usize = 100;
/// Size of all such texts from which on no more are kept, in bytes.
pub(crate) const MAX_BYTES: usize = 256 << 10;
/// Longest text, in bytes.
const MAX_TEXT: usize = 64 << 10;

/// How many more values a body may have.
#[derive(Debug)]
pub(crate) struct Room {
    values: usize,
    objects: usize,
}

/// A body has too many values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many values: at most {MAX_VALUES} are allowed, of them {MAX_OBJECTS} objects")]
pub(crate) struct TooManyValues;

impl Default for Room {
    fn default() -> Self {
        Self {
            values: MAX_VALUES,
            objects: MAX_OBJECTS,
        }
    }
}

impl Room {
    /// Takes room for a value or the name of a field.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn value(&mut self) -> Result<(), TooManyValues> {
        self.values = self.values.checked_sub(1).ok_or(TooManyValues)?;
        Ok(())
    }

    /// Takes room for an object, beside that for the value.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn object(&mut self) -> Result<(), TooManyValues> {
        self.objects = self.objects.checked_sub(1).ok_or(TooManyValues)?;
        Ok(())
    }

    /// Takes room for a copy of a value with all that is in it.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn copy(&mut self, value: &Value) -> Result<(), TooManyValues> {
        self.value()?;
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.copy(item)),
            Value::Object(fields) => {
                self.object()?;
                fields.values().try_for_each(|field| {
                    self.value()?;
                    self.copy(field)
                })
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
        }
    }
}

/// The text, or its beginning and its size if it is too long.
pub(crate) fn cut_off(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(MAX_TEXT);
    Cow::Owned(format!("{}... ({} bytes)", &text[..end], text.len()))
}

/// Cuts a text off if it is too long.
pub(crate) fn shorten(text: &mut String) {
    if let Cow::Owned(short) = cut_off(text) {
        *text = short;
    }
}

/// The first texts of an answer. What is too much is not even formatted.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    kept: Vec<String>,
    bytes: usize,
    omitted: usize,
}

impl Texts {
    /// Adds a text.
    pub(crate) fn add(&mut self, text: impl fmt::Display) {
        if self.is_full() {
            self.omitted += 1;
            return;
        }
        let mut text = text.to_string();
        shorten(&mut text);
        self.bytes += text.len();
        self.kept.push(text);
    }

    /// Adds a text unless it is there.
    pub(crate) fn add_distinct(&mut self, text: impl fmt::Display) {
        let before = self.kept.len();
        self.add(text);
        if let Some((last, rest)) = self.kept.split_last()
            && rest.len() == before
            && rest.contains(last)
        {
            let repeated = self.kept.pop().unwrap_or_default();
            self.bytes -= repeated.len();
        }
    }

    /// Whether no more are kept.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= MAX_TEXTS || self.bytes >= MAX_BYTES
    }

    /// How many were left out.
    pub(crate) fn omitted(&self) -> usize {
        self.omitted
    }

    /// The texts that are kept.
    pub(crate) fn into_vec(self) -> Vec<String> {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn copies_take_room_for_every_value_and_name() {
        let mut room = Room {
            values: 9,
            objects: 2,
        };
        let value = json!({"a": [1, {}], "b": null});
        assert_eq!(room.copy(&value), Ok(()));
        assert_eq!((room.values, room.objects), (2, 0));
        assert_eq!(room.copy(&json!({})), Err(TooManyValues));
        assert_eq!(room.copy(&json!([1])), Err(TooManyValues));
    }

    #[test]
    fn texts_are_distinct_few_and_short() {
        let mut texts = Texts::default();
        texts.add_distinct("a");
        texts.add_distinct("a");
        texts.add("x".repeat(MAX_TEXT + 1));
        for at in 0..2 * MAX_TEXTS {
            texts.add(at);
        }
        assert_eq!(texts.omitted(), MAX_TEXTS + 2);
        let kept = texts.into_vec();
        assert_eq!((kept.len(), &*kept[2]), (MAX_TEXTS, "0"));
        assert!(kept[1].ends_with("xxx... (65537 bytes)"));
        let mut large = Texts::default();
        for _ in 0..MAX_TEXTS {
            large.add("x".repeat(MAX_TEXT));
        }
        assert_eq!(large.into_vec().len(), MAX_BYTES / MAX_TEXT);
    }
}
