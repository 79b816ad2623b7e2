//! The label of a Secret that says on which day its token was used last. Upstream:
//! `patchSecretWithLastUsedDate`.

use jiff::{Timestamp, tz::TimeZone};
use pandaemon_types::Labels as _;

use crate::{
    cache::object::Object,
    registry::{Registry, kinds, meta},
};

/// The label with the day of the last use.
pub(super) const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";

/// A use of the token of a Secret on a day that its label does not have yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Use {
    namespace: String,
    name: String,
    uid: String,
    /// Such as `2026-11-28`.
    day: String,
}

impl Use {
    /// A use now; `None` if the label has this day, or the next, of another server whose clock is
    /// ahead.
    pub(super) fn of(secret: &Object, uid: String, now: Timestamp) -> Option<Self> {
        let today = now.to_zoned(TimeZone::UTC).date();
        let has = |day: &str| secret.label(LAST_USED) == Some(day);
        let is_known =
            has(&today.to_string()) || today.tomorrow().is_ok_and(|day| has(&day.to_string()));
        (!is_known).then(|| Self {
            namespace: secret.namespace().to_owned(),
            name: secret.name().to_owned(),
            day: today.to_string(),
            uid,
        })
    }

    /// Sets the label. A failure is logged: the token counts all the same.
    pub(super) async fn record(&self, registry: &Registry) {
        let Ok(kind) = kinds::secrets() else {
            return;
        };
        let call = registry.internal_call(kind, &self.namespace, &self.name);
        let written = registry.guaranteed_update(&call, |old| {
            let mut value = old.clone();
            if meta::text(old, "uid") == self.uid {
                value["metadata"]["labels"][LAST_USED] = self.day.as_str().into();
            }
            Ok(value.into())
        });
        if let Err(error) = written.await
            && error.code != 404
        {
            tracing::warn!(
                %error,
                namespace = self.namespace,
                secret = self.name,
                "cannot label a Secret with the day on which its token was used; trying again with its next use"
            );
        }
    }
}
