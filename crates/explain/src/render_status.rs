//! Prints the state of a rollout as text.

use pandaemon_types::Timestamp;

use crate::{status::StatusReport, text::ago};

/// Characters of the progress bar.
const BAR: usize = 40;

/// Prints the state of a rollout as text.
#[must_use]
pub fn render_status(report: &StatusReport, now: Timestamp, colours: bool) -> String {
    let StatusReport {
        desired,
        updated,
        available,
        ..
    } = report;
    let state = if report.done { "done" } else { "in progress" };
    let mut out = format!(
        "daemonset.apps/{} in {}: {state}\n",
        report.name, report.namespace
    );
    out += &format!(
        "{} {available} of {desired} available\n",
        bar(report, colours)
    );
    out += &format!(
        "desired {desired}, current {}, updated {updated}, ready {}, available {available}",
        report.current, report.ready
    );
    out += &match report.misscheduled {
        0 => "\n".to_owned(),
        count => format!(", misscheduled {count}\n"),
    };
    if !report.revisions.is_empty() {
        out += &format!("\n{}", revision_table(report, now));
    }
    if !report.waits_for.is_empty() {
        out += "\nwaits for:\n";
        for wait in &report.waits_for {
            out += &format!("  {wait}\n");
        }
    }
    if !report.slowest.is_empty() {
        out += "\nslowest nodes:\n";
        for slow in &report.slowest {
            let why: Vec<&str> = slow.reasons.iter().map(|r| &*r.message).collect();
            let (node, age) = (&slow.node, ago(slow.since, now));
            out += &format!("  {node}  {age}  {}\n", why.join("; "));
        }
    }
    out
}

/// `[=====>....]`: `=` for updated and available, `-` for updated only.
fn bar(report: &StatusReport, colours: bool) -> String {
    let share = |count: usize| {
        let desired = report.desired.max(1);
        (count.min(desired) * BAR) / desired
    };
    let (full, part) = if report.desired == 0 && report.done {
        (BAR, BAR)
    } else {
        let both = report.available.min(report.updated);
        (share(both), share(report.updated.max(both)))
    };
    let (done, under_way) = ("=".repeat(full), "-".repeat(part - full));
    let rest = ".".repeat(BAR - part);
    if colours {
        format!("[\u{1b}[32m{done}\u{1b}[0m\u{1b}[33m{under_way}\u{1b}[0m{rest}]")
    } else {
        format!("[{done}{under_way}{rest}]")
    }
}

fn revision_table(report: &StatusReport, now: Timestamp) -> String {
    let mut rows =
        vec![["REVISION", "NODES", "READY", "AGE", "HASH", "CHANGE-CAUSE"].map(str::to_owned)];
    for revision in &report.revisions {
        let number = revision
            .revision
            .map_or_else(|| "?".to_owned(), |n| n.to_string());
        let newest = if revision.newest { " (newest)" } else { "" };
        rows.push([
            format!("{number}{newest}"),
            revision.nodes.to_string(),
            revision.ready.to_string(),
            revision.created.map_or_else(String::new, |at| ago(at, now)),
            revision.hash.clone(),
            revision
                .change_cause
                .clone()
                .unwrap_or_else(|| "<none>".to_owned()),
        ]);
    }
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 6]| {
        let cells = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}   "));
        format!("{}\n", cells.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}
