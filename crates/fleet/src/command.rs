//! Runs the system's own tools, with errors that show what was run and what it said.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;

/// A tool that hangs longer than this is given up; the slowest (`ip netns delete` on a busy machine) takes well under a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tool that failed.
#[derive(Debug, thiserror::Error)]
#[error("`{line}` failed: {words}")]
pub struct ToolError {
    /// What was run.
    pub line: String,
    /// What it said.
    pub words: String,
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started, exits with an error or hangs.
pub async fn run(words: &[String]) -> Result<String, ToolError> {
    let failed = |said: String| ToolError {
        line: words.join(" "),
        words: said,
    };
    let Some((program, arguments)) = words.split_first() else {
        return Ok(String::new());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .map_err(|_| failed(format!("gave up after {} s", PATIENCE.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(failed(if said.is_empty() {
        output.status.to_string()
    } else {
        said
    }))
}

/// [`run`] for a line without quoting.
///
/// # Errors
/// As [`run`].
pub async fn run_line(line: &str) -> Result<String, ToolError> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    run(&words).await
}

/// Finds a program the way a shell of root would.
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
    .map(|folder| PathBuf::from(folder).join(program))
    .find(|path| path.is_file())
}
