//! Pods that differ in name and node only: the work of the first two serves for all that follow.
//!
//! A DaemonSet asks for thousands of pods from one text with two holes. Decoding, defaults, admission,
//! validation and the books of ownership make the same of each. A *stencil* is what the server made of
//! such a text, with holes for name, node, uid and time. It is *proven* when a second request, which went
//! the whole way, came out as the stencil says; only then it is used. It holds for one user, manager and
//! namespace, and until anything changes that the making of a pod looks at ([`Registry::guard`]).

use std::sync::Arc;

use pandaemon_machinery::{decode::FieldValidation, scheme, status::Result};
use pandaemon_store::{Expect, Op, Revision};
use pandaemon_types::names::{dns_label, dns_subdomain};
use parking_lot::Mutex;
use serde::Deserialize;

use super::{Call, CommitError, Registry, Written};
use crate::{auth::User, cache::key, object::Object};

/// Stencils that are kept; the one that has rested longest goes first.
const KEPT: usize = 16;

/// Kinds that the making of a pod looks at.
const LOOKED_AT: [(&str, &str); 3] = [
    ("", "namespaces"),
    ("", "serviceaccounts"),
    ("scheduling.k8s.io", "priorityclasses"),
];

/// When each of them was changed last.
pub(crate) type Guard = [Revision; LOOKED_AT.len()];

/// A piece of a text: literal, or one of its holes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Hole(Hole),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hole {
    Name,
    Node,
    Uid,
    Time,
}

/// What fills the holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Filling<'a> {
    name: &'a str,
    node: &'a str,
    uid: &'a str,
    time: &'a str,
}

impl<'a> Filling<'a> {
    const fn of(&self, hole: Hole) -> &'a str {
        match hole {
            Hole::Name => self.name,
            Hole::Node => self.node,
            Hole::Uid => self.uid,
            Hole::Time => self.time,
        }
    }
}

/// Whose text it is, and how it was to be read.
#[derive(Debug, PartialEq, Eq)]
struct Whose {
    namespace: String,
    user: User,
    manager: String,
    validation: FieldValidation,
}

impl Whose {
    fn is(&self, call: &Call) -> bool {
        self.namespace == call.namespace
            && self.manager == call.manager
            && self.validation == call.options.validation
            && self.user == call.user
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    New,
    Proven,
    /// What comes out depends on more than the holes.
    Unfit,
}

#[derive(Debug)]
struct Stencil {
    whose: Whose,
    guard: Guard,
    body: Vec<Piece>,
    stored: Vec<Piece>,
    standing: Mutex<Standing>,
}

/// All stencils, the last used first.
#[derive(Debug, Default)]
pub(super) struct Stencils(Mutex<Vec<Arc<Stencil>>>);

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    uid: &'a str,
    creation_timestamp: &'a str,
}

/// Cuts a JSON text at every string that is exactly one of these.
fn cut(text: &[u8], holes: &[(Hole, &str)]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(quote) = text[at..].iter().position(|byte| *byte == b'"') {
        let open = at + quote;
        let Some(close) = end_of_string(text, open) else {
            break;
        };
        let inner = &text[open + 1..close];
        if let Some((hole, _)) = holes.iter().find(|(_, value)| value.as_bytes() == inner) {
            pieces.push(Piece::Text(text[start..=open].to_vec()));
            pieces.push(Piece::Hole(*hole));
            start = close;
        }
        at = close + 1;
    }
    pieces.push(Piece::Text(text[start..].to_vec()));
    pieces
}

/// Where the string that opens at `open` is closed.
fn end_of_string(text: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += text[at..].iter().position(|b| matches!(b, b'"' | b'\\'))?;
        if text[at] == b'"' {
            return Some(at);
        }
        // The byte behind a backslash closes nothing.
        at += 2;
        text.get(at)?;
    }
}

/// Name and node of a text that fits these pieces.
fn fit<'a>(pieces: &[Piece], text: &'a [u8]) -> Option<(&'a str, &'a str)> {
    let (mut rest, mut name, mut node) = (text, None, None);
    for piece in pieces {
        match piece {
            Piece::Text(literal) => rest = rest.strip_prefix(literal.as_slice())?,
            Piece::Hole(hole) => {
                let end = rest.iter().position(|byte| *byte == b'"')?;
                let value = std::str::from_utf8(&rest[..end]).ok()?;
                let seen = match hole {
                    Hole::Name => &mut name,
                    Hole::Node => &mut node,
                    Hole::Uid | Hole::Time => return None,
                };
                if *seen.get_or_insert(value) != value {
                    return None;
                }
                rest = &rest[end..];
            }
        }
    }
    rest.is_empty().then_some((name?, node?))
}

