//! Prints a report: a summary line, notes, and a table.

use std::collections::BTreeMap;

use pandaemon_types::Timestamp;

use crate::{
    reason::Reason,
    report::{Change, NodeReport, Report, Verdict},
    text::{ago, join_limited},
};

/// With more nodes than this, those with the same reasons share a line.
const GROUPED_ABOVE: usize = 50;
/// Nodes named as examples of a group.
const EXAMPLES: usize = 3;
/// Nodes named in lists.
const NAMED: usize = 10;

/// The form of the table.
#[derive(Debug, Clone, Copy, Default)]
pub struct TableOptions {
    /// Adds the columns of `-o wide`.
    pub wide: bool,
    /// Every node on a line of its own, however many there are.
    pub all: bool,
    /// Colours verdicts for a terminal.
    pub colours: bool,
}

/// Prints a report as text.
#[must_use]
pub fn render(report: &Report, now: Timestamp, options: TableOptions) -> String {
    let mut out = format!("{}\n", summary(report));
    for note in &report.notes {
        out += &format!("note: {note}\n");
    }
    if let Some(change) = &report.change {
        out += &changes(report, change);
    }
    if report.nodes.is_empty() {
        return out;
    }
    out.push('\n');
    let grouped = report.nodes.len() > GROUPED_ABOVE && !options.all && !options.wide;
    out += &if grouped {
        groups(report, options)
    } else {
        rows(report, now, options)
    };
    out
}

fn summary(report: &Report) -> String {
    let sums = &report.summary;
    let nodes = if sums.nodes == 1 { "node" } else { "nodes" };
    let run = if sums.runs == 1 { "runs" } else { "run" };
    let mut text = format!(
        "{} {nodes}: {} {run}, {} will run, {} must not, {} cannot yet",
        thousands(sums.nodes),
        thousands(sums.runs),
        thousands(sums.will_run),
        thousands(sums.must_not_run),
        thousands(sums.cannot_run_yet),
    );
    if sums.outdated > 0 {
        text += &format!(" ({} outdated)", thousands(sums.outdated));
    }
    text
}

/// A number with thousands separators, as in `12,345`.
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn changes(report: &Report, change: &Change) -> String {
    let name = format!("daemonset.apps/{} in {}", report.name, report.namespace);
    if !change.exists {
        return format!("dry run: would create {name}; nothing was created\n");
    }
    let mut out = format!("dry run: would update {name}; nothing was changed\n");
    out += match (change.template_changed, change.fields.is_empty()) {
        (true, _) => "the pod template changes, so pods are replaced:\n",
        (false, false) => "the pod template stays, so no pod is replaced:\n",
        (false, true) => "no field of the spec changes\n",
    };
    for field in change.fields.iter().take(NAMED) {
        out += &format!("  {field}\n");
    }
    if let Some(more) = change.fields.len().checked_sub(NAMED).filter(|n| *n > 0) {
        out += &format!("  and {more} fields more\n");
    }
    for (what, nodes) in [("gains", &change.gained), ("loses", &change.lost)] {
        if !nodes.is_empty() {
            out += &format!("{what}: {}\n", join_limited(nodes, NAMED));
        }
    }
    if !change.order.is_empty() {
        let order = join_limited(&change.order, NAMED);
        out += &match change.at_once {
            0 => format!("to be replaced once they are deleted: {order}\n"),
            at_once => format!("order of the update, {at_once} at a time: {order}\n"),
        };
    }
    out
}

fn rows(report: &Report, now: Timestamp, options: TableOptions) -> String {
    let mut head = vec!["NODE", "VERDICT", "POD", "REVISION", "AGE"];
    if options.wide {
        head.extend(["PHASE", "READY", "RESTARTS", "HASH"]);
    }
    head.push("WHY");
    let mut table = vec![Row::plain(&head)];
    for node in &report.nodes {
        row(node, now, options, &mut table);
    }
    print(&table, options)
}

struct Row {
    cells: Vec<String>,
    verdict: Option<Verdict>,
}

impl Row {
    fn plain(cells: &[&str]) -> Self {
        let cells = cells.iter().map(|cell| (*cell).to_owned()).collect();
        Self {
            cells,
            verdict: None,
        }
    }
}

