//! A client that reads a watch line by line, checks each against the model, and goes on as
//! client-go's reflector does.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use pandaemon_machinery::{Status, table::IncludeObject};
use pandaemon_store::Revision;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    super::kind,
    model::{Line, Selection, Source, State, Truth},
};
use crate::{
    handlers::{
        render::View,
        watch::{WatchBody, WatchOptions},
    },
    http::{negotiate::Form, request::Query},
    registry::{Registry, read::ListOptions},
};

/// How a client begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Begin {
    /// A list, and a watch from its revision.
    List,
    /// A watch without a version.
    Unset,
    /// A watch from version 0.
    Any,
    /// `sendInitialEvents`, ended by a bookmark.
    InitialEvents,
    /// No initial events.
    Now,
    /// From this part of all revisions, in 256ths.
    After(u8),
}

/// What may end a watch, and what is known of the history of the server.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Allowed {
    /// Which start of the server it is.
    pub start: usize,
    /// Changes may have been missed since the start.
    pub missed: bool,
    /// Queues are small.
    pub slow: bool,
    /// The history may be cut off anywhere.
    pub short_history: bool,
    /// Otherwise the history goes back to this revision.
    pub floor: Revision,
}

/// A watch that is open, and what is known of its lines.
struct Open {
    body: WatchBody,
    /// Which start of the server it is from.
    start: usize,
    /// The revision at which it began.
    started: Revision,
    /// The lines of the initial state that are to come.
    initial: VecDeque<Line>,
    /// Whether the bookmark is to come that ends the initial events.
    is_marked: bool,
    /// The number of lines that came after the initial ones, which are those after this revision.
    received: usize,
    since: Revision,
    /// The revision of the last line.
    last: Revision,
}

/// A client: what it knows, and its watch.
pub(super) struct Client {
    pub selection: Selection,
    begin: Begin,
    bookmarks: bool,
    timeout: Duration,
    open: Option<Open>,
    /// What it knows, and at which revision; `None` before it knows all.
    state: State,
    position: Option<Revision>,
    /// How often a watch went on where another had ended, and how often it could not.
    pub resumed: usize,
    pub refused: usize,
}

/// The resource version of a list that was read in one piece.
fn version(text: &str) -> Revision {
    text.parse().unwrap()
}

impl Client {
    pub(super) fn new(selection: Selection, begin: Begin, bookmarks: bool) -> Self {
        Self {
            selection,
            begin,
            bookmarks,
            timeout: Duration::from_secs(24 * 3600),
            open: None,
            state: State::new(),
            position: None,
            resumed: 0,
            refused: 0,
        }
    }

    /// A client whose watches end after a time, with a bookmark.
    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The connection is lost.
    pub(super) fn lose(&mut self) {
        self.open = None;
    }

    fn options(&self, more: &str) -> ListOptions {
        let query = Query::parse(Some(&format!("{}&{more}", self.selection.query())));
        let namespace = self.selection.namespace.unwrap_or_default();
        let is_watch = more.contains("watch=true");
        ListOptions::parse(kind(self.selection.plural), namespace, &query, is_watch).unwrap()
    }

    /// The selected objects in one piece.
    async fn list(&self, registry: &Registry) -> (Revision, State) {
        let (meta, objects) = registry.list(&self.options("")).await.unwrap();
        let lines = objects.iter().map(|object| {
            let value: Value = serde_json::from_slice(&object.encoded()).unwrap();
            Line::of("", &value)
        });
        let state = lines.map(|line| (line.name, (line.item, line.revision)));
        (version(&meta.resource_version), state.collect())
    }

    /// Lists, and checks the list.
    async fn begin_with_list(&mut self, registry: &Registry, truth: &Source) {
        let (revision, state) = self.list(registry).await;
        assert_eq!(state, truth().state_at(&self.selection, revision));
        (self.state, self.position) = (state, Some(revision));
    }

