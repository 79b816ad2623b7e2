//! Runs `kubectl` as a user does.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use serde_json::Value;

/// kubectl for one cluster.
#[derive(Debug, Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    cache: PathBuf,
}

/// The outcome of a run.
#[derive(Debug)]
pub struct Output {
    /// What kubectl wrote to standard output.
    pub stdout: String,
    /// What kubectl wrote to standard error.
    pub stderr: String,
    /// Exit status; -1 if a signal ended the process.
    pub code: i32,
}

impl Kubectl {
    /// kubectl for the cluster of `kubeconfig`, with its discovery cache in the directory `cache`.
    #[must_use]
    pub fn new(kubeconfig: &Path, cache: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.to_owned(),
            cache: cache.to_owned(),
        }
    }

    /// The command with these arguments, to be started by the caller. Its standard input is empty.
    #[must_use]
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(&self.cache)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs kubectl and returns its outcome, whatever the exit status. `line` is split by
    /// [`words`].
    ///
    /// # Errors
    /// When kubectl cannot be started.
    pub fn try_run(&self, line: &str) -> anyhow::Result<Output> {
        self.try_words(&words(line))
    }

    /// As [`Kubectl::try_run`], with separate arguments.
    ///
    /// # Errors
    /// When kubectl cannot be started.
    pub fn try_words<S: AsRef<OsStr>>(&self, arguments: &[S]) -> anyhow::Result<Output> {
        let output = self.command(arguments).output().context("start kubectl")?;
        Ok(Output {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code().unwrap_or(-1),
        })
    }

    /// Runs kubectl and returns its standard output.
    ///
    /// # Errors
    /// When the exit status is not 0. The error contains its output.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        self.words(&words(line))
            .with_context(|| format!("kubectl {line}"))
    }

    /// As [`Kubectl::run`], with separate arguments.
    ///
    /// # Errors
    /// When the exit status is not 0. The error contains its output.
    pub fn words<S: AsRef<OsStr>>(&self, arguments: &[S]) -> anyhow::Result<String> {
        let output = self.try_words(arguments)?;
        anyhow::ensure!(
            output.code == 0,
            "exit status {}: {}{}",
            output.code,
            output.stdout,
            output.stderr
        );
        Ok(output.stdout)
    }

    /// Runs `kubectl LINE -o json` and parses its output.
    ///
    /// # Errors
    /// When the exit status is not 0 or the output is no JSON.
    pub fn json(&self, line: &str) -> anyhow::Result<Value> {
        let text = self.run(&format!("{line} -o json"))?;
        serde_json::from_str(&text).with_context(|| format!("JSON of kubectl {line}"))
    }

    /// Starts kubectl and does not wait for it. Its standard output is a pipe, its standard error
    /// is dropped.
    ///
    /// # Errors
    /// When kubectl cannot be started.
    pub fn start(&self, line: &str) -> anyhow::Result<Child> {
        self.command(&words(line))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("start kubectl")
    }
}

/// Splits a line into arguments at white space. Single quotes keep white space, as in a shell.
#[must_use]
pub fn words(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            match found.last_mut() {
                Some(last) if !starts_argument(line, part) => *last = format!("{last}{part}"),
                _ => found.push(part.to_owned()),
            }
        } else {
            found.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    found
}

/// Whether white space or nothing precedes the opening quote, so that the quoted part starts an
/// argument.
fn starts_argument(line: &str, part: &str) -> bool {
    let start = part.as_ptr() as usize - line.as_ptr() as usize;
    start < 2 || line.as_bytes()[start - 2].is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn single_quotes_keep_white_space() {
        assert_eq!(
            words("patch ds x -p '{\"a\": 1}'"),
            ["patch", "ds", "x", "-p", "{\"a\": 1}"]
        );
        assert_eq!(
            words("get -o jsonpath='{.a b}'"),
            ["get", "-o", "jsonpath={.a b}"]
        );
        assert_eq!(words(" a  b "), ["a", "b"]);
    }
}
