//! How many seats a request needs. Upstream: `flowcontrol/request`.

use pandaemon_machinery::Kind;

use crate::{auth::Attributes, cache::watch_cache::WatchCache, http::request::Query};

/// Objects of a list for each seat, and the most seats of a request.
const OBJECTS_PER_SEAT: usize = 100;
const MAX_SEATS: u64 = 10;
/// Bytes of a body for each seat.
const BYTES_PER_SEAT: u64 = 512 << 10;

/// What is known of the work of a request before it begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost<'a> {
    pub(crate) cache: &'a WatchCache,
    pub(crate) attributes: &'a Attributes<'a>,
    /// The kind of the path, if it is served.
    pub(crate) kind: Option<&'a Kind>,
    pub(crate) query: &'a Query,
    /// The bytes that the body is said to have.
    pub(crate) body: u64,
}

impl Cost<'_> {
    /// The seats of the request, not more than these.
    pub(super) fn seats(self, most: u64) -> u64 {
        let seats = match self.attributes.verb {
            "list" | "watch" | "deletecollection" => {
                u64::try_from(self.objects().div_ceil(OBJECTS_PER_SEAT)).unwrap_or(MAX_SEATS)
            }
            _ => self.body.div_ceil(BYTES_PER_SEAT),
        };
        seats.clamp(1, most.clamp(1, MAX_SEATS))
    }

    /// How many objects are read and sent.
    fn objects(self) -> usize {
        let attributes = self.attributes;
        let is_one = !attributes.name.is_empty();
        if is_one || attributes.verb == "watch" && self.begins_without_state() {
            return 1;
        }
        let Some(kind) = self.kind else {
            return 1;
        };
        let index = kind.strategy.indexed_field();
        let selected = attributes.field_selector.zip(index);
        if selected.is_some_and(|(selector, index)| selector.exact(index.path).is_some()) {
            return 1;
        }
        let stored = self.cache.of(kind).map_or(0, |objects| objects.count());
        let limit = self
            .query
            .filled("limit")
            .and_then(|text| text.parse().ok());
        match limit {
            Some(limit @ 1..) => stored.min(limit),
            _ => stored,
        }
    }

    /// Whether a watch goes on from a version, so that no objects are sent first.
    fn begins_without_state(self) -> bool {
        let version = self.query.filled("resourceVersion");
        !self.query.flag("sendInitialEvents") && version.is_some_and(|version| version != "0")
    }
}

/// Whether a request takes no seats, as upstream: it takes as long as its client wants. Watches do,
/// while they begin.
#[must_use]
pub(crate) fn is_exempt(attributes: &Attributes<'_>) -> bool {
    attributes.is_long_running() && attributes.verb != "watch"
}
