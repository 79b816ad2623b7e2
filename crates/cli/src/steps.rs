//! Shows the steps of a start as they happen: a spinner on a terminal, plain lines elsewhere.

use std::{
    io::{IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// One step under way.
#[derive(Debug)]
pub(crate) struct Step {
    what: String,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Step {
    /// Begins a step.
    pub(crate) fn begin(what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner().with_message(what.clone());
            if let Ok(style) = ProgressStyle::with_template("  {spinner} {msg} {elapsed}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self {
            what,
            since: Instant::now(),
            bar,
        }
    }

    /// Says how far it is.
    pub(crate) fn at(&self, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} ({detail})", self.what));
        }
    }

    /// Ends the step and prints how long it took.
    pub(crate) fn done(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        say(&format!(
            "  ok  {} ({:.2} s)",
            self.what,
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

/// A line for the person at the terminal.
pub(crate) fn say(line: &str) {
    // Nobody is left to be told when standard error is closed.
    let _closed = writeln!(std::io::stderr(), "{line}");
}

/// A line that scripts may read: the only use of standard output.
pub(crate) fn answer(line: &str) {
    let _closed = writeln!(std::io::stdout(), "{line}");
}
