//! `pandaemon restore`: a data directory goes on with a backup.
//!
//! The backup is read as a whole before anything is changed. Encryption keys are added first, which
//! changes nothing for the present store. Then the store is replaced in one step, and CAs and
//! tokens follow it ([`super::staged`]): a restore that is interrupted has happened, or has not.

mod keys;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use pandaemon_runtime::files::private_dir;
use pandaemon_server::resource_of_prefix;
use pandaemon_store::{BackupReader, OfflineStore};
use pandaemon_types::time::rfc3339_seconds;

use self::keys::KeyPlan;
use super::{
    backup::{Inside, megabytes, read},
    confirm::confirm,
    repair::replaced,
    staged::{settle, stage},
    store::key_file,
};
use crate::{
    args::RestoreArgs,
    progress::{Step, print_result, print_status},
    table,
};

/// Restores a backup.
pub(crate) fn run(args: &RestoreArgs) -> anyhow::Result<()> {
    let step = Step::start("Read and check the backup");
    let inside = Inside::of(read(&args.file, BackupReader::keeping())?)?;
    step.finish();
    let directory = args.data_dir.join("store");
    let present = match directory.is_dir() {
        true => Some(OfflineStore::open(&directory)?),
        false => None,
    };
    if let Some(present) = &present {
        // What an interrupted restore has left would be taken for the present keys.
        settled(&args.data_dir, present.report().revision)?;
    }
    let key_file = key_file(&args.data_dir, args.encryption_key_file.as_deref());
    let plan = KeyPlan::new(&inside, &args.data_dir, &key_file)?;
    for line in comparison(&inside, present.as_ref()) {
        print_result(&line);
    }
    for line in consequences(&inside, present.as_ref(), &args.data_dir) {
        print_status(&line);
    }
    for line in plan.lines() {
        print_status(&line);
    }
    match plan.missing() {
        Some(missing) if args.allow_missing_keys => print_status(&format!("WARNING: {missing}")),
        Some(missing) => bail!("nothing was changed: {missing}"),
        None => {}
    }
    if !args.yes {
        confirm("restore")?;
    }
    apply(args, &inside, &plan, present)
}

fn apply(
    args: &RestoreArgs,
    inside: &Inside,
    plan: &KeyPlan<'_>,
    present: Option<OfflineStore>,
) -> anyhow::Result<()> {
    let data_dir = &args.data_dir;
    let created = || format!("create the data directory {}", data_dir.display());
    private_dir(data_dir).with_context(created)?;
    let directory = data_dir.join("store");
    let store = match present {
        Some(present) => present,
        None => OfflineStore::create(&directory)?,
    };
    plan.add_encryption_keys()?;
    if plan.replaces_pki() {
        let revision = store.restored_revision(&inside.contents);
        let staged = stage(data_dir, revision, plan.files());
        staged.with_context(|| format!("write keys to {}", data_dir.display()))?;
    }
    let done = store.restore(&inside.contents)?;
    let kept = settled(data_dir, done.revision)?;
    print_status(&replaced(&done, &directory));
    if let Some(kept) = kept {
        print_status(&format!(
            "      The CAs and tokens from before are in {}",
            kept.display()
        ));
    }
    Ok(())
}

fn settled(data_dir: &Path, revision: u64) -> anyhow::Result<Option<std::path::PathBuf>> {
    let settled = settle(data_dir, revision);
    settled.with_context(|| format!("move the restored keys in {}", data_dir.display()))
}

/// The objects that there are, and those of the backup.
fn comparison(inside: &Inside, present: Option<&OfflineStore>) -> Vec<String> {
    let now = present.map_or_else(BTreeMap::new, OfflineStore::counts);
    let backup = &inside.contents.counts;
    let mut prefixes: Vec<&String> = now.keys().chain(backup.keys()).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    let count = |counts: &BTreeMap<String, u64>, prefix: &str| {
        counts.get(prefix).copied().unwrap_or_default().to_string()
    };
    let mut rows: Vec<[String; 3]> = prefixes
        .into_iter()
        .map(|prefix| {
            let name = resource_of_prefix(prefix);
            [name, count(&now, prefix), count(backup, prefix)]
        })
        .collect();
    rows.push([
        "all".to_owned(),
        now.values().sum::<u64>().to_string(),
        inside.contents.count().to_string(),
    ]);
    table::lines(["RESOURCE", "NOW", "BACKUP"], &rows)
}

/// What a restore does with the store.
fn consequences(inside: &Inside, present: Option<&OfflineStore>, data_dir: &Path) -> Vec<String> {
    let time = inside.manifest.time;
    let age = Timestamp::now().duration_since(time).as_secs().max(0);
    let mut lines = vec![format!(
        "The backup was made at {} ({}) and has revision {} and {}.",
        rfc3339_seconds(time),
        ago(age),
        inside.contents.revision,
        megabytes(inside.contents.bytes)
    )];
    let Some(present) = present else {
        lines.push(format!("There is no store in {} yet.", data_dir.display()));
        return lines;
    };
    let report = present.report();
    lines.push(format!(
        "The store in {} is at revision {} at most. What was written since the backup is lost: objects that were created \
         are gone, those that were changed are older, and those that were deleted are back. Clients list everything \
         again. The old files are kept.",
        data_dir.display(),
        report.revision
    ));
    if !report.damage.is_empty() {
        lines.push("It is damaged: what cannot be read of it is not counted.".to_owned());
    }
    lines
}

/// How long ago, for people.
fn ago(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match (hours, minutes) {
        (48.., _) => format!("{} days ago", hours / 24),
        (2.., _) => format!("{hours} hours ago"),
        (_, 2..) => format!("{minutes} minutes ago"),
        _ => "just now".to_owned(),
    }
}
