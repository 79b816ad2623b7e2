//! The promise of watches: ordered, unique, without gaps, resumable, bookmarks that hold, and in
//! agreement with lists, with other watches and with the answers to writes.
//!
//! The events of all clients that watch everything are put together. Each must have all of them
//! between its list and the last revision that it knows of; a replay of them from a list must give
//! each other list; a client that selects by label must have exactly what the replay selects.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use crate::history::{
    Answer, Change, Contents, Entry, History, Request, Selector, Snapshot, Version, WatchLog,
};

/// An event without its revision.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    change: Change,
    key: String,
    value: u64,
}

/// What a client saw from one list to the next: a state, and changes without a gap.
#[derive(Debug)]
struct Chain<'a> {
    log: &'a WatchLog,
    start: &'a Snapshot,
    events: BTreeMap<u64, Event>,
    /// The last revision that it knows of.
    last: u64,
}

impl Chain<'_> {
    /// The revisions of which it tells every change.
    const fn covered(&self) -> Range<u64> {
        self.start.revision + 1..self.last + 1
    }
}

/// What was compared, for the report of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    /// Different events of clients that watch everything.
    pub events: usize,
    /// Lists that a replay was compared with.
    pub lists: usize,
    /// Writes with an answer that a watch had to deliver.
    pub writes: usize,
    /// Events of clients that select by label.
    pub selected: usize,
}

/// What is wrong with the watches.
#[must_use]
pub fn violations(history: &History) -> Vec<String> {
    compare(history).1
}

/// Compares all watches, lists and writes.
#[must_use]
pub fn compare(history: &History) -> (Compared, Vec<String>) {
    let (mut compared, mut found) = (Compared::default(), Vec::new());
    let chains: Vec<Chain<'_>> = history
        .watches
        .iter()
        .flat_map(|log| chains(log, &mut found))
        .collect();
    let whole = chains
        .iter()
        .filter(|chain| chain.log.selector == Selector::All);
    let whole: Vec<_> = whole.collect();
    let all = union(&whole, &mut found);
    compared.events = all.len();
    gaps(&whole, &all, &mut found);
    compared.writes = writes(history, &whole, &all, &mut found);
    let lists = lists(history);
    // What a client that selects by label must see at each revision, where this is known.
    let mut selected: BTreeMap<u64, Option<Event>> = BTreeMap::new();
    for chain in &whole {
        compared.lists += replay(chain, &lists, &mut selected, &mut found);
    }
    for chain in chains.iter().filter(|c| c.log.selector != Selector::All) {
        compared.selected += chain.events.len();
        selection(chain, &selected, &mut found);
    }
    (compared, found)
}

/// Splits a log at its lists, and checks that it never goes back.
fn chains<'a>(log: &'a WatchLog, found: &mut Vec<String>) -> Vec<Chain<'a>> {
    let mut chains: Vec<Chain<'a>> = Vec::new();
    let name = &log.name;
    for entry in &log.entries {
        let last = chains.last().map_or(0, |chain| chain.last);
        if let Entry::Listed(start) = entry {
            if start.revision < last {
                let revision = start.revision;
                found.push(format!(
                    "{name}: a list at {revision} after revision {last}"
                ));
            }
            chains.push(Chain {
                log,
                start,
                events: BTreeMap::new(),
                last: start.revision,
            });
            continue;
        }
        let Some(chain) = chains.last_mut() else {
            found.push(format!("{name}: {entry:?} before the first list"));
            continue;
        };
        match entry {
            Entry::Listed(_) => {}
            Entry::Resumed(revision) if *revision == last => {}
            Entry::Resumed(revision) => {
                found.push(format!("{name}: resumed at {revision}, not at {last}"));
            }
            Entry::Bookmark(revision) => {
                if *revision < last {
                    found.push(format!("{name}: bookmark {revision} after revision {last}"));
                }
                chain.last = last.max(*revision);
            }
            Entry::Event {
                change,
                key,
                version,
            } => {
                if version.revision <= last {
                    found.push(format!("{name}: {entry:?} after revision {last}"));
                }
                let event = Event {
                    change: *change,
                    key: key.clone(),
                    value: version.value,
                };
                chain.events.insert(version.revision, event);
                chain.last = last.max(version.revision);
            }
        }
    }
    chains
}

