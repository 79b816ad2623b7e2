//! Progress of a start or stop on standard error: a spinner on a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// A step that has started and is not finished.
#[derive(Debug)]
pub(crate) struct Step {
    description: String,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Starts a step with this description.
    pub(crate) fn start(description: impl Into<String>) -> Self {
        let description = description.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_message(description.clone());
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            description,
            since: Instant::now(),
            bar,
        }
    }

    /// Shows how far the step is, on a terminal only.
    pub(crate) fn progress(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} ({detail})", self.description));
        }
    }

    /// Ends the step and prints how long it took.
    pub(crate) fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        print_status(&format!(
            "  ok  {} ({:.2} s)",
            self.description,
            self.since.elapsed().as_secs_f64()
        ));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Prints a line for a person to standard error.
pub(crate) fn print_status(line: &str) {
    // There is no other place to report a closed standard error.
    let _closed = writeln!(std::io::stderr(), "{line}");
}

/// Prints a line for scripts to standard output, which has no other lines.
pub(crate) fn print_result(line: &str) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}