fn fill(pieces: &[Piece], filling: &Filling<'_>) -> Vec<u8> {
    let length = |piece: &Piece| match piece {
        Piece::Text(text) => text.len(),
        Piece::Hole(hole) => filling.of(*hole).len(),
    };
    let mut out = Vec::with_capacity(pieces.iter().map(length).sum());
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Hole(hole) => out.extend_from_slice(filling.of(*hole).as_bytes()),
        }
    }
    out
}

/// Names of which the making of a pod sees nothing but that they are well-formed. Longer ones are cut somewhere.
fn are_plain(name: &str, node: &str) -> bool {
    name != node && dns_label(name).is_empty() && dns_subdomain(node).is_empty()
}

impl Stencil {
    /// What a request and its outcome say about others like it.
    fn learn(call: &Call, guard: Guard, body: &[u8], object: &Object) -> Option<Self> {
        let head: Head<'_> = serde_json::from_slice(&object.bytes).ok()?;
        let filling = Filling {
            name: object.name(),
            node: object.node(),
            uid: head.metadata.uid,
            time: head.metadata.creation_timestamp,
        };
        // A pod that is left to a binder names its node in the affinity alone: an empty name is not plain.
        let node = filling.node;
        if !are_plain(filling.name, node) {
            return None;
        }
        let asked = cut(body, &[(Hole::Name, filling.name), (Hole::Node, node)]);
        // Whatever the client wrote itself is no stamp of ours.
        let stamps = [(Hole::Uid, filling.uid), (Hole::Time, filling.time)];
        if cut(body, &stamps).len() > 1 || fit(&asked, body) != Some((filling.name, node)) {
            return None;
        }
        let all = [Hole::Name, Hole::Node, Hole::Uid, Hole::Time].map(|h| (h, filling.of(h)));
        Some(Self {
            whose: Whose {
                namespace: call.namespace.clone(),
                user: call.user.clone(),
                manager: call.manager.clone(),
                validation: call.options.validation,
            },
            guard,
            body: asked,
            stored: cut(&object.bytes, &all),
            standing: Mutex::new(Standing::New),
        })
    }

    /// Compares what came out the long way with what this says.
    fn judge(&self, object: &Object, name: &str, node: &str) {
        let mut standing = self.standing.lock();
        if *standing != Standing::New {
            return;
        }
        let head = serde_json::from_slice::<Head<'_>>(&object.bytes);
        let expected = head.ok().map(|head| {
            let filling = Filling {
                name,
                node,
                uid: head.metadata.uid,
                time: head.metadata.creation_timestamp,
            };
            fill(&self.stored, &filling)
        });
        *standing = match expected {
            Some(bytes) if bytes == object.bytes => Standing::Proven,
            _ => Standing::Unfit,
        };
    }
}

impl Stencils {
    fn find<'a>(
        &self,
        call: &Call,
        guard: Guard,
        body: &'a [u8],
    ) -> Option<(Arc<Stencil>, &'a str, &'a str)> {
        let mut all = self.0.lock();
        all.retain(|stencil| stencil.guard == guard);
        let theirs = all
            .iter()
            .enumerate()
            .filter(|(_, stencil)| stencil.whose.is(call));
        let mut fitting = theirs.filter_map(|(at, stencil)| {
            let (name, node) = fit(&stencil.body, body)?;
            Some((at, name, node))
        });
        let found = fitting.next();
        drop(fitting);
        let (at, name, node) = found?;
        all[..=at].rotate_right(1);
        Some((Arc::clone(&all[0]), name, node))
    }

    fn add(&self, stencil: Stencil) {
        let mut all = self.0.lock();
        all.truncate(KEPT - 1);
        all.insert(0, Arc::new(stencil));
    }
}

impl Registry {
    /// When what the making of a pod looks at was changed last.
    pub(crate) fn guard(&self) -> Guard {
        LOOKED_AT.map(|(group, plural)| {
            scheme::find_resource(group, "v1", plural)
                .and_then(|kind| self.cache.of(kind))
                .map_or(0, crate::cache::KindCache::changed)
        })
    }

