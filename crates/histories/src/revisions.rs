//! Revisions: one write each, and in the order of real time over all objects. What was written or
//! read before a request was sent is not newer than its answer.

use std::collections::BTreeMap;

use crate::history::{Answer, Change, Entry, History, Operation, Request, Version};

/// What is wrong with the revisions.
#[must_use]
pub fn violations(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    used_twice(history, &mut found);
    out_of_order(history, &mut found);
    found
}

/// A revision must mean the same object and value wherever it shows.
fn used_twice(history: &History, found: &mut Vec<String>) {
    let mut known: BTreeMap<u64, (&str, u64)> = BTreeMap::new();
    let mut see = |key, version: Version| {
        let first = *known
            .entry(version.revision)
            .or_insert((key, version.value));
        if first != (key, version.value) {
            let (other, value) = first;
            found.push(format!(
                "revision {} is of {other} with value {value}, and of {key} with value {}",
                version.revision, version.value
            ));
        }
    };
    for operation in &history.operations {
        match (&operation.answer, operation.request.value()) {
            (Answer::Written(revision), Some(value)) => {
                let revision = *revision;
                see(operation.key.as_str(), Version { value, revision });
            }
            (Answer::Found(Some(version)), _) => see(operation.key.as_str(), *version),
            (Answer::Listed(list), _) => {
                for (key, version) in &list.contents {
                    see(key, *version);
                }
            }
            _ => {}
        }
    }
    for entry in history.watches.iter().flat_map(|log| &log.entries) {
        match entry {
            Entry::Listed(list) => {
                for (key, version) in &list.contents {
                    see(key, *version);
                }
            }
            // A deletion shows the last state before it.
            Entry::Event {
                change: Change::Added | Change::Modified,
                key,
                version,
            } => see(key, *version),
            _ => {}
        }
    }
}

/// The revision that an answer shows, and whether the operation made it.
fn shown(operation: &Operation) -> Option<(u64, bool)> {
    match &operation.answer {
        Answer::Written(revision) => Some((*revision, true)),
        Answer::Listed(list) if operation.request == Request::List => Some((list.revision, false)),
        _ => None,
    }
}

/// A write has a newer revision than all answers that had arrived before it was sent; a list is
/// not older.
fn out_of_order(history: &History, found: &mut Vec<String>) {
    let shown_revisions: Vec<_> = history
        .operations
        .iter()
        .filter_map(|operation| {
            let (revision, is_write) = shown(operation)?;
            Some((operation, operation.ended?, revision, is_write))
        })
        .collect();
    let mut by_end: Vec<_> = shown_revisions
        .iter()
        .map(|(_, end, revision, _)| (*end, *revision))
        .collect();
    by_end.sort_unstable();
    let mut newest = 0;
    let newest_at: Vec<(u64, u64)> = by_end
        .into_iter()
        .map(|(end, revision)| {
            newest = newest.max(revision);
            (end, newest)
        })
        .collect();
    for (operation, _, revision, is_write) in shown_revisions {
        let before = newest_at.partition_point(|(end, _)| *end < operation.called);
        let floor = before.checked_sub(1).map_or(0, |at| newest_at[at].1);
        if revision < floor || (is_write && revision == floor) {
            found.push(format!(
                "client {} was answered {:?} {} with revision {revision}, after revision {floor} was known",
                operation.client, operation.request, operation.key
            ));
        }
    }
}
