//! Lists and the start of watches. The meaning of resource versions is that of upstream's
//! `k8s.io/apiserver/pkg/storage/cacher`.

mod page;

use std::{sync::Arc, time::Duration};

use pandaemon_machinery::{
    Kind, KindRef, Status,
    status::{Cause, Details, Result},
    validation::{ErrorType, FieldError},
};
use pandaemon_store::Revision;

use self::page::{Token, token};
use super::{Registry, options::invalid_options, untransformable};
use crate::{
    cache::{
        object::Object,
        watch_cache::{Filter, KindCache, Start, Started},
    },
    http::request::{Query, number_error},
    registry::{list_meta::ListMeta, selector},
};

/// How long a read waits for a revision that is newer than the cache.
const REVISION_TIMEOUT: Duration = Duration::from_secs(3);

/// The value of `resourceVersionMatch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    /// Any state at this revision or later.
    NotOlderThan,
    /// The state at this revision.
    Exact,
}

/// The options of a list or watch (`ListOptions`).
#[derive(Debug, Clone)]
pub(crate) struct ListOptions {
    /// The selected objects.
    pub filter: Filter,
    revision: Option<Revision>,
    matching: Option<Match>,
    limit: usize,
    token: Option<Token>,
    /// The value of `timeoutSeconds`.
    pub timeout_seconds: Option<i64>,
    /// The value of `allowWatchBookmarks`.
    pub bookmarks: bool,
    /// The value of `sendInitialEvents`.
    pub initial_events: Option<bool>,
}

fn fault(field: &str, what: ErrorType, detail: &str) -> FieldError {
    FieldError {
        field: field.into(),
        error_type: what,
        detail: detail.into(),
    }
}

