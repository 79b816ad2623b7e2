//! Tests that cannot run here say so by name. `scripts/test` lists them at the end of a run and
//! does not count them as passed.

use std::{fs::OpenOptions, io::Write as _};

/// Names the file that [`skipped`] appends to; `scripts/test` sets it.
pub const FILE_VARIABLE: &str = "PANDAEMON_SKIPPED";

/// Reports that a test does not run on this machine, and why. The test returns after it.
///
/// # Panics
/// When the list of skipped tests cannot be written: a skipped test must not look like a passed
/// one.
pub fn skipped(test: &str, why: impl std::fmt::Display) {
    let line = format!("SKIPPED {test}: {}\n", why.to_string().replace('\n', " "));
    // Tests pass and fail by what they print.
    let _closed = std::io::stderr().write_all(line.as_bytes());
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no command line of its own"
    )]
    let Ok(file) = std::env::var(FILE_VARIABLE) else {
        return;
    };
    let file = OpenOptions::new().create(true).append(true).open(file);
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    #[expect(clippy::panic, reason = "only tests call this")]
    if let Err(error) = written {
        panic!("cannot note that {test} is skipped: {error}");
    }
}

/// [`skipped`] for the test function that calls it: a test's thread has its name.
///
/// # Panics
/// As [`skipped`].
pub fn skipped_here(why: impl std::fmt::Display) {
    let thread = std::thread::current();
    skipped(thread.name().unwrap_or("a test without a name"), why);
}
