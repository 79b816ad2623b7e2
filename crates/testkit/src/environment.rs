//! Numbers that set the size of a test, or repeat one.

/// The number in an environment variable; `None` if it is not set.
///
/// # Panics
/// When it is no number: the test would not be the one that was asked for.
#[must_use]
pub fn number(variable: &str) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no command line of its own"
    )]
    let text = std::env::var(variable).ok()?;
    #[expect(clippy::panic, reason = "only tests call this")]
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable}={text} is no number"),
    }
}
