//! Lists read in pages: the state of the first page, kept until the last page has been read.
//!
//! With it a page costs what is on the page, however many objects there are and however many have
//! changed since the walk began; and a walk survives changes that the history has no room for.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use imbl::OrdMap;
use pandaemon_store::{Key, Revision};
use parking_lot::Mutex;

use crate::object::Object;

/// All objects of a kind at one revision. Cheap to clone.
pub type Objects = OrdMap<Key, Arc<Object>>;

/// Walks that are kept at most; the one that has rested longest goes first.
const WALKS: usize = 32;
/// Places of one state whose rest is known, as several clients may walk through the same state.
const PLACES: usize = 8;
/// How long a walk may rest.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Walk {
    storage: &'static str,
    revision: Revision,
    objects: Objects,
    /// First key of a page, and how many objects there are from it on.
    rests: VecDeque<(String, u64)>,
    used: Instant,
}

/// All walks under way.
#[derive(Debug, Default)]
pub struct Walks(Mutex<Vec<Walk>>);

impl Walks {
    /// The state of a walk that is under way.
    #[must_use]
    pub fn resume(
        &self,
        storage: &str,
        revision: Revision,
        now: Instant,
    ) -> Option<(Revision, Objects)> {
        let mut walks = self.0.lock();
        let walk = find(&mut walks, storage, revision)?;
        walk.used = now;
        Some((revision, walk.objects.clone()))
    }

    /// How many objects there are from `start` on, if that was counted.
    #[must_use]
    pub fn rest(&self, storage: &str, revision: Revision, start: &str) -> Option<u64> {
        let mut walks = self.0.lock();
        let walk = find(&mut walks, storage, revision)?;
        let (_, rest) = walk.rests.iter().find(|(key, _)| key == start)?;
        Some(*rest)
    }

    /// Keeps the state for the next page, which begins at `start` and of which `rest` are left.
    pub fn keep(
        &self,
        storage: &'static str,
        state: (Revision, Objects),
        (start, rest): (String, Option<u64>),
        now: Instant,
    ) {
        let (revision, objects) = state;
        let mut walks = self.0.lock();
        if find(&mut walks, storage, revision).is_none() {
            let oldest = (0..walks.len()).min_by_key(|at| walks[*at].used);
            if let Some(oldest) = oldest.filter(|_| walks.len() >= WALKS) {
                walks.swap_remove(oldest);
            }
            walks.push(Walk {
                storage,
                revision,
                objects,
                rests: VecDeque::new(),
                used: now,
            });
        }
        let Some(walk) = find(&mut walks, storage, revision) else {
            return;
        };
        walk.used = now;
        if let Some(rest) = rest {
            walk.rests.truncate(PLACES - 1);
            walk.rests.push_front((start, rest));
        }
    }

    /// Forgets walks that nobody goes on with.
    pub fn expire(&self, now: Instant) {
        self.0
            .lock()
            .retain(|walk| now.saturating_duration_since(walk.used) < IDLE);
    }
}

fn find<'a>(walks: &'a mut [Walk], storage: &str, revision: Revision) -> Option<&'a mut Walk> {
    walks
        .iter_mut()
        .find(|walk| walk.revision == revision && walk.storage == storage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_are_kept_while_they_are_used() {
        let (walks, start) = (Walks::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        for revision in 0..100 {
            let next = (format!("/pods/{revision}"), Some(revision));
            walks.keep("pods", (revision, Objects::new()), next, after(revision));
        }
        assert_eq!(walks.0.lock().len(), WALKS);
        assert_eq!(walks.rest("pods", 99, "/pods/99"), Some(99));
        assert!(walks.resume("pods", 67, after(100)).is_none());
        assert!(walks.resume("nodes", 99, after(100)).is_none());
        assert!(walks.resume("pods", 68, after(150)).is_some());
        walks.expire(after(200));
        assert_eq!(walks.0.lock().len(), 1, "all but one rested for a minute");
    }

    #[test]
    fn one_state_serves_several_walks() {
        let (walks, now) = (Walks::default(), Instant::now());
        for at in 0..20 {
            let next = (format!("/pods/{at}"), Some(at));
            walks.keep("pods", (7, Objects::new()), next, now);
        }
        assert_eq!(walks.0.lock().len(), 1);
        assert_eq!(walks.rest("pods", 7, "/pods/19"), Some(19));
        assert_eq!(walks.rest("pods", 7, "/pods/3"), None);
    }
}
