//! Ways in which a server may break its promises, done to a recorded history: the checks have to
//! notice each of them.

use std::collections::BTreeSet;

use fastrand::Rng;

use crate::history::{Answer, Change, Entry, History, Operation, Request, Selector, Version};

/// A way to break a history: its name, and what does it. It returns `false` if the history has
/// nothing of the kind.
pub type Break = (&'static str, fn(&mut History, &mut Rng) -> bool);

/// One for each promise that the checks cover, at least.
pub const BREAKS: [Break; 12] = [
    ("an acknowledged write is lost", lost_write),
    ("a read shows an older state", stale_read),
    ("a list misses an object", list_without_an_object),
    ("a refused write is done", refused_write_done),
    ("two writes swap the same version", swapped_twice),
    ("a revision is used twice", revision_used_twice),
    (
        "a write gets an older revision than one before it",
        older_revision,
    ),
    ("an event is missing", missing_event),
    ("an event comes twice", event_twice),
    ("two events come in the wrong order", reordered_events),
    ("an event has the wrong type", wrong_type),
    ("a bookmark is too new", bookmark_too_new),
];

/// An index of an element that is as wanted.
fn any<T>(all: &[T], random: &mut Rng, wanted: impl Fn(&T) -> bool) -> Option<usize> {
    let matching = all.iter().enumerate().filter(|(_, one)| wanted(one));
    let matching: Vec<usize> = matching.map(|(index, _)| index).collect();
    random.choice(matching)
}

/// A write with an answer.
fn is_written(operation: &Operation, request: impl Fn(Request) -> bool) -> bool {
    matches!(operation.answer, Answer::Written(_)) && request(operation.request)
}

const fn is_replacement(request: Request) -> bool {
    matches!(request, Request::Replace { .. })
}

/// Whether an operation on an object may have had its effect between two times.
fn may_act(operation: &Operation, key: &str, from: u64, to: u64) -> bool {
    operation.key == key && operation.called < to && operation.ended.is_none_or(|end| end > from)
}

/// What a client reads right after an operation.
fn read_after(operation: &Operation, found: Option<Version>) -> Option<Operation> {
    let ended = operation.ended?;
    Some(Operation {
        client: u32::MAX,
        request: Request::Get,
        answer: Answer::Found(found),
        called: ended + 1,
        ended: Some(ended + 2),
        key: operation.key.clone(),
    })
}

/// A client does not find an object that was created before and that nothing has deleted.
fn lost_write(history: &mut History, random: &mut Rng) -> bool {
    let operations = &history.operations;
    let lasting = any(operations, random, |op| {
        let deletions = operations
            .iter()
            .filter(|op| matches!(op.request, Request::Delete(_)));
        let end = op.ended.map_or(u64::MAX, |end| end + 2);
        is_written(op, |request| matches!(request, Request::Create(_)))
            && !deletions
                .into_iter()
                .any(|other| may_act(other, &op.key, op.called, end))
    });
    let read = lasting.and_then(|index| read_after(&operations[index], None));
    history.operations.extend(read.clone());
    read.is_some()
}

/// A client reads a version that another one had replaced before it asked.
fn stale_read(history: &mut History, random: &mut Rng) -> bool {
    let replaced = any(&history.operations, random, |op| {
        is_written(op, is_replacement)
    });
    let read = replaced.and_then(|index| {
        let write = &history.operations[index];
        match write.request {
            Request::Replace { from, .. } => read_after(write, Some(from)),
            _ => None,
        }
    });
    history.operations.extend(read.clone());
    read.is_some()
}

/// The list misses an object that nothing has touched meanwhile.
fn list_without_an_object(history: &mut History, random: &mut Rng) -> bool {
    let operations = &history.operations;
    let full = any(operations, random, |op| match (op.request, &op.answer) {
        (Request::List, Answer::Listed(list)) => list.contents.keys().next().is_some_and(|key| {
            let (from, to) = (op.called, op.ended.unwrap_or(u64::MAX));
            let mut writes = operations.iter().filter(|op| op.request != Request::Get);
            !writes.any(|other| may_act(other, key, from, to))
        }),
        _ => false,
    });
    let Some(Answer::Listed(list)) = full.map(|index| &mut history.operations[index].answer) else {
        return false;
    };
    list.contents.pop_first().is_some()
}

/// The server says that it did not do a write whose value was read later.
fn refused_write_done(history: &mut History, random: &mut Rng) -> bool {
    let operations = &history.operations;
    let was_read = |value: Option<u64>| {
        operations.iter().any(|op| match &op.answer {
            Answer::Found(Some(found)) => Some(found.value) == value,
            _ => false,
        })
    };
    let done = any(operations, random, |op| {
        is_written(op, is_replacement) && was_read(op.request.value())
    });
    let Some(index) = done else { return false };
    history.operations[index].answer = Answer::Refused;
    true
}

fn swapped_twice(history: &mut History, random: &mut Rng) -> bool {
    let done = any(&history.operations, random, |op| {
        is_written(op, is_replacement)
    });
    let Some(mut again) = done.map(|index| history.operations[index].clone()) else {
        return false;
    };
    let (Request::Replace { from, .. }, Answer::Written(revision)) = (again.request, &again.answer)
    else {
        return false;
    };
    // A value and a revision that nothing else has.
    again.client = u32::MAX;
    again.answer = Answer::Written(*revision + (1 << 40));
    again.request = Request::Replace {
        from,
        value: u64::MAX,
    };
    history.operations.push(again);
    true
}

fn revision_used_twice(history: &mut History, random: &mut Rng) -> bool {
    let is_write = |op: &Operation| is_written(op, |_| true);
    let (first, second) = (
        any(&history.operations, random, is_write),
        any(&history.operations, random, is_write),
    );
    match (first, second) {
        (Some(first), Some(second)) if first != second => {
            history.operations[first].answer = history.operations[second].answer.clone();
            true
        }
        _ => false,
    }
}

fn older_revision(history: &mut History, random: &mut Rng) -> bool {
    let late = any(
        &history.operations,
        random,
        |op| matches!(op.answer, Answer::Written(revision) if revision > 2),
    );
    let Some(index) = late else { return false };
    let before = history.operations[index].called;
    let earlier = history.operations.iter();
    let known = earlier.filter(|op| op.ended.is_some_and(|end| end < before));
    let newest = known.filter_map(|op| match op.answer {
        Answer::Written(revision) => Some(revision),
        _ => None,
    });
    let Some(newest) = newest.max() else {
        return false;
    };
    history.operations[index].answer = Answer::Written(newest - 1);
    true
}

/// The entries of a client that watches everything, and the place of an event in them that is
/// neither its first nor its last.
fn event<'a>(
    history: &'a mut History,
    random: &mut Rng,
    wanted: impl Fn(&Entry) -> bool,
) -> Option<(&'a mut Vec<Entry>, usize)> {
    let index = any(&history.watches, random, |log| {
        log.selector == Selector::All
    })?;
    let entries = &mut history.watches[index].entries;
    let inner = entries.get(1..entries.len().checked_sub(1)?)?;
    let found = any(inner, random, wanted)? + 1;
    Some((entries, found))
}

