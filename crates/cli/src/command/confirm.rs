//! Asks a person whether to go on.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail, ensure};

/// Asks whether to do something, a verb such as `repair`.
///
/// # Errors
/// If the answer is not yes, or there is no terminal to ask at. Nothing was changed then.
pub(super) fn confirm(verb: &str) -> anyhow::Result<()> {
    ensure!(
        io::stdin().is_terminal(),
        "nothing was changed: standard input is no terminal, so there is no one to ask; --yes {verb}s without asking"
    );
    let (first, rest) = verb.split_at(verb.len().min(1));
    let verb = first.to_uppercase() + rest;
    let _closed = write!(io::stderr(), "{verb}? Only `yes` goes on: ");
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    read.context("read the answer")?;
    if answer.trim() != "yes" {
        bail!("nothing was changed");
    }
    Ok(())
}
