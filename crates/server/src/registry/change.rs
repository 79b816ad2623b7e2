//! A new state of an object, before it is checked and stored.

use pandaemon_machinery::decode::Decoded;
use serde_json::Value;

/// The result of a change function: a new state of the object.
#[derive(Debug)]
pub(crate) struct Change {
    /// The new state of the object.
    pub value: Value,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
    /// Whether managedFields are set already (server-side apply).
    pub is_applied: bool,
}

/// A new state that a program made.
impl From<Value> for Change {
    fn from(value: Value) -> Self {
        Self {
            value,
            warnings: Vec::new(),
            is_applied: false,
        }
    }
}

impl From<Decoded> for Change {
    fn from(decoded: Decoded) -> Self {
        Self {
            value: decoded.value,
            warnings: decoded.warnings,
            is_applied: false,
        }
    }
}