fn is_event(entry: &Entry) -> bool {
    matches!(entry, Entry::Event { .. })
}

/// A client does not hear of a write that was acknowledged, and goes on.
fn missing_event(history: &mut History, random: &mut Rng) -> bool {
    let writes = history.operations.iter().filter_map(|op| match op.answer {
        Answer::Written(revision) => Some(revision),
        _ => None,
    });
    let writes: BTreeSet<u64> = writes.collect();
    let wanted = |entry: &Entry| matches!(entry, Entry::Event { version, .. } if writes.contains(&version.revision));
    let Some((entries, index)) = event(history, random, wanted) else {
        return false;
    };
    // What comes right before a list may not have been sent yet.
    if matches!(entries.get(index + 1), Some(Entry::Listed(_))) {
        return false;
    }
    entries.remove(index);
    true
}

fn event_twice(history: &mut History, random: &mut Rng) -> bool {
    let Some((entries, index)) = event(history, random, is_event) else {
        return false;
    };
    let again = entries[index].clone();
    entries.insert(index + 1, again);
    true
}

fn reordered_events(history: &mut History, random: &mut Rng) -> bool {
    let Some((entries, index)) = event(history, random, is_event) else {
        return false;
    };
    if !entries.get(index + 1).is_some_and(is_event) {
        return false;
    }
    entries.swap(index, index + 1);
    true
}

fn wrong_type(history: &mut History, random: &mut Rng) -> bool {
    let Some((entries, index)) = event(history, random, is_event) else {
        return false;
    };
    if let Entry::Event { change, .. } = &mut entries[index] {
        *change = match change {
            Change::Added => Change::Modified,
            Change::Modified | Change::Deleted => Change::Added,
        };
    }
    true
}

fn bookmark_too_new(history: &mut History, random: &mut Rng) -> bool {
    let Some((entries, index)) = event(history, random, is_event) else {
        return false;
    };
    let Entry::Event {
        version: Version { revision, .. },
        ..
    } = entries[index]
    else {
        return false;
    };
    entries.insert(index, Entry::Bookmark(revision));
    true
}
