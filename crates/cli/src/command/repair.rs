//! `pandaemon store check` and `pandaemon store repair`: the files of a store that no server uses.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use pandaemon_store::{FileReport, OfflineStore, Replaced, Report, check};

use super::confirm::confirm;
use crate::{
    args::{CheckStoreArgs, RepairStoreArgs, StoreCommand},
    progress::{print_result, print_status},
    table,
};

/// So many keys are shown by name.
const KEYS: usize = 20;

/// Runs one of the commands.
pub(crate) fn run(command: StoreCommand) -> anyhow::Result<()> {
    match command {
        StoreCommand::Check(args) => run_check(&args),
        StoreCommand::Repair(args) => run_repair(&args),
    }
}

fn run_check(args: &CheckStoreArgs) -> anyhow::Result<()> {
    let directory = directory(&args.directory)?;
    let report = check(&directory)?;
    for line in lines(&report) {
        print_result(&line);
    }
    let damage = report.damage.len();
    ensure!(
        damage == 0,
        "the store {} is damaged in {damage} {}: restore it from a backup, or keep what can be read with \
         `pandaemon store repair {}`",
        directory.display(),
        if damage == 1 { "place" } else { "places" },
        directory.display()
    );
    Ok(())
}

fn run_repair(args: &RepairStoreArgs) -> anyhow::Result<()> {
    let directory = directory(&args.store.directory)?;
    let store = OfflineStore::open(&directory)?;
    let report = store.report();
    for line in lines(&report) {
        print_result(&line);
    }
    if report.damage.is_empty() {
        print_status("  ok  The store is not damaged; there is nothing to repair");
        return Ok(());
    }
    for line in consequences(&report) {
        print_status(&line);
    }
    if !args.yes {
        confirm("repair")?;
    }
    print_status(&replaced(&store.repair()?, &directory));
    Ok(())
}

/// What was done.
pub(super) fn replaced(replaced: &Replaced, directory: &Path) -> String {
    let Replaced {
        entries,
        revision,
        kept,
        ..
    } = replaced;
    let kept = kept.as_ref().map_or_else(String::new, |kept| {
        format!("; the old files are in {}", directory.join(kept).display())
    });
    format!("  ok  The store continues with {entries} entries at revision {revision}{kept}")
}

/// The directory of the store.
fn directory(given: &Path) -> anyhow::Result<PathBuf> {
    let below = given.join("store");
    let store = if below.is_dir() {
        below
    } else {
        given.to_owned()
    };
    let files = store.read_dir();
    let files = files.with_context(|| format!("read the directory {}", store.display()))?;
    let is_ours = |name: &str| name.starts_with("log-") || name.starts_with("checkpoint-");
    let mut names = files
        .flatten()
        .map(|file| file.file_name().to_string_lossy().into_owned());
    ensure!(
        names.any(|name| is_ours(&name)),
        "there is no store in {}: name the data directory of a control plane",
        given.display()
    );
    Ok(store)
}

/// What is in the files, and what is wrong with them.
fn lines(report: &Report) -> Vec<String> {
    let header = [
        "FILE",
        "FORMAT",
        "BYTES",
        "FRAMES",
        "SEQUENCES",
        "VALUES",
        "REVISIONS",
        "STATE",
    ];
    let rows: Vec<[String; 8]> = report.files.iter().map(|file| row(file, report)).collect();
    let mut lines = table::lines(header, &rows);
    for damage in &report.damage {
        lines.push(format!(
            "damaged: {} at byte {}, {} bytes: {}",
            damage.file.display(),
            damage.at,
            damage.bytes,
            damage.missing
        ));
    }
    lines.push(format!(
        "{} entries can be read, up to revision {}",
        report.entries, report.revision
    ));
    lines
}

fn row(file: &FileReport, report: &Report) -> [String; 8] {
    let span = |span: Option<(u64, u64)>| match span {
        Some((low, high)) => format!("{low}-{high}"),
        None => "-".to_owned(),
    };
    let is_damaged = |name: &str| {
        let mut damage = report.damage.iter();
        damage.any(|damage| damage.file.ends_with(name))
    };
    let state = match file {
        file if is_damaged(&file.name) => "damaged".to_owned(),
        file if file.is_replaced => "replaced by a checkpoint".to_owned(),
        FileReport { torn: Some(at), .. } => format!("ends in a torn frame at byte {at}"),
        FileReport { format: 0, .. } => "empty".to_owned(),
        _ => "ok".to_owned(),
    };
    let format = match file.format {
        0 => "-".to_owned(),
        version => version.to_string(),
    };
    [
        file.name.clone(),
        format,
        file.size.to_string(),
        file.frames.to_string(),
        span(file.sequences),
        file.values.to_string(),
        span(file.revisions),
        state,
    ]
}

/// What a repair does.
fn consequences(report: &Report) -> Vec<String> {
    let mut lines = vec![
        "A repair goes on with what can be read. What was written by the damaged frames is lost: objects that they \
         created are gone, those that they changed are older, and those that they deleted are back. Clients list \
         everything again. The old files are kept."
            .to_owned(),
    ];
    if report.kept_frames > 0 {
        let shown = report.kept_keys.iter().take(KEYS);
        let shown: Vec<&str> = shown.map(|key| &**key).collect();
        let more = report.kept_keys.len().saturating_sub(KEYS);
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        lines.push(format!(
            "{} frames behind the damage are kept, with {}{more}",
            report.kept_frames,
            shown.join(", ")
        ));
    }
    lines
}