    /// Makes a pod by a proven stencil, if there is one for it.
    ///
    /// # Errors
    /// As [`Registry::create`].
    pub(crate) async fn create_alike(
        &self,
        call: &Call,
        guard: Guard,
        body: &[u8],
    ) -> Result<Option<Written>> {
        let found = self.stencils.find(call, guard, body);
        let Some((stencil, name, node)) = found else {
            return Ok(None);
        };
        if *stencil.standing.lock() != Standing::Proven || !are_plain(name, node) {
            return Ok(None);
        }
        let uid = uuid::Uuid::new_v4().to_string();
        let filling = Filling {
            name,
            node,
            uid: &uid,
            time: &call.time(),
        };
        let bytes = bytes::Bytes::from(fill(&stencil.stored, &filling));
        let key = key(call.kind, &call.namespace, name);
        let op = Op::Put(bytes.clone());
        let object = match self
            .commit(call, Arc::clone(&key), Expect::Absent, op)
            .await
        {
            Ok(revision) => self.written(call, key, bytes, revision),
            Err(error) => Err(error),
        };
        match object {
            Ok(object) => Ok(Some(Written {
                object,
                created: true,
                warnings: Vec::new(),
            })),
            Err(CommitError::Failed(status)) => Err(status),
            Err(CommitError::Conflict(_)) => Err(self.taken(call, name)),
        }
    }

    /// Learns from a pod that went the whole way.
    pub(crate) fn learn(&self, call: &Call, guard: Guard, body: &[u8], written: &Written) {
        if !written.warnings.is_empty() || call.options.dry_run {
            return;
        }
        match self.stencils.find(call, guard, body) {
            Some((stencil, name, node)) => stencil.judge(&written.object, name, node),
            None => {
                if let Some(stencil) = Stencil::learn(call, guard, body, &written.object) {
                    self.stencils.add(stencil);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pieces: &[Piece]) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => String::from_utf8(text.clone()).unwrap(),
            Piece::Hole(hole) => format!("<{hole:?}>"),
        };
        pieces.iter().map(piece).collect()
    }

    #[test]
    fn texts_are_cut_at_whole_strings() {
        let holes = [(Hole::Name, "p-1"), (Hole::Node, "n1")];
        for (given, expected) in [
            (
                r#"{"name":"p-1","x":"p-12","n":["n1","n1"]}"#,
                r#"{"name":"<Name>","x":"p-12","n":["<Node>","<Node>"]}"#,
            ),
            (
                r#"{"a":"say \"n1\"","b":"\\","n1":1}"#,
                r#"{"a":"say \"n1\"","b":"\\","<Node>":1}"#,
            ),
            (r#"{"a":"open"#, r#"{"a":"open"#),
            (r#"{"a":"\"#, r#"{"a":"\"#),
            ("", ""),
        ] {
            assert_eq!(text(&cut(given.as_bytes(), &holes)), expected, "{given}");
        }
    }

    #[test]
    fn a_text_fits_if_only_its_holes_differ() {
        let holes = [(Hole::Name, "p-1"), (Hole::Node, "n1")];
        let pieces = cut(br#"{"name":"p-1","on":"n1","again":"n1"}"#, &holes);
        for (given, expected) in [
            (
                r#"{"name":"p-2","on":"n2","again":"n2"}"#,
                Some(("p-2", "n2")),
            ),
            (r#"{"name":"p-2","on":"n2","again":"n3"}"#, None),
            (r#"{"name":"p-2","on":"n2","again":"n2"} "#, None),
            (r#"{"name":"p-2","off":"n2","again":"n2"}"#, None),
            (r#"{"name":"p-2","on":"n2"#, None),
        ] {
            assert_eq!(fit(&pieces, given.as_bytes()), expected, "{given}");
        }
        let filling = Filling {
            name: "p-9",
            node: "n9",
            uid: "u",
            time: "t",
        };
        let filled = fill(&pieces, &filling);
        assert_eq!(filled, br#"{"name":"p-9","on":"n9","again":"n9"}"#);
    }

    #[test]
    fn odd_names_go_the_whole_way() {
        let long = "x".repeat(64);
        assert!(are_plain("web-x7f2p", "node-1.example"));
        for (name, node) in [
            ("A", "n"),
            ("p", "n_1"),
            (long.as_str(), "n"),
            ("a.b", "n"),
            ("n", "n"),
            ("", "n"),
            ("p", ""),
        ] {
            assert!(!are_plain(name, node), "{name} {node}");
        }
    }
}
