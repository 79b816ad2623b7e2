//! A condition in the status of a node or pod.

use serde::Deserialize;

/// The fields of a condition that a hollow node reads.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Condition {
    /// Its type, such as `Ready`.
    #[serde(rename = "type")]
    pub(crate) kind: Box<str>,
    /// `True`, `False` or `Unknown`.
    pub(crate) status: Box<str>,
}
