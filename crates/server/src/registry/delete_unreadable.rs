//! Deletion of an object whose stored value cannot be read, with the option
//! `ignoreStoreReadErrorWithClusterBreakingPotential`.
//! Upstream: `registry/generic/registry/corrupt_obj_deleter.go`.

use pandaemon_machinery::{
    Status,
    status::Result,
    validation::{ErrorType, FieldError},
};
use pandaemon_store::Expect;

use super::{Call, CommitError, ObjectWrite, Registry, options::IGNORE_READ_ERROR};
use crate::auth::Attributes;

/// The verb that a user needs beside `delete`.
const VERB: &str = "unsafe-delete-ignore-read-errors";

impl Registry {
    /// Deletes the object of the call, of which nothing is known: no finalizer and no precondition
    /// holds it up.
    ///
    /// # Errors
    /// 404; 403 if the user may not; 422 if the object can be read; 409 if it was changed
    /// meanwhile.
    pub(super) async fn delete_unreadable(&self, call: &Call, dry_run: bool) -> Result<()> {
        let Some((key, revision)) = self.unreadable(call) else {
            self.current(call)?;
            return Err(readable(call));
        };
        if let Some(authorizers) = &call.authorizers {
            let attributes = Attributes {
                namespace: &call.namespace,
                api_group: &call.kind.group,
                api_version: &call.kind.version,
                resource: &call.kind.plural,
                name: &call.name,
                ..Attributes::new(&call.user, VERB)
            };
            authorizers.check(&attributes).await?;
        }
        tracing::warn!(key = &*key, "deletes an object that cannot be read");
        let write = ObjectWrite {
            key,
            expect: Expect::At(revision),
            new: None,
            depends_on: None,
            turn: None,
            dry_run,
        };
        match self.commit(call, write).await {
            Ok(_) => Ok(()),
            Err(CommitError::Failed(status)) => Err(status),
            Err(CommitError::Conflict | CommitError::Outdated) => {
                Err(Status::modified_since_read(&call.kind, &call.name))
            }
        }
    }
}

fn readable(call: &Call) -> Box<Status> {
    let error = FieldError {
        field: IGNORE_READ_ERROR.into(),
        error_type: ErrorType::Invalid("true".into()),
        detail:
            "is exclusively used to delete corrupt object(s), try again by removing this option"
                .into(),
    };
    // Upstream puts the resource there.
    Status::invalid_kind(&call.kind.group, &call.kind.plural, &call.name, &[error])
}
