//! Texts used in several reasons and tables.

use pandaemon_machinery::table::human_duration;
use pandaemon_types::Timestamp;

/// The time from `then` to `now`, as kubectl prints ages.
pub(crate) fn ago(then: Timestamp, now: Timestamp) -> String {
    human_duration(now.millis_since(then) / 1000)
}

/// A count with a noun, as in `1 node` or `2 nodes`.
pub(crate) fn plural(count: i64, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

/// Joins at most `limit` names and says how many more there are.
pub(crate) fn join_limited<T: AsRef<str>>(names: &[T], limit: usize) -> String {
    let mut shown: Vec<String> = names
        .iter()
        .take(limit)
        .map(|name| name.as_ref().to_owned())
        .collect();
    if let Some(more) = names.len().checked_sub(limit).filter(|more| *more > 0) {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}
