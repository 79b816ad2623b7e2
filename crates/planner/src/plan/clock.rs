//! A clock that is set back: what was to come after a while still comes after that while.

use pandaemon_types::Timestamp;

use crate::{cell::Doomed, index::Planner, set::Set};

impl Planner {
    /// Takes note of the time. If the clock was set back, pauses that had begun are moved along, and
    /// everything that depends on the time is looked at again.
    pub(super) fn mind_clock(&mut self, now: Timestamp) {
        let back = self.clock.millis_since(now);
        self.clock = now;
        if back <= 0 {
            return;
        }
        self.wakes.clear();
        for (key, set) in &mut self.sets {
            rewind(set, back);
            self.dirty.insert(key.clone());
        }
        for pod in self.pods.values_mut() {
            if let Doomed::Failed(until) = &mut pod.doomed {
                *until = until.plus_millis(-back);
            }
            // What lies in the future counts as the moment it was heard of.
            pod.ready_since = pod.ready_since.map(|since| since.min(now));
        }
    }
}

fn rewind(set: &mut Set, back: i64) {
    let pauses = [
        &mut set.pace.retry_at,
        &mut set.revise_after,
        &mut set.write_after,
        &mut set.claim_after,
    ];
    for at in pauses.into_iter().flatten() {
        *at = at.plus_millis(-back);
    }
    set.wake = None;
    let timers = std::mem::take(&mut set.timers).into_iter();
    set.timers = timers
        .map(|(at, node)| (at.plus_millis(-back), node))
        .collect();
    for cell in set.cells.values_mut() {
        cell.wake = cell.wake.map(|at| at.plus_millis(-back));
        if let Some(creating) = &mut cell.creating {
            creating.retry_at = creating.retry_at.plus_millis(-back);
        }
        if let Some(back_off) = &mut cell.back_off {
            back_off.since = back_off.since.plus_millis(-back);
        }
    }
    set.touch_all();
}
