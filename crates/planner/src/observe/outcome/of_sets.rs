//! Outcomes of the requests that a set makes one at a time: for its revisions and its status.

use pandaemon_types::{Timestamp, hash::fnv1a_64};

use crate::{
    action::Severity,
    event::{Failure, FailureKind, Reply},
    planner::Planner,
    revision::new_name,
    view::{RevisionView, SetKey, Status},
};

impl Planner {
    pub(super) fn revision_request_done(
        &mut self,
        key: &SetKey,
        failure: Option<&Failure>,
        now: Timestamp,
    ) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        set.revising = set.revising.saturating_sub(1);
        set.revisions_dirty = true;
        // What is not there needs no further request.
        if let Some(failure) = failure.filter(|failure| failure.kind != FailureKind::NotFound) {
            set.revise_retry.failed(failure, now, set_spread(key));
        }
    }

    pub(super) fn revision_created(
        &mut self,
        key: &SetKey,
        result: Result<Reply, Failure>,
        now: Timestamp,
    ) {
        match result {
            Ok(Reply::Revision(view)) => {
                self.count_collision(key, &view);
                self.apply_revision_reply(*view);
                self.revision_request_done(key, None, now);
            }
            Ok(_) => self.revision_request_done(key, None, now),
            Err(failure) => {
                let failure = Failure {
                    // Of a creation that found nothing, the namespace is gone.
                    kind: match failure.kind {
                        FailureKind::NotFound => FailureKind::Refused,
                        kind => kind,
                    },
                    ..failure
                };
                if let Some(set) = self.sets.get_mut(key)
                    && failure.kind != FailureKind::NamespaceTerminating
                {
                    let message = format!("Error creating: {}", failure.message);
                    set.record_event(Severity::Warning, "FailedCreate", message);
                }
                self.revision_request_done(key, Some(&failure), now);
            }
        }
    }

    /// Counts a collision if a revision with other data has the name, so that the next hash
    /// differs.
    fn count_collision(&mut self, key: &SetKey, view: &RevisionView) {
        let Some(set) = self.sets.get_mut(key) else {
            return;
        };
        if view.canonical == set.view.canonical {
            return;
        }
        if view.name == new_name(&set.view) {
            let count = set.view.status.collision_count.unwrap_or(0);
            set.view.status.collision_count = Some(count + 1);
            set.collided = true;
        }
    }

    pub(super) fn status_written(
        &mut self,
        key: &SetKey,
        status: Status,
        result: Result<Reply, Failure>,
        now: Timestamp,
    ) {
        if let Some(set) = self.sets.get_mut(key) {
            set.writing = None;
            match &result {
                Ok(reply) => {
                    // Another client may have written the status since, and the watch shown that.
                    let is_newest = match reply {
                        Reply::Set(view) => set.view.resource_version <= view.resource_version,
                        _ => true,
                    };
                    if is_newest {
                        set.view.status = status;
                    }
                    set.write_retry.reset();
                }
                Err(failure) => set.write_retry.failed(failure, now, set_spread(key)),
            }
        }
        if let Ok(Reply::Set(view)) = result {
            self.apply_set(*view);
        }
    }
}

/// Jitter for the back-off of a set's requests.
fn set_spread(key: &SetKey) -> u64 {
    fnv1a_64([&*key.name, &*key.namespace].map(str::as_bytes))
}
