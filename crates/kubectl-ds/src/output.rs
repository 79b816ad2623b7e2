//! Prints to standard output.

use std::io::Write as _;

use serde::Serialize;

use crate::error::CommandError;

/// Prints an object as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), CommandError> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Prints a text and flushes.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
