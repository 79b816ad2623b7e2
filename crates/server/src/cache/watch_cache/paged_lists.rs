//! The states of paged lists: the objects at the revision of the first page, kept for the later
//! pages.
//!
//! With a kept state the cost of a page depends on the page alone, not on the number of objects or
//! of changes since the first page. A paged list also outlasts the history of the kind.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use imbl::OrdMap;
use pandaemon_store::{Key, Revision};
use parking_lot::Mutex;

use crate::cache::object::Object;

/// All objects of a kind at one revision. A clone takes constant time.
pub type Objects = OrdMap<Key, Arc<Object>>;

/// Maximum number of kept states. The least recently used one is dropped first.
const MAX_STATES: usize = 32;
/// Maximum number of page starts per state with a known count of remaining objects. Several clients
/// may page through one state.
const MAX_COUNTS: usize = 8;
/// How long a state is kept after its last use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct ListState {
    storage: String,
    revision: Revision,
    objects: Objects,
    /// The first key of a page, and the number of objects from it on.
    remaining: VecDeque<(String, u64)>,
    last_used: Instant,
}

/// The states of all paged lists in progress.
#[derive(Debug, Default)]
pub struct PagedLists(Mutex<Vec<ListState>>);

impl PagedLists {
    /// The kept state of a kind at a revision.
    #[must_use]
    pub fn resume(
        &self,
        storage: &str,
        revision: Revision,
        now: Instant,
    ) -> Option<(Revision, Objects)> {
        let mut states = self.0.lock();
        let state = find(&mut states, storage, revision)?;
        state.last_used = now;
        Some((revision, state.objects.clone()))
    }

    /// The number of objects from the key `start` on, if a page counted it before.
    #[must_use]
    pub fn remaining(&self, storage: &str, revision: Revision, start: &str) -> Option<u64> {
        let mut states = self.0.lock();
        let state = find(&mut states, storage, revision)?;
        let (_, remaining) = state.remaining.iter().find(|(key, _)| key == start)?;
        Some(*remaining)
    }

    /// Keeps a state for the next page, which starts at the key `start`. `remaining` is the number
    /// of objects from there on, if it is known.
    pub fn keep(
        &self,
        storage: &str,
        (revision, objects): (Revision, Objects),
        (start, remaining): (String, Option<u64>),
        now: Instant,
    ) {
        let mut states = self.0.lock();
        if find(&mut states, storage, revision).is_none() {
            let oldest = (0..states.len()).min_by_key(|at| states[*at].last_used);
            if let Some(oldest) = oldest.filter(|_| states.len() >= MAX_STATES) {
                states.swap_remove(oldest);
            }
            states.push(ListState {
                storage: storage.to_owned(),
                revision,
                objects,
                remaining: VecDeque::new(),
                last_used: now,
            });
        }
        let Some(state) = find(&mut states, storage, revision) else {
            return;
        };
        state.last_used = now;
        if let Some(remaining) = remaining {
            state.remaining.truncate(MAX_COUNTS - 1);
            state.remaining.push_front((start, remaining));
        }
    }

    /// Drops the states that were not used for a minute.
    pub fn expire(&self, now: Instant) {
        self.0
            .lock()
            .retain(|state| now.saturating_duration_since(state.last_used) < IDLE_TIMEOUT);
    }
}

fn find<'a>(
    states: &'a mut [ListState],
    storage: &str,
    revision: Revision,
) -> Option<&'a mut ListState> {
    states
        .iter_mut()
        .find(|state| state.revision == revision && state.storage == storage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_states_are_dropped() {
        let (lists, start) = (PagedLists::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for revision in 0..100 {
            let next = (format!("/pods/{revision}"), Some(revision));
            lists.keep("pods", (revision, Objects::new()), next, after(revision));
        }
        assert_eq!(lists.0.lock().len(), MAX_STATES);
        assert_eq!(lists.remaining("pods", 99, "/pods/99"), Some(99));
        assert!(lists.resume("pods", 67, after(100)).is_none());
        assert!(lists.resume("nodes", 99, after(100)).is_none());
        assert!(lists.resume("pods", 68, after(150)).is_some());
        lists.expire(after(200));
        assert_eq!(lists.0.lock().len(), 1, "only one was used within a minute");
    }

    #[test]
    fn clients_that_page_through_one_revision_share_a_state() {
        let (lists, now) = (PagedLists::default(), Instant::now());
        for at in 0..20 {
            let next = (format!("/pods/{at}"), Some(at));
            lists.keep("pods", (7, Objects::new()), next, now);
        }
        assert_eq!(lists.0.lock().len(), 1);
        assert_eq!(lists.remaining("pods", 7, "/pods/19"), Some(19));
        assert_eq!(lists.remaining("pods", 7, "/pods/3"), None);
    }
}
