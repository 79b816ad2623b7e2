//! Recorded events: one for each outcome that upstream records, in the next plan of its set, and
//! none besides.

use std::collections::BTreeMap;

use super::Oracle;
use crate::{
    request::{Request, Violation, ensure},
    value::{Key, Text},
};

/// Reasons that are recorded as warnings.
const WARNINGS: [&str; 5] = [
    "FailedCreate",
    "FailedDelete",
    "FailedDaemonPod",
    "SelectingAll",
    "InvalidSelector",
];

impl Oracle {
    /// Checks the events of a plan against those that are due.
    pub(super) fn check_events(&mut self, requests: &[Request]) -> Result<(), Violation> {
        let mut due: BTreeMap<Key, Vec<(&'static str, String)>> = BTreeMap::new();
        for known in self.known.sets.values() {
            if let Some(work) = self.work.get_mut(&known.set.uid) {
                due.insert(known.set.key.clone(), std::mem::take(&mut work.events));
            }
        }
        for request in requests {
            let Request::Event {
                set,
                warning,
                reason,
                message,
            } = request
            else {
                continue;
            };
            ensure!(
                *warning == WARNINGS.contains(&&**reason),
                "event: type",
                "{reason} is recorded with warning={warning}"
            );
            if self.is_about_selector(set, reason) {
                continue;
            }
            let events = due.entry(set.clone()).or_default();
            let position = events
                .iter()
                .position(|(wanted, part)| *wanted == &**reason && message.contains(part));
            let Some(position) = position else {
                let text = format!("{reason} of {set} is not due: {message}; due are {events:?}");
                return Err(("event: not due", text));
            };
            events.remove(position);
        }
        let missing = due.iter().find(|(_, events)| !events.is_empty());
        ensure!(
            missing.is_none(),
            "event: missing",
            "events are missing: {missing:?}"
        );
        Ok(())
    }

    fn is_about_selector(&self, set: &Key, reason: &Text) -> bool {
        let usable = self
            .known
            .sets
            .get(set)
            .is_some_and(|set| set.selector.is_usable());
        matches!(&**reason, "SelectingAll" | "InvalidSelector") && !usable
    }
}
