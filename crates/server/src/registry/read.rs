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
use super::{Call, Registry, options::invalid_options, untransformable};
use crate::{
    cache::{
        object::Object,
        watch_cache::{Filter, KindCache, Scope, Start, Started},
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
    /// Parses and validates the query of a list or watch. Upstream: `SetListOptionsDefaults`,
    /// `ValidateListOptions` of `meta/internalversion` and of `storage`.
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
        // As upstream, a negative number is no limit.
        let limit = query
            .number("limit")?
            .map_or(0, |limit| usize::try_from(limit).unwrap_or(0));
        let timeout_seconds = query.number("timeoutSeconds")?;
        let mut given = Given::of(query);
        let faults = if is_watch {
            given.set_watch_defaults();
            given.watch_faults()
        } else {
            given.list_faults()
        };
        if !faults.is_empty() {
            return Err(invalid_options("ListOptions", &faults));
        }
        let mut options = Self {
            filter,
            revision: revision(&given)?,
            matching: given.matching(),
            limit,
            token: None,
            timeout_seconds,
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: given.initial_events,
        };
        if !is_watch {
            options.continue_at(&given)?;
            options.match_exactly_as_before(options.limit > 0);
        }
        Ok(options)
    }

    /// Reads the continue token, which says at which version the list goes on.
    fn continue_at(&mut self, given: &Given<'_>) -> Result<()> {
        let Some(text) = given.token else {
            return Ok(());
        };
        if !matches!(self.revision, None | Some(0)) {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        self.token = Some(token(text)?);
        self.revision = None;
        Ok(())
    }

    /// A version without `resourceVersionMatch` means exactly that version for a list in pages, as
    /// before there was that parameter. A list of one name has no pages.
    fn match_exactly_as_before(&mut self, in_pages: bool) {
        let is_legacy = in_pages
            && self.matching.is_none()
            && self.token.is_none()
            && self.revision.is_some_and(|revision| revision > 0)
            && !matches!(self.filter.scope(), Scope::Object(_));
        if is_legacy {
            self.matching = Some(Match::Exact);
        }
    }

    /// The same list for a deletion of what it selects. Upstream reads that in pages, so that a
    /// version without `resourceVersionMatch` means exactly that version.
    #[must_use]
    pub(crate) fn for_deletion(mut self) -> Self {
        self.match_exactly_as_before(true);
        self
    }

    fn prefix(&self) -> String {
        prefix(&self.filter)
    }
}

/// The parameters of a query that depend on each other, as they are given.
struct Given<'a> {
    revision: Option<&'a str>,
    matching: Option<&'a str>,
    token: Option<&'a str>,
    initial_events: Option<bool>,
}

impl<'a> Given<'a> {
    fn of(query: &'a Query) -> Self {
        Self {
            revision: query.filled("resourceVersion"),
            matching: query.filled("resourceVersionMatch"),
            token: query.filled("continue"),
            initial_events: query
                .get("sendInitialEvents")
                .map(|_| query.flag("sendInitialEvents")),
        }
    }

    /// A watch without a version begins with the state.
    fn set_watch_defaults(&mut self) {
        if self.initial_events.is_none()
            && self.matching.is_none()
            && matches!(self.revision, None | Some("0"))
        {
            self.initial_events = Some(true);
            self.matching = Some("NotOlderThan");
        }
    }

    fn matching(&self) -> Option<Match> {
        match self.matching {
            Some("Exact") => Some(Match::Exact),
            Some("NotOlderThan") => Some(Match::NotOlderThan),
            _ => None,
        }
    }

    fn list_faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        if let Some(matching) = self.matching {
            if self.revision.is_none() {
                let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                faults.push(fault(MATCH, ErrorType::Forbidden, detail));
            }
            faults.extend(self.token.map(|_| match_and_continue()));
            if self.matching().is_none() {
                let what = ErrorType::NotSupported(format!("{matching:?}"));
                let detail = "supported values: \"Exact\", \"NotOlderThan\", \"\"";
                faults.push(fault(MATCH, what, detail));
            }
            if matching == "Exact" && self.revision == Some("0") {
                let detail =
                    "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                faults.push(fault(MATCH, ErrorType::Forbidden, detail));
            }
        }
        if self.initial_events.is_some() {
            faults.push(fault(
                "sendInitialEvents",
                ErrorType::Forbidden,
                "sendInitialEvents is forbidden for list",
            ));
        }
        faults
    }

    fn watch_faults(&self) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let is_not_older = self.matching() == Some(Match::NotOlderThan);
        if self.initial_events.is_some() && !is_not_older {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            faults.push(fault(MATCH, ErrorType::Forbidden, detail));
        }
        let Some(matching) = self.matching else {
            return faults;
        };
        if self.initial_events.is_none() {
            let detail =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            faults.push(fault(MATCH, ErrorType::Forbidden, detail));
        }
        if !is_not_older {
            let what = ErrorType::NotSupported(format!("{matching:?}"));
            faults.push(fault(MATCH, what, "supported values: \"NotOlderThan\""));
        }
        faults.extend(self.token.map(|_| match_and_continue()));
        faults
    }
}

/// The field of the errors about how a version is to be matched.
const MATCH: &str = "resourceVersionMatch";

fn match_and_continue() -> FieldError {
    let detail = "resourceVersionMatch is forbidden when continue is provided";
    fault(MATCH, ErrorType::Forbidden, detail)
}

fn prefix(filter: &Filter) -> String {
    match &filter.namespace {
        Some(namespace) => format!("/{}/{namespace}/", filter.kind.storage),
        None => format!("/{}/", filter.kind.storage),
    }
}

fn revision(given: &Given<'_>) -> Result<Option<Revision>> {
    given.revision.map(parse_revision).transpose()
}

/// Parses a `resourceVersion` of a query.
///
/// # Errors
/// 400, with the text that upstream has for lists.
fn parse_revision(text: &str) -> Result<Revision> {
    text.parse().map_err(|error| {
        let what = ErrorType::Invalid(format!("{text:?}"));
        let detail = number_error("ParseUint", text, &error);
        let fault = fault("resourceVersion", what, &detail);
        Status::bad_request(format!("invalid resource version: {fault}"))
    })
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
            "Timeout: Too large resource version: {revision}, current: {}",
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

    /// The object of the call's path, not older than the `resourceVersion` of the query.
    ///
    /// # Errors
    /// 404 if it does not exist, 400 and 504 for the version as for lists.
    pub(crate) async fn get(&self, call: &Call, query: &Query) -> Result<Arc<Object>> {
        if let Some(text) = query.filled("resourceVersion") {
            self.wait_for(parse_revision(text)?).await?;
        }
        self.current(call)
    }

    /// A list, or one page of it.
    ///
    /// # Errors
    /// 410 for revisions that are no longer kept, 504 for revisions that the cache has not reached.
    pub(crate) async fn list(&self, options: &ListOptions) -> Result<(ListMeta, Vec<Arc<Object>>)> {
        let kind = self.stored(&options.filter.kind)?;
        if let Some(revision) = options.exact_revision().or(options.revision) {
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
