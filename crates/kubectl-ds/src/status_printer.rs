//! Writes the state of a rollout each time it changed.

use std::io::Write;

use pandaemon_explain::{StatusReport, render_status};
use pandaemon_types::Timestamp;

use crate::{error::CommandError, output::write};

/// How the state is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OutputForm {
    /// The whole state, drawn over the previous one.
    Screen { colours: bool },
    /// A line for each change.
    Lines,
    /// An object a line for each change.
    Json,
}

/// Writes reports that differ from the last one.
pub(crate) struct StatusPrinter<'a, W> {
    form: OutputForm,
    out: &'a mut W,
    last: String,
    /// Lines of the last drawing, which the next one overwrites.
    drawn: usize,
}

impl<'a, W: Write> StatusPrinter<'a, W> {
    pub(crate) const fn new(form: OutputForm, out: &'a mut W) -> Self {
        Self {
            form,
            out,
            last: String::new(),
            drawn: 0,
        }
    }

    pub(crate) const fn is_screen(&self) -> bool {
        matches!(self.form, OutputForm::Screen { .. })
    }

    /// Writes the state if it changed. Returns whether the rollout is done.
    pub(crate) fn show(
        &mut self,
        report: &StatusReport,
        now: Timestamp,
    ) -> Result<bool, CommandError> {
        let text = match self.form {
            OutputForm::Screen { colours } => render_status(report, now, colours),
            OutputForm::Lines => line(report),
            OutputForm::Json => format!("{}\n", serde_json::to_string(report)?),
        };
        if text != self.last {
            match self.form {
                OutputForm::Screen { .. } => {
                    let up = match self.drawn {
                        0 => String::new(),
                        lines => format!("\u{1b}[{lines}A\u{1b}[J"),
                    };
                    self.drawn = text.lines().count();
                    write(self.out, &format!("{up}{text}"))?;
                }
                OutputForm::Lines | OutputForm::Json => write(self.out, &text)?,
            }
            self.last = text;
        }
        Ok(report.done)
    }
}

/// kubectl's message, with the slowest node.
fn line(report: &StatusReport) -> String {
    if report.done {
        return format!("{}\n", report.message);
    }
    let mut text = report.message.clone();
    if let Some(slow) = report.slowest.first() {
        // The group key, because the message changes with the time.
        let why = slow.reasons.first().map(|reason| &*reason.group_key);
        let why = why.unwrap_or("not ready");
        text += &format!(" (slowest: {}: {why})", slow.node);
    }
    format!("{text}\n")
}
