//! Runs the system's `ip` and `iptables`.

use std::{io, process::Output, time::Duration};

/// Timeout of a tool.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Runs a tool to its end.
///
/// # Errors
/// If it cannot be started, or does not end in time.
pub(crate) async fn run<'a>(
    program: &str,
    arguments: impl IntoIterator<Item = &'a str>,
) -> io::Result<Output> {
    let mut command = tokio::process::Command::new(program);
    let output = command.args(arguments).kill_on_drop(true).output();
    let output = tokio::time::timeout(TIMEOUT, output).await;
    output.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?
}

/// An operation of `iptables` (`-A`, `-C`, `-D`, `-S`) on the nat table, with its chain and rule.
///
/// # Errors
/// As [`run`].
pub(crate) async fn iptables_nat<'a>(
    operation: &'a str,
    rule: impl IntoIterator<Item = &'a str>,
) -> io::Result<Output> {
    // CNI plugins may hold the lock of the tables for a moment.
    let words = ["-w", "10", "-t", "nat", operation];
    run("iptables", words.into_iter().chain(rule)).await
}
