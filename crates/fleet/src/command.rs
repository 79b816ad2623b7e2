//! Runs system tools; errors show the command line and its output.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;

/// Timeout of a tool. The slowest (`ip netns delete` on a busy machine) takes well under a second.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A tool that could not be run or failed.
#[derive(Debug, thiserror::Error)]
#[error("`{line}` failed: {message}")]
pub struct ToolError {
    /// The command line.
    pub line: String,
    /// Its standard error, or why it did not run.
    pub message: String,
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// If it cannot be started, exits with a status other than 0, or exceeds the timeout.
pub async fn run(arguments: &[String]) -> Result<String, ToolError> {
    let failed = |message: String| ToolError {
        line: arguments.join(" "),
        message,
    };
    let Some((program, arguments)) = arguments.split_first() else {
        return Ok(String::new());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output())
        .await
        .map_err(|_| failed(format!("no end after {} s", TIMEOUT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(if stderr.is_empty() {
        output.status.to_string()
    } else {
        stderr
    }))
}

/// [`run`] for a command line that is split at blanks; it knows no quoting.
///
/// # Errors
/// As [`run`].
pub async fn run_line(line: &str) -> Result<String, ToolError> {
    let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    run(&arguments).await
}

/// Finds a program in the directories of root's usual search path.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ]
    .iter()
    .map(|dir| PathBuf::from(dir).join(program))
    .find(|path| path.is_file())
}