impl ListOptions {
    /// Parses and validates the query of a list or watch.
    ///
    /// # Errors
    /// 400 for values that cannot be parsed, 422 for invalid values and combinations.
    pub(crate) fn parse(
        kind: &KindRef,
        namespace: &str,
        query: &Query,
        is_watch: bool,
    ) -> Result<Self> {
        let filter = Filter {
            kind: Arc::clone(kind),
            namespace: (!namespace.is_empty()).then(|| namespace.into()),
            labels: selector::labels(query.get("labelSelector").unwrap_or_default())?,
            fields: selector::fields(kind, query.get("fieldSelector").unwrap_or_default())?,
        };
        let options = Self {
            filter,
            revision: revision(query)?,
            matching: matching(query)?,
            // As upstream, a negative number is no limit.
            limit: query
                .number("limit")?
                .map_or(0, |limit| usize::try_from(limit).unwrap_or(0)),
            token: query.filled("continue").map(token).transpose()?,
            timeout_seconds: query.number("timeoutSeconds")?,
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: query
                .get("sendInitialEvents")
                .map(|_| query.flag("sendInitialEvents")),
        };
        let errors = if is_watch {
            options.watch_faults(query)
        } else {
            options.list_faults(query)
        };
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(invalid_options("ListOptions", &errors))
        }
    }

    fn list_faults(&self, query: &Query) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let given = query.filled("resourceVersion");
        if self.initial_events.is_some() {
            errors.push(fault(
                "sendInitialEvents",
                ErrorType::Forbidden,
                "sendInitialEvents is forbidden for list",
            ));
        }
        if self.matching.is_some() && given.is_none() {
            errors.push(fault(
                "resourceVersionMatch",
                ErrorType::Forbidden,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if self.matching.is_some() && self.token.is_some() {
            errors.push(fault(
                "resourceVersionMatch",
                ErrorType::Forbidden,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if self.matching == Some(Match::Exact) && given == Some("0") {
            errors.push(fault(
                "resourceVersionMatch",
                ErrorType::Forbidden,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
        errors
    }

    fn watch_faults(&self, query: &Query) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if self.matching.is_some() && self.initial_events.is_none() {
            errors.push(fault(
                "resourceVersionMatch",
                ErrorType::Forbidden,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ));
        }
        if self.initial_events.is_some() && self.matching != Some(Match::NotOlderThan) {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(fault("resourceVersionMatch", ErrorType::Forbidden, detail));
        }
        if query.filled("continue").is_some() {
            errors.push(fault(
                "continue",
                ErrorType::Forbidden,
                "continue is forbidden for watch",
            ));
        }
        errors
    }

    fn prefix(&self) -> String {
        prefix(&self.filter)
    }
}

fn prefix(filter: &Filter) -> String {
    match &filter.namespace {
        Some(namespace) => format!("/{}/{namespace}/", filter.kind.storage),
        None => format!("/{}/", filter.kind.storage),
    }
}

fn revision(query: &Query) -> Result<Option<Revision>> {
    let Some(text) = query.filled("resourceVersion") else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|error| {
        let what = ErrorType::Invalid(format!("{text:?}"));
        let detail = number_error("ParseUint", text, &error);
        invalid_options("ListOptions", &[fault("resourceVersion", what, &detail)])
    })
}

fn matching(query: &Query) -> Result<Option<Match>> {
    match query.filled("resourceVersionMatch") {
        None => Ok(None),
        Some("NotOlderThan") => Ok(Some(Match::NotOlderThan)),
        Some("Exact") => Ok(Some(Match::Exact)),
        Some(other) => {
            let what = ErrorType::NotSupported(format!("{other:?}"));
            let detail = "supported values: \"Exact\", \"NotOlderThan\", \"\"";
            Err(invalid_options(
                "ListOptions",
                &[fault("resourceVersionMatch", what, detail)],
            ))
        }
    }
}

/// Checks that all objects that a list may select can be read: without one it would say that the
/// object does not exist.
///
/// # Errors
/// 500 for the first that cannot be read.
fn check_readable(kind: &KindCache, options: &ListOptions) -> Result<()> {
    match kind.first_unreadable(&options.prefix(), &options.filter) {
        Some(key) => Err(untransformable(&key)),
        None => Ok(()),
    }
}

impl Registry {
    fn stored(&self, kind: &Kind) -> Result<Arc<KindCache>> {
        self.cache.of(kind).ok_or_else(Status::path_not_found)
    }

    /// Waits until the cache has applied the revision; 504 after [`REVISION_TIMEOUT`].
    async fn wait_for(&self, revision: Revision) -> Result<()> {
        let waited = tokio::time::timeout(REVISION_TIMEOUT, self.cache.reached(revision)).await;
        if waited == Ok(true) {
            return Ok(());
        }
        self.check_cache()?;
        let text = format!(
            "Too large resource version: {revision}, current: {}",
            self.cache.revision()
        );
        Err(Status::failure(504, "Timeout", text).with_details(Details {
            causes: vec![Cause {
                reason: "ResourceVersionTooLarge".into(),
                message: "Too large resource version".into(),
                ..Cause::default()
            }],
            retry_after_seconds: 1,
            ..Details::default()
        }))
    }

    /// A list, or one page of it.
    ///
    /// # Errors
    /// 410 for revisions that are no longer kept, 504 for revisions that the cache has not reached.
    pub(crate) async fn list(&self, options: &ListOptions) -> Result<(ListMeta, Vec<Arc<Object>>)> {
        let kind = self.stored(&options.filter.kind)?;
        if let Some(revision) = options.revision {
            self.wait_for(revision).await?;
        }
        check_readable(&kind, options)?;
        if options.limit == 0 && options.token.is_none() && options.matching != Some(Match::Exact) {
            let listing = kind.list(self.cache.revision(), &options.prefix(), &options.filter);
            return Ok((ListMeta::at(listing.revision), listing.objects));
        }
        self.page(&kind, options)
    }

    /// Starts a watch. The inner error is sent as an ERROR event in the stream.
    ///
    /// # Errors
    /// 504 for a revision that the cache has not reached.
    pub(crate) async fn watch(&self, options: &ListOptions) -> Result<Result<Started>> {
        let kind = self.stored(&options.filter.kind)?;
        if let Some(revision) = options.revision {
            self.wait_for(revision).await?;
        }
        let start = match (options.initial_events, options.revision) {
            (Some(true), _) | (None, None | Some(0)) => Start::State,
            (Some(false), None | Some(0)) => Start::Now,
            (_, Some(revision)) => Start::After(revision),
        };
        if start == Start::State {
            check_readable(&kind, options)?;
        }
        let requested = options.revision.unwrap_or(0);
        let started = kind.watch(
            self.cache.revision(),
            &options.prefix(),
            options.filter.clone(),
            start,
        );
        Ok(started.map_err(|oldest| {
            Status::expired(format!("too old resource version: {requested} ({oldest})"))
        }))
    }
}