/// The events of all chains. At one revision all tell the same.
fn union(chains: &[&Chain<'_>], found: &mut Vec<String>) -> BTreeMap<u64, Event> {
    let mut all: BTreeMap<u64, Event> = BTreeMap::new();
    for chain in chains {
        for (revision, event) in &chain.events {
            let first = all.entry(*revision).or_insert_with(|| event.clone());
            if first != event {
                found.push(format!(
                    "{}: {event:?} at revision {revision}, and {first:?} in another watch",
                    chain.log.name
                ));
            }
        }
    }
    all
}

fn gaps(chains: &[&Chain<'_>], all: &BTreeMap<u64, Event>, found: &mut Vec<String>) {
    for chain in chains {
        let covered = all.range(chain.covered());
        let missing = covered.filter(|(revision, _)| !chain.events.contains_key(revision));
        found.extend(missing.map(|(revision, event)| {
            let name = &chain.log.name;
            format!(
                "{name}: has no event at revision {revision}, where another watch has {event:?}"
            )
        }));
    }
}

/// Each acknowledged write is delivered, as it was written; no event comes from a refused one.
/// Returns how many writes had to be delivered.
fn writes(
    history: &History,
    chains: &[&Chain<'_>],
    all: &BTreeMap<u64, Event>,
    found: &mut Vec<String>,
) -> usize {
    let (mut count, mut possible) = (0, BTreeSet::new());
    for operation in &history.operations {
        let Some(value) = operation.request.value() else {
            continue;
        };
        if !operation.answer.is_refusal() {
            possible.insert((operation.key.as_str(), value));
        }
        let Answer::Written(revision) = operation.answer else {
            continue;
        };
        if !chains
            .iter()
            .any(|chain| chain.covered().contains(&revision))
        {
            continue;
        }
        count += 1;
        let key = &operation.key;
        match all.get(&revision) {
            Some(event)
                if event.change != Change::Deleted && event.key == *key && event.value == value => {
            }
            Some(event) => found.push(format!(
                "{key}: written at revision {revision}, where watches have {event:?}"
            )),
            None => found.push(format!(
                "{key}: written at revision {revision}, and no watch has an event"
            )),
        }
    }
    for (revision, event) in all {
        if !possible.contains(&(event.key.as_str(), event.value)) {
            found.push(format!(
                "{event:?} at revision {revision} comes from no write"
            ));
        }
    }
    count
}

/// All lists of everything, by revision.
fn lists(history: &History) -> BTreeMap<u64, Vec<&Contents>> {
    let mut lists: BTreeMap<u64, Vec<&Contents>> = BTreeMap::new();
    let of_clients = history.operations.iter().filter_map(|op| match &op.answer {
        Answer::Listed(list) if matches!(op.request, Request::List | Request::ListAny) => {
            Some(list)
        }
        _ => None,
    });
    let whole = history
        .watches
        .iter()
        .filter(|log| log.selector == Selector::All);
    let of_watches = whole
        .flat_map(|log| &log.entries)
        .filter_map(|entry| match entry {
            Entry::Listed(list) => Some(list),
            _ => None,
        });
    for list in of_clients.chain(of_watches) {
        lists.entry(list.revision).or_default().push(&list.contents);
    }
    lists
}

/// Replays the events of a chain from its list and compares with every list on the way. Notes
/// what a selection must show. Returns how many lists it has compared.
fn replay(
    chain: &Chain<'_>,
    lists: &BTreeMap<u64, Vec<&Contents>>,
    selected: &mut BTreeMap<u64, Option<Event>>,
    found: &mut Vec<String>,
) -> usize {
    let name = &chain.log.name;
    let mut state = chain.start.contents.clone();
    let (mut compared, mut next) = (0, chain.events.iter().peekable());
    let range = lists.range(chain.start.revision..=chain.last);
    let stops = range.map(|(revision, lists)| (*revision, lists.as_slice()));
    for (stop, lists) in stops.chain([(u64::MAX, [].as_slice())]) {
        while let Some((revision, event)) = next.next_if(|(revision, _)| **revision <= stop) {
            let before = state.get(&event.key).copied();
            if let Some(what) = wrong_change(event, before) {
                found.push(format!(
                    "{name}: {event:?} at revision {revision}, but {what}"
                ));
            }
            selected.insert(*revision, as_selected(Selector::Even, event, before));
            match event.change {
                Change::Deleted => state.remove(&event.key),
                Change::Added | Change::Modified => {
                    let (value, revision) = (event.value, *revision);
                    state.insert(event.key.clone(), Version { value, revision })
                }
            };
        }
        for list in lists {
            compared += 1;
            if **list != state {
                found.push(format!(
                    "{name}: its events up to revision {stop} lead to {state:?}, and a list has {list:?}"
                ));
            }
        }
    }
    compared
}

/// Why an event cannot follow on this state.
fn wrong_change(event: &Event, before: Option<Version>) -> Option<String> {
    match (event.change, before) {
        (Change::Added, Some(before)) => Some(format!("{before:?} is there")),
        (Change::Modified | Change::Deleted, None) => Some("it is not there".into()),
        (Change::Deleted, Some(before)) if before.value != event.value => {
            Some(format!("the last state was {before:?}"))
        }
        _ => None,
    }
}

/// What an event is to a client that selects by label: an object that begins to match is added,
/// one that matches no more is deleted, with its last state that did.
fn as_selected(selector: Selector, event: &Event, before: Option<Version>) -> Option<Event> {
    let was = before.filter(|before| selector.matches(before.value));
    let is = event.change != Change::Deleted && selector.matches(event.value);
    let (change, value) = match (was, is) {
        (None, false) => return None,
        (None, true) => (Change::Added, event.value),
        (Some(_), true) => (Change::Modified, event.value),
        (Some(was), false) => (Change::Deleted, was.value),
    };
    let key = event.key.clone();
    Some(Event { change, key, value })
}

/// A client that selects has exactly what the replay selects.
fn selection(chain: &Chain<'_>, selected: &BTreeMap<u64, Option<Event>>, found: &mut Vec<String>) {
    let name = &chain.log.name;
    for (revision, expected) in selected.range(chain.covered()) {
        let got = chain.events.get(revision);
        if got != expected.as_ref() {
            found.push(format!(
                "{name}: {got:?} at revision {revision}, where {expected:?} is selected"
            ));
        }
    }
}
