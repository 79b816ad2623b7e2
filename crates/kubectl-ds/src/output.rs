//! Prints to standard output.

use std::io::Write;

use serde::Serialize;

use crate::error::CommandError;

/// Prints an object as indented JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<(), CommandError> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}

/// Prints a text and flushes.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    write(&mut std::io::stdout().lock(), text)
}

/// Writes a text and flushes.
pub(crate) fn write(out: &mut impl Write, text: &str) -> Result<(), CommandError> {
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
