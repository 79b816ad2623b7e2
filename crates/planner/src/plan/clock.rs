//! Clock steps: when the clock is set back, pending back-offs keep their remaining time.

use pandaemon_types::Timestamp;

use crate::{planner::Planner, pod_state::Deletion, set::Set};

impl Planner {
    /// Records the time of a plan. If the clock was set back, shifts all back-offs by the same
    /// amount and assesses every node again.
    pub(super) fn handle_clock_step(&mut self, now: Timestamp) {
        let back = self.clock.millis_since(now);
        self.clock = now;
        if back <= 0 {
            return;
        }
        self.wakes.clear();
        for (key, set) in &mut self.sets {
            shift_back_offs(set, back);
            self.dirty.insert(key.clone());
        }
        for pod in self.pods.values_mut() {
            if let Deletion::Unanswered(until) = &mut pod.deletion {
                *until = until.plus_millis(-back);
            }
            // A time in the future counts as now, as for new events.
            pod.ready_since = pod.ready_since.map(|since| since.min(now));
        }
    }
}

fn shift_back_offs(set: &mut Set, back: i64) {
    set.patches.shift(-back);
    set.patch_queue.shift(-back);
    set.revise_retry.shift(-back);
    set.write_retry.shift(-back);
    set.creates.shift(-back);
    set.deletes.shift(-back);
    set.wake = None;
    // The timers of nodes follow from their assessments.
    set.timers.clear();
    for state in set.nodes.values_mut() {
        state.wake = None;
        let creating = state.creating.as_mut();
        if let Some(until) = creating.and_then(|creating| creating.unclear_until.as_mut()) {
            *until = until.plus_millis(-back);
        }
        if let Some(back_off) = &mut state.back_off {
            back_off.since = back_off.since.plus_millis(-back);
        }
    }
    set.touch_all();
}
