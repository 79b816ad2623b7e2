//! Histories: what concurrent clients asked of an API server, what they were answered and what
//! their watches delivered, and whether a server that keeps its promises can have answered so.
//!
//! | module | what it checks |
//! |---|---|
//! | [`linearizability`] | each object is as if all requests had happened one after the other |
//! | [`revisions`] | revisions are used once, and grow in the order of real time |
//! | [`watches`] | watches are ordered, without gaps and duplicates, and agree with lists |
//! | [`broken`] | breaks a history, to show that the checks notice |
//!
//! It reads no clock and sends nothing: the program that does fills a [`History`].

pub mod broken;
pub mod history;
pub mod linearizability;
pub mod revisions;
pub mod watches;

pub use history::{
    Answer, Change, Contents, Entry, History, Operation, Request, Selector, Snapshot, Version,
    WatchLog,
};

/// Everything that is wrong with a history; empty if a correct server can have answered so.
#[must_use]
pub fn violations(history: &History) -> Vec<String> {
    let mut found = linearizability::violations(history);
    found.extend(revisions::violations(history));
    found.extend(watches::violations(history));
    found
}