/// One line for a node, and one more for each further reason.
fn row(node: &NodeReport, now: Timestamp, options: TableOptions, table: &mut Vec<Row>) {
    let mut cells = vec![node.name.to_string(), node.verdict.words().to_owned()];
    let none = || "<none>".to_owned();
    let pod = node.pods.first();
    cells.push(pod.map_or_else(none, |pod| pod.name.to_string()));
    cells.push(pod.map_or_else(String::new, revision));
    cells.push(pod.map_or_else(String::new, |pod| ago(pod.created, now)));
    if options.wide {
        let of =
            |text: &dyn Fn(&crate::report::PodReport) -> String| pod.map_or_else(String::new, text);
        cells.push(of(&|pod| pod.phase.to_owned()));
        cells.push(of(&|pod| pod.ready.to_string()));
        cells.push(of(&|pod| pod.restarts.to_string()));
        cells.push(of(&|pod| pod.hash.clone().unwrap_or_default()));
    }
    let width = cells.len();
    let mut reasons = node.reasons.iter().chain(&node.remarks);
    let first = reasons.next();
    cells.push(first.map_or_else(String::new, |reason| reason.message.clone()));
    table.push(Row {
        cells,
        verdict: Some(node.verdict),
    });
    for reason in reasons {
        let mut cells = vec![String::new(); width];
        cells.push(reason.message.clone());
        table.push(Row {
            cells,
            verdict: None,
        });
    }
}

fn revision(pod: &crate::report::PodReport) -> String {
    let old = if pod.newest { "" } else { " (old)" };
    match (&pod.revision, &pod.hash) {
        (Some(number), _) => format!("{number}{old}"),
        (None, Some(hash)) => format!("{hash}{old}"),
        (None, None) => format!("?{old}"),
    }
}

fn groups(report: &Report, options: TableOptions) -> String {
    type Key<'a> = (usize, Verdict, Vec<&'a str>);
    let mut groups: BTreeMap<Key<'_>, Vec<&NodeReport>> = BTreeMap::new();
    let mut order: BTreeMap<(Verdict, Vec<&str>), usize> = BTreeMap::new();
    for node in &report.nodes {
        let all = || node.reasons.iter().chain(&node.remarks);
        let group_keys: Vec<&str> = all().map(|reason| &*reason.group_key).collect();
        let next = order.len();
        let place = *order
            .entry((node.verdict, group_keys.clone()))
            .or_insert(next);
        groups
            .entry((place, node.verdict, group_keys))
            .or_default()
            .push(node);
    }
    let mut table = vec![Row::plain(&["VERDICT", "NODES", "WHY", "EXAMPLES"])];
    for ((_, verdict, group_keys), nodes) in &groups {
        let names: Vec<&str> = nodes.iter().map(|node| &*node.name).collect();
        let shown = names.get(..EXAMPLES.min(names.len())).unwrap_or_default();
        let dots = if names.len() > EXAMPLES { ", ..." } else { "" };
        table.push(Row {
            cells: vec![
                verdict.words().to_owned(),
                thousands(nodes.len()),
                why(group_keys, nodes),
                format!("{}{dots}", shown.join(", ")),
            ],
            verdict: Some(*verdict),
        });
    }
    print(&table, options) + "\n--all shows every node\n"
}

/// The messages if all nodes of a group have the same, else the group keys.
fn why(group_keys: &[&str], nodes: &[&NodeReport]) -> String {
    let sentences = |node: &NodeReport| -> Vec<String> {
        let all = node.reasons.iter().chain(&node.remarks);
        all.map(|reason: &Reason| reason.message.clone()).collect()
    };
    let first = nodes
        .first()
        .map(|node| sentences(node))
        .unwrap_or_default();
    if nodes.iter().all(|node| sentences(node) == first) {
        first.join("; ")
    } else {
        group_keys.join("; ")
    }
}

/// Lines up the columns as kubectl does: three spaces between them.
fn print(table: &[Row], options: TableOptions) -> String {
    let columns = table.iter().map(|row| row.cells.len()).max().unwrap_or(0);
    let width = |column: usize| {
        let lengths = table.iter().filter_map(|row| row.cells.get(column));
        lengths.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in table {
        let mut line = String::new();
        for ((column, cell), width) in row.cells.iter().enumerate().zip(&widths) {
            let gap = if column + 1 == columns { 0 } else { width + 3 };
            let padded = format!("{cell:gap$}");
            let is_verdict = row.verdict.is_some_and(|verdict| *cell == verdict.words());
            line += &match row.verdict {
                Some(verdict) if is_verdict && options.colours => coloured(verdict, &padded),
                _ => padded,
            };
        }
        out += line.trim_end();
        out.push('\n');
    }
    out
}

fn coloured(verdict: Verdict, text: &str) -> String {
    let code = match verdict {
        Verdict::Runs => 32,
        Verdict::WillRun => 36,
        Verdict::MustNotRun => 90,
        Verdict::CannotRunYet => 31,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
