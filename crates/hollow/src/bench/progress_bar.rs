//! Shows the progress of a phase: a bar on a terminal, and one line at its end.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::say;

/// The progress bar of a phase.
pub(super) struct PhaseBar {
    name: &'static str,
    bar: Option<ProgressBar>,
}

impl PhaseBar {
    /// Starts the bar of a phase with this number of steps.
    pub(super) fn begin(name: &'static str, steps: u32) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(steps.into());
            let style = "  {spinner} {prefix:16} {bar:30} {pos:>6}/{len} {elapsed} {msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_prefix(name);
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { name, bar }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    /// Adds one step.
    pub(super) fn step(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Sets the number of steps done, and a text beside the bar.
    pub(super) fn at(&self, steps: usize, detail: String) {
        if let Some(bar) = &self.bar {
            bar.set_position(u64::try_from(steps).unwrap_or(u64::MAX));
            bar.set_message(detail);
        }
    }

    /// Ends the bar and prints the phase's seconds with a detail.
    pub(super) fn done(self, seconds: f64, detail: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let comma = if detail.is_empty() { "" } else { ", " };
        say(&format!(
            "  ok  {} ({seconds:.2} s{comma}{detail})",
            self.name
        ));
    }
}

impl Drop for PhaseBar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