    /// Opens a watch: from where it was, or as it begins.
    pub(super) async fn connect(&mut self, registry: &Registry, truth: &Source, allowed: Allowed) {
        if let Some(position) = self.position {
            match self.watch(registry, truth, Some(position), allowed).await {
                Ok(()) => {
                    self.resumed += 1;
                    return;
                }
                Err(status) => {
                    self.refused += 1;
                    check_refusal(&status, position, registry.cache.revision(), allowed);
                    self.position = None;
                }
            }
        }
        if let Begin::After(part) = self.begin {
            // Once only; later it lists.
            self.begin = Begin::List;
            let from = registry.cache.revision() * u64::from(part) / 256;
            let from = from.max(1);
            self.state = truth().state_at(&self.selection, from);
            match self.watch(registry, truth, Some(from), allowed).await {
                Ok(()) => return self.position = Some(from),
                Err(status) => {
                    check_refusal(&status, from, registry.cache.revision(), allowed);
                }
            }
        }
        if matches!(self.begin, Begin::List) {
            self.begin_with_list(registry, truth).await;
        }
        let begun = self.watch(registry, truth, self.position, allowed).await;
        begun.expect("nothing has happened since the list");
    }

    async fn watch(
        &mut self,
        registry: &Registry,
        truth: &Source,
        from: Option<Revision>,
        allowed: Allowed,
    ) -> Result<(), Box<Status>> {
        let begin = match (from, self.begin) {
            (Some(revision), _) => format!("resourceVersion={revision}"),
            (None, Begin::Any) => "resourceVersion=0".into(),
            (None, Begin::InitialEvents) => {
                "sendInitialEvents=true&resourceVersionMatch=NotOlderThan".into()
            }
            (None, Begin::Now) => {
                "sendInitialEvents=false&resourceVersionMatch=NotOlderThan".into()
            }
            (None, _) => String::new(),
        };
        let is_marked = from.is_none() && matches!(self.begin, Begin::InitialEvents);
        let bookmarks = self.bookmarks || is_marked;
        let options = self.options(&format!(
            "watch=true&{begin}&allowWatchBookmarks={bookmarks}"
        ));
        let started = registry.watch(&options).await.unwrap()?;
        let revision = started.revision;
        let all = truth().state_at(&self.selection, revision);
        let mut initial = VecDeque::new();
        match (from, self.begin) {
            (Some(_), _) => {}
            (None, Begin::Now) => (self.state, self.position) = (all, Some(revision)),
            (None, _) => {
                self.state.clear();
                initial = all
                    .into_iter()
                    .map(|(name, (item, revision))| Line {
                        event: "ADDED".into(),
                        name,
                        revision,
                        item,
                    })
                    .collect();
            }
        }
        let view = View {
            form: Form::default(),
            include: IncludeObject::default(),
            now_seconds: 0,
        };
        let options = WatchOptions {
            deadline: Instant::now() + self.timeout,
            bookmarks,
            mark_initial: is_marked,
        };
        let since = from.unwrap_or(revision);
        let kind = Arc::clone(kind(self.selection.plural));
        self.open = Some(Open {
            body: WatchBody::new(Arc::clone(&registry.cache), kind, view, started, options),
            start: allowed.start,
            started: revision,
            initial,
            is_marked,
            received: 0,
            since,
            last: since,
        });
        Ok(())
    }

    /// Reads what has come, and checks it. Returns whether the watch is still open.
    pub(super) fn read(&mut self, truth: &Source, allowed: Allowed) -> bool {
        loop {
            let Some(open) = &mut self.open else {
                return false;
            };
            let mut context = Context::from_waker(Waker::noop());
            match open.body.poll_lines(&mut context) {
                Poll::Pending => return true,
                Poll::Ready(Some(chunk)) => {
                    let truth = truth();
                    for line in chunk.split_inclusive(|byte| *byte == b'\n') {
                        let value: Value = serde_json::from_slice(line).unwrap();
                        self.line(&value, &truth, allowed);
                    }
                }
                Poll::Ready(None) => {
                    let may_end = open.start < allowed.start || self.timeout.as_secs() < 3600;
                    assert!(may_end, "a watch has ended");
                    self.open = None;
                }
            }
        }
    }

