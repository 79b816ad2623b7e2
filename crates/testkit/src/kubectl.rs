//! Plain `kubectl`, as a user runs it.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use serde_json::Value;

/// A kubectl that talks to one cluster.
#[derive(Debug, Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    cache: PathBuf,
}

/// What a run printed.
#[derive(Debug)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit status.
    pub code: i32,
}

impl Kubectl {
    /// kubectl for the cluster of `kubeconfig`, with a discovery cache of its own.
    #[must_use]
    pub fn new(kubeconfig: &Path, cache: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.to_owned(),
            cache: cache.to_owned(),
        }
    }

    /// The command, to be changed and started by the caller.
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

    /// Runs kubectl to its end, whatever it says.
    ///
    /// # Errors
    /// When kubectl cannot be started.
    pub fn try_run(&self, line: &str) -> anyhow::Result<Output> {
        self.try_words(&words(line))
    }

    /// [`Kubectl::try_run`] with separate words.
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
    /// When it fails, with what it said.
    pub fn run(&self, line: &str) -> anyhow::Result<String> {
        self.words(&words(line))
            .with_context(|| format!("kubectl {line}"))
    }

    /// [`Kubectl::run`] with separate words.
    ///
    /// # Errors
    /// When it fails, with what it said.
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

    /// `kubectl LINE -o json`.
    ///
    /// # Errors
    /// When it fails or prints no JSON.
    pub fn json(&self, line: &str) -> anyhow::Result<Value> {
        let text = self.run(&format!("{line} -o json"))?;
        serde_json::from_str(&text).with_context(|| format!("JSON of kubectl {line}"))
    }

    /// Starts kubectl and leaves it running, its output in a pipe.
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

/// Words of a line; single quotes keep blanks together.
#[must_use]
pub fn words(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, part) in line.split('\'').enumerate() {
        if at % 2 == 1 {
            match found.last_mut() {
                Some(last) if !line_gap_before(line, part) => *last = format!("{last}{part}"),
                _ => found.push(part.to_owned()),
            }
        } else {
            found.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    found
}

/// Whether the quoted part begins a word of its own.
fn line_gap_before(line: &str, part: &str) -> bool {
    let start = part.as_ptr() as usize - line.as_ptr() as usize;
    start < 2 || line.as_bytes()[start - 2].is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn quotes_keep_words_together() {
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
