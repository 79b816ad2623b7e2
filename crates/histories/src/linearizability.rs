//! Linearizability of each object: there is an order of all operations on it that agrees with real
//! time, and in which each answer is the right one. The search is porcupine's.
//!
//! A write without an answer may have happened or not. So the state of the model is the set of
//! states that the object may have.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use porcupine_rs::{CheckResult, Model, Operation as Step};

use crate::history::{Answer, History, Operation, Request, Version};

/// How long the search may take for one object.
const SEARCH_TIME: Duration = Duration::from_secs(120);

/// An object that exists. The revision of a write without an answer is not known until it is read.
type Object = (u64, Option<u64>);

/// One object of the API.
#[derive(Debug, Clone, Copy)]
struct Register;

impl Model for Register {
    type State = BTreeSet<Option<Object>>;
    type Op = (Request, Answer);
    type Metadata = ();

    fn init() -> Self::State {
        BTreeSet::from([None])
    }

    fn step(state: &Self::State, (request, answer): &Self::Op) -> (bool, Self::State) {
        let next: Self::State = state
            .iter()
            .flat_map(|object| after(*object, *request, answer))
            .collect();
        (!next.is_empty(), next)
    }
}

/// The states that the object may be in after this answer; none if it cannot be answered so.
fn after(object: Option<Object>, request: Request, answer: &Answer) -> Vec<Option<Object>> {
    let mut next = Vec::new();
    let stays = match (request, answer) {
        (_, Answer::Refused | Answer::Unknown) => true,
        (Request::Create(_), Answer::Exists) => object.is_some(),
        (Request::Replace { from, .. } | Request::Delete(Some(from)), Answer::Conflict) => {
            object.is_some_and(|object| !is_surely(object, from))
        }
        (_, Answer::NotFound | Answer::Found(None)) => object.is_none(),
        _ => false,
    };
    if stays {
        next.push(object);
    }
    if let (_, Answer::Found(Some(found))) = (request, answer) {
        let seen = object.filter(|object| may_be(*object, *found));
        next.extend(seen.map(|_| Some((found.value, Some(found.revision)))));
    }
    let revision = match answer {
        Answer::Written(revision) => Some(*revision),
        Answer::Deleted | Answer::Unknown => None,
        _ => return next,
    };
    let grows = |object: Object| {
        object
            .1
            .is_none_or(|known| revision.is_none_or(|r| r > known))
    };
    next.extend(match (request, object) {
        (Request::Create(value), None) => Some(Some((value, revision))),
        (Request::Patch(value), Some(object)) if grows(object) => Some(Some((value, revision))),
        (Request::Replace { from, value }, Some(object))
            if may_be(object, from) && grows(object) =>
        {
            Some(Some((value, revision)))
        }
        (Request::Delete(from), Some(object)) if from.is_none_or(|from| may_be(object, from)) => {
            Some(None)
        }
        _ => None,
    });
    next
}

/// Whether the object may be in the state that a client has read.
fn may_be((value, revision): Object, read: Version) -> bool {
    value == read.value && revision.is_none_or(|revision| revision == read.revision)
}

fn is_surely((value, revision): Object, read: Version) -> bool {
    value == read.value && revision == Some(read.revision)
}

/// The operations on each object. A list is a read of every object.
fn by_key(history: &History) -> BTreeMap<&str, Vec<Step<Register>>> {
    let keys = history.operations.iter().map(|op| op.key.as_str());
    let mut steps: BTreeMap<&str, Vec<_>> = keys
        .filter(|key| !key.is_empty())
        .map(|key| (key, Vec::new()))
        .collect();
    for operation in &history.operations {
        match &operation.answer {
            Answer::Listed(list) if operation.request == Request::List => {
                for (key, steps) in &mut steps {
                    let found = Answer::Found(list.contents.get(*key).copied());
                    steps.push(step(operation, Request::Get, found));
                }
            }
            Answer::Listed(_) => {}
            answer => {
                if let Some(steps) = steps.get_mut(operation.key.as_str()) {
                    steps.push(step(operation, operation.request, answer.clone()));
                }
            }
        }
    }
    steps
}

fn step(operation: &Operation, request: Request, answer: Answer) -> Step<Register> {
    let time = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
    Step {
        client_id: Some(operation.client),
        call_time: time(operation.called),
        return_time: operation.ended.map_or(i64::MAX, time),
        op: (request, answer),
        metadata: None,
    }
}

/// The objects whose operations cannot be put in an order.
#[must_use]
pub fn violations(history: &History) -> Vec<String> {
    let mut found = Vec::new();
    for (key, steps) in by_key(history) {
        match porcupine_rs::check_operations_timeout(&steps, SEARCH_TIME) {
            CheckResult::Ok => {}
            CheckResult::Illegal => found.push(format!(
                "{key}: its {} operations have no order that explains all answers",
                steps.len()
            )),
            CheckResult::Unknown => found.push(format!(
                "{key}: no order of its {} operations was found in {SEARCH_TIME:?}; this says nothing",
                steps.len()
            )),
        }
    }
    found
}

/// Writes a picture (HTML) of the operations on an object and of the longest orders that were
/// found.
///
/// # Errors
/// When the file cannot be written.
pub fn picture(history: &History, key: &str, file: &Path) -> std::io::Result<()> {
    let steps = by_key(history).remove(key).unwrap_or_default();
    let (_, information) = porcupine_rs::check_operations_info_timeout(&steps, SEARCH_TIME);
    porcupine_rs::visualize_path(&information, file)
}