    fn line(&mut self, value: &Value, truth: &Truth, allowed: Allowed) {
        let Some(open) = &mut self.open else {
            panic!("{value} after an error");
        };
        let object = &value["object"];
        match value["type"].as_str().unwrap() {
            "ERROR" => {
                let text = object["message"].as_str().unwrap();
                assert_eq!(object["code"], 410, "{text}");
                let may_end = (text.contains("too slow") && allowed.slow)
                    || (text.contains("missed") && allowed.missed);
                assert!(may_end, "{text}");
                self.open = None;
            }
            "BOOKMARK" => {
                let metadata = &object["metadata"];
                let revision = version(metadata["resourceVersion"].as_str().unwrap());
                let ends_initial = metadata["annotations"]["k8s.io/initial-events-end"] == "true";
                assert_eq!(ends_initial, open.is_marked, "{value}");
                assert!(open.initial.is_empty(), "{value} before {:?}", open.initial);
                if ends_initial {
                    assert_eq!(revision, open.started);
                    open.is_marked = false;
                }
                assert!(revision >= open.last, "{value} after {}", open.last);
                let lines = truth.lines(&self.selection, open.since);
                let next = lines.get(open.received);
                assert!(
                    next.is_none_or(|next| next.revision > revision),
                    "{value} before {next:?}"
                );
                (open.last, self.position) = (revision, Some(revision));
            }
            event => {
                let line = Line::of(event, object);
                if let Some(expected) = open.initial.pop_front() {
                    assert_eq!(line, expected);
                } else {
                    assert!(!open.is_marked, "{value} before the bookmark");
                    let lines = truth.lines(&self.selection, open.since);
                    assert_eq!(
                        Some(&line),
                        lines.get(open.received),
                        "{:?}",
                        self.selection
                    );
                    assert!(line.revision > open.last, "{value} after {}", open.last);
                    open.received += 1;
                    (open.last, self.position) = (line.revision, Some(line.revision));
                }
                match event {
                    "DELETED" => drop(self.state.remove(&line.name)),
                    _ => drop(self.state.insert(line.name, (line.item, line.revision))),
                }
            }
        }
    }

    /// All is quiet: what it knows is what there is.
    pub(super) async fn settle(&mut self, registry: &Registry, truth: &Source, allowed: Allowed) {
        while !self.read(truth, allowed) {
            self.connect(registry, truth, allowed).await;
        }
        let truth = truth();
        let Some(open) = &self.open else { return };
        let lines = truth.lines(&self.selection, open.since);
        assert_eq!(lines.get(open.received), None, "a line has not come");
        assert!(open.initial.is_empty() && !open.is_marked);
        let (revision, listed) = self.list(registry).await;
        assert_eq!(self.state, listed, "{:?} at {revision}", self.selection);
        assert_eq!(listed, truth.state_at(&self.selection, revision));
    }
}

/// Whether a watch from a revision was rightly refused.
fn check_refusal(status: &Status, from: Revision, applied: Revision, allowed: Allowed) {
    assert_eq!((status.code, &*status.reason), (410, "Expired"));
    let text = status.message.strip_prefix("too old resource version: ");
    let text = text.and_then(|text| text.strip_suffix(')'));
    let (requested, oldest) = text.and_then(|text| text.split_once(" (")).unwrap();
    let oldest: Revision = oldest.parse().unwrap();
    assert_eq!(version(requested), from);
    assert!(from < oldest && oldest <= applied, "{status:?}");
    let is_short = allowed.short_history || allowed.missed;
    assert!(
        is_short || oldest <= allowed.floor,
        "{status:?}, {allowed:?}"
    );
}
