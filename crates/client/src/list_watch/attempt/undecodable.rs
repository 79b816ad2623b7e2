//! Objects that cannot be decoded. What is known of them is kept as long as they exist.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    super::{
        decode::Skipped,
        event::{Handler, ListWatchEvent},
        versions::Change,
    },
    Attempt, End,
};

/// How often they are logged.
const WARN_EVERY: Duration = Duration::from_secs(60);

impl<H: Handler> Attempt<'_, H> {
    /// The events of undecodable objects of a page. `None` if the list is from an older server.
    pub(super) fn list_undecodable(
        &mut self,
        objects: &[(Skipped, serde_json::Error)],
    ) -> Option<Vec<ListWatchEvent<H::Object>>> {
        let mut events = Vec::new();
        for (object, _) in objects {
            let identity = object.identity();
            if !self.versions.list(&identity.uid, identity.version) {
                return None;
            }
            events.push(ListWatchEvent::Undecodable(identity));
        }
        Some(events)
    }

    /// Takes in a line whose object cannot be decoded. `Some` if the watch is over.
    pub(super) fn observe_undecodable(
        &mut self,
        change: Change,
        object: &Skipped,
        events: &mut Vec<ListWatchEvent<H::Object>>,
    ) -> Option<End> {
        let identity = object.identity();
        if self.listed {
            self.heard = true;
            let is_news = self
                .versions
                .accept(change, &identity.uid, identity.version);
            if is_news && change == Change::Deleted {
                events.push(ListWatchEvent::DeletedUndecodable(identity));
            }
            return None;
        }
        match change {
            Change::Applied if !self.versions.list(&identity.uid, identity.version) => {
                return Some(End::Behind);
            }
            Change::Applied => events.push(ListWatchEvent::Undecodable(identity)),
            Change::Deleted => {
                self.versions.unlist(&identity.uid);
                events.push(ListWatchEvent::DeletedUndecodable(identity));
            }
        }
        None
    }

    /// Counts an object that could not be decoded, and logs it once in a while.
    pub(super) fn report(&mut self, object: &Skipped, error: &serde_json::Error) {
        self.counters.skipped.inc();
        if self.warned.is_some_and(|at| at.elapsed() < WARN_EVERY) {
            return;
        }
        self.warned = Some(Instant::now());
        tracing::warn!(
            path = self.source.path,
            object = ?object.identity(),
            %error,
            "an object cannot be decoded: what is known of it is kept; further ones of the next minute \
             are only counted"
        );
    }
}
