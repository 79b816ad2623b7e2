//! The pod template cache: pods that differ in name and node only are created from a template.
//!
//! A DaemonSet creates thousands of pods from one text with two variable parts. Decoding,
//! defaulting, admission, validation and managedFields give the same result for each. A
//! [`Template`] is the request body and the stored object of one such pod, split at placeholders
//! for name, node, uid and time. It is
//! *verified* when a second pod, created through the full path, came out as the template predicts;
//! only a verified template is used. It is valid for one user, field manager and namespace, and
//! until an object changes that the creation of a pod reads ([`DependencyRevisions`]). No template
//! is used while an admission plugin reads a field in which such pods differ.
//!
//! A placeholder stands only where the field itself is one of the two, so that a check of the names
//! is the whole check of the field: `metadata.name` for the name, `spec.nodeName` and the node
//! affinity's `metadata.name` for the node. A request that has one of the values anywhere else (the
//! node in a label, in `spec.hostname`, as a service account) takes the full path.

use std::sync::Arc;

use pandaemon_machinery::{Kind, Status, decode::FieldValidation, status::Result};
use pandaemon_store::{Expect, Revision};
use pandaemon_types::names::{dns_label, dns_subdomain};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use super::{Call, CommitError, ObjectWrite, Registry, Written, traces::Traces};
use crate::{
    admission::{Cluster, Operation},
    auth::User,
    cache::{
        object::{Encoded, Head},
        watch_cache::key,
    },
};

/// Maximum number of templates. The least recently used one is dropped first.
const MAX_TEMPLATES: usize = 16;

/// The fields in which pods of a template differ: those of the placeholders, and managedFields,
/// which contain the time.
const DIFFERENT: [&str; 6] = [
    "/metadata/name",
    "/metadata/uid",
    "/metadata/creationTimestamp",
    "/metadata/managedFields",
    "/spec/nodeName",
    REQUIRED_TERMS,
];

/// The revision of the last change of each kind that admission plugins look up for a pod; `None`
/// for a kind that is not served.
pub(super) type DependencyRevisions = Vec<Option<Revision>>;

/// Whether objects of this kind are made from templates.
pub(super) fn serves(kind: &Kind) -> bool {
    kind.storage == "pods"
}

/// A piece of a text that was split at placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Placeholder(Placeholder),
}

/// The variable parts of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    Name,
    Node,
    Uid,
    Time,
}

/// The values of the placeholders for one pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Values<'a> {
    name: &'a str,
    node: &'a str,
    uid: &'a str,
    /// `metadata.creationTimestamp`.
    time: &'a str,
}

impl<'a> Values<'a> {
    const fn of(&self, placeholder: Placeholder) -> &'a str {
        match placeholder {
            Placeholder::Name => self.name,
            Placeholder::Node => self.node,
            Placeholder::Uid => self.uid,
            Placeholder::Time => self.time,
        }
    }
}

/// The parameters of a request that influence the stored object.
#[derive(Debug, PartialEq, Eq)]
struct RequestIdentity {
    namespace: String,
    user: User,
    manager: String,
    validation: FieldValidation,
    /// Whether the audit log has an event of it.
    is_audited: bool,
}

impl RequestIdentity {
    fn matches(&self, call: &Call) -> bool {
        self.namespace == call.namespace
            && self.manager == call.manager
            && self.validation == call.options.validation
            && self.is_audited == call.annotations.are_collected()
            && self.user == call.user
    }
}

/// Whether a template may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Validity {
    /// No second pod was compared yet.
    Unverified,
    /// A second pod came out as the template predicts.
    Verified,
    /// A second pod came out differently: the result depends on more than the placeholders.
    Unusable,
}

/// A request body and the object stored for it, split at placeholders, with the warnings that
/// answered it and what its admission left.
#[derive(Debug)]
struct Template {
    identity: RequestIdentity,
    dependencies: DependencyRevisions,
    body: Vec<Piece>,
    stored: Vec<Piece>,
    warnings: Vec<String>,
    traces: Traces,
    validity: Mutex<Validity>,
}

/// The templates, most recently used first.
#[derive(Debug, Default)]
pub(super) struct TemplateCache(Mutex<Vec<Arc<Template>>>);

/// The fields of a stored pod that the server sets.
#[derive(Deserialize)]
struct StoredPod<'a> {
    #[serde(borrow)]
    metadata: StoredMetadata<'a>,
}

/// Where the required terms of the node affinity are.
const REQUIRED_TERMS: &str = "/spec/affinity/nodeAffinity\
     /requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";

/// The number of strings that are a pod's name, and that are its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Occurrences {
    name: usize,
    node: usize,
}

/// The items of a list; none of anything else.
fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

impl Occurrences {
    /// In the fields whose value is the name or the node. `None` if the text has others there.
    fn in_fields(text: &[u8], name: &str, node: &str) -> Option<Self> {
        let pod = pandaemon_machinery::decode::parse_json(text).ok()?;
        if pod["metadata"]["name"] != name || pod["spec"]["nodeName"] != node {
            return None;
        }
        let terms = pod.pointer(REQUIRED_TERMS).into_iter().flat_map(items);
        let fields = terms.flat_map(|term| items(&term["matchFields"]));
        let values = fields
            .filter(|field| field["key"] == "metadata.name")
            .flat_map(|field| items(&field["values"]));
        Some(Self {
            name: 1,
            node: 1 + values.filter(|value| *value == node).count(),
        })
    }

    /// In the whole text, from its pieces.
    fn in_pieces(pieces: &[Piece]) -> Self {
        let count = |wanted| {
            let is_wanted = |piece: &&Piece| **piece == Piece::Placeholder(wanted);
            pieces.iter().filter(is_wanted).count()
        };
        Self {
            name: count(Placeholder::Name),
            node: count(Placeholder::Node),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredMetadata<'a> {
    uid: &'a str,
    creation_timestamp: &'a str,
}

/// Splits a JSON text at every string that equals one of these values.
fn split(text: &[u8], values: &[(Placeholder, &str)]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while let Some(quote) = text[at..].iter().position(|byte| *byte == b'"') {
        let open = at + quote;
        let Some(close) = end_of_string(text, open) else {
            break;
        };
        let inner = &text[open + 1..close];
        if let Some((placeholder, _)) = values.iter().find(|(_, value)| value.as_bytes() == inner) {
            pieces.push(Piece::Text(text[start..=open].to_vec()));
            pieces.push(Piece::Placeholder(*placeholder));
            start = close;
        }
        at = close + 1;
    }
    pieces.push(Piece::Text(text[start..].to_vec()));
    pieces
}

/// The offset of the quote that closes the string whose opening quote is at `open`.
fn end_of_string(text: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += text[at..].iter().position(|b| matches!(b, b'"' | b'\\'))?;
        if text[at] == b'"' {
            return Some(at);
        }
        // Skip the escaped byte.
        at += 2;
        text.get(at)?;
    }
}

/// The name and the node of a text that matches these pieces.
fn match_body<'a>(pieces: &[Piece], text: &'a [u8]) -> Option<(&'a str, &'a str)> {
    let (mut rest, mut name, mut node) = (text, None, None);
    for piece in pieces {
        match piece {
            Piece::Text(literal) => rest = rest.strip_prefix(literal.as_slice())?,
            Piece::Placeholder(placeholder) => {
                let end = rest.iter().position(|byte| *byte == b'"')?;
                let value = std::str::from_utf8(&rest[..end]).ok()?;
                let found = match placeholder {
                    Placeholder::Name => &mut name,
                    Placeholder::Node => &mut node,
                    Placeholder::Uid | Placeholder::Time => return None,
                };
                if *found.get_or_insert(value) != value {
                    return None;
                }
                rest = &rest[end..];
            }
        }
    }
    rest.is_empty().then_some((name?, node?))
}

/// The text of the pieces with the placeholders replaced by values.
fn fill(pieces: &[Piece], values: &Values<'_>) -> Vec<u8> {
    let length = |piece: &Piece| match piece {
        Piece::Text(text) => text.len(),
        Piece::Placeholder(placeholder) => values.of(*placeholder).len(),
    };
    let mut out = Vec::with_capacity(pieces.iter().map(length).sum());
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Placeholder(placeholder) => {
                out.extend_from_slice(values.of(*placeholder).as_bytes());
            }
        }
    }
    out
}

/// Whether the creation of a pod checks nothing about these names but that they are well-formed.
/// Names longer than a DNS label are truncated in some places.
fn are_plain(name: &str, node: &str) -> bool {
    name != node && dns_label(name).is_empty() && dns_subdomain(node).is_empty()
}

impl Template {
    /// A template from a request and the pod created for it; `None` if the name or the node also
    /// stands in a field that has other rules.
    fn new(
        call: &Call,
        dependencies: DependencyRevisions,
        body: &[u8],
        written: &Written,
    ) -> Option<Self> {
        let object = &written.object;
        let pod: StoredPod<'_> = serde_json::from_slice(&object.bytes).ok()?;
        let values = Values {
            name: object.name(),
            node: object.indexed_value(),
            uid: pod.metadata.uid,
            time: pod.metadata.creation_timestamp,
        };
        // A pod for the scheduler has no spec.nodeName, only an affinity: an empty node is not
        // plain.
        let node = values.node;
        if !are_plain(values.name, node) {
            return None;
        }
        let requested = split(
            body,
            &[(Placeholder::Name, values.name), (Placeholder::Node, node)],
        );
        // The body must not contain the uid or the time: those are set by the server alone.
        let generated = [
            (Placeholder::Uid, values.uid),
            (Placeholder::Time, values.time),
        ];
        if split(body, &generated).len() > 1
            || match_body(&requested, body) != Some((values.name, node))
        {
            return None;
        }
        let all = [
            Placeholder::Name,
            Placeholder::Node,
            Placeholder::Uid,
            Placeholder::Time,
        ];
        let stored = split(&object.bytes, &all.map(|p| (p, values.of(p))));
        for (text, pieces) in [(body, &requested), (&object.bytes[..], &stored)] {
            let allowed = Occurrences::in_fields(text, values.name, node)?;
            if Occurrences::in_pieces(pieces) != allowed {
                return None;
            }
        }
        Some(Self {
            identity: RequestIdentity {
                namespace: call.namespace.clone(),
                user: call.user.clone(),
                manager: call.manager.clone(),
                validation: call.options.validation,
                is_audited: call.annotations.are_collected(),
            },
            dependencies,
            body: requested,
            stored,
            warnings: written.warnings.clone(),
            traces: Traces::of(call),
            validity: Mutex::new(Validity::Unverified),
        })
    }

    /// Compares a pod that was created through the full path with the prediction of this template.
    fn verify(&self, written: &Written, name: &str, node: &str) {
        let object = &written.object;
        let mut validity = self.validity.lock();
        if *validity != Validity::Unverified {
            return;
        }
        let pod = serde_json::from_slice::<StoredPod<'_>>(&object.bytes);
        let expected = pod.ok().map(|pod| {
            let values = Values {
                name,
                node,
                uid: pod.metadata.uid,
                time: pod.metadata.creation_timestamp,
            };
            fill(&self.stored, &values)
        });
        *validity = match expected {
            Some(bytes) if bytes == object.bytes && self.warnings == written.warnings => {
                Validity::Verified
            }
            _ => Validity::Unusable,
        };
    }
}

impl TemplateCache {
    /// The template for a request, with the name and the node in its body. Drops outdated
    /// templates.
    fn find<'a>(
        &self,
        call: &Call,
        dependencies: &DependencyRevisions,
        body: &'a [u8],
    ) -> Option<(Arc<Template>, &'a str, &'a str)> {
        let mut all = self.0.lock();
        // Other users may have other dependencies, as a plugin may not concern them.
        all.retain(|template| {
            template.dependencies == *dependencies || !template.identity.matches(call)
        });
        let candidates = all
            .iter()
            .enumerate()
            .filter(|(_, template)| template.identity.matches(call));
        let mut matching = candidates.filter_map(|(at, template)| {
            let (name, node) = match_body(&template.body, body)?;
            Some((at, name, node))
        });
        let found = matching.next();
        drop(matching);
        let (at, name, node) = found?;
        all[..=at].rotate_right(1);
        Some((Arc::clone(&all[0]), name, node))
    }

    fn add(&self, template: Template) {
        let mut all = self.0.lock();
        all.truncate(MAX_TEMPLATES - 1);
        all.insert(0, Arc::new(template));
    }
}

impl Registry {
    /// The current revisions of the kinds that the creation of a pod reads; `None` if a plugin has
    /// to see each pod, because it reads a field in which pods of a template differ.
    pub(super) fn dependency_revisions(&self, call: &Call) -> Option<DependencyRevisions> {
        let cluster = Cluster {
            scheme: &call.scheme,
            cache: &self.cache,
        };
        let request = call.request(Operation::Create);
        self.admission
            .lookup_revisions(request, cluster, &DIFFERENT)
    }

    /// Creates a pod from a verified template. Returns `None` if there is none for this request.
    ///
    /// # Errors
    /// As [`Registry::create`].
    pub(super) async fn create_from_template(
        &self,
        call: &Call,
        dependencies: &DependencyRevisions,
        body: &[u8],
    ) -> Result<Option<Written>> {
        let found = self.templates.find(call, dependencies, body);
        let Some((template, name, node)) = found else {
            return Ok(None);
        };
        if *template.validity.lock() != Validity::Verified || !are_plain(name, node) {
            return Ok(None);
        }
        template.traces.leave(call);
        let uid = uuid::Uuid::new_v4().to_string();
        let values = Values {
            name,
            node,
            uid: &uid,
            time: &call.time(),
        };
        let bytes = bytes::Bytes::from(fill(&template.stored, &values));
        let index = call.kind.strategy.indexed_field();
        let head = Head::read(&bytes, index).map_err(Status::internal)?;
        let write = ObjectWrite {
            key: key(&call.kind, &call.namespace, name),
            expect: Expect::Absent,
            new: Some(Encoded { bytes, head }),
            depends_on: self.namespace_guard(call)?,
            turn: None,
            dry_run: false,
        };
        let object = self.commit_object(call, write).await;
        match object {
            Ok(object) => Ok(Some(Written {
                object,
                created: true,
                warnings: template.warnings.clone(),
            })),
            Err(CommitError::Failed(status)) => Err(status),
            Err(CommitError::Conflict) => Err(self.already_exists(call, name)),
            Err(CommitError::Outdated) => Ok(None),
        }
    }

    /// Adds or verifies a template with a pod that was created through the full path.
    pub(super) fn update_templates(
        &self,
        call: &Call,
        dependencies: DependencyRevisions,
        body: &[u8],
        written: &Written,
    ) {
        if call.options.dry_run {
            return;
        }
        match self.templates.find(call, &dependencies, body) {
            Some((template, name, node)) => template.verify(written, name, node),
            None => {
                if let Some(template) = Template::new(call, dependencies, body, written) {
                    self.templates.add(template);
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
            Piece::Placeholder(placeholder) => format!("<{placeholder:?}>"),
        };
        pieces.iter().map(piece).collect()
    }

    #[test]
    fn texts_are_split_at_whole_strings_only() {
        let values = [(Placeholder::Name, "p-1"), (Placeholder::Node, "n1")];
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
            assert_eq!(text(&split(given.as_bytes(), &values)), expected, "{given}");
        }
    }

    #[test]
    fn a_body_matches_if_only_placeholders_differ() {
        let values = [(Placeholder::Name, "p-1"), (Placeholder::Node, "n1")];
        let pieces = split(br#"{"name":"p-1","on":"n1","again":"n1"}"#, &values);
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
            assert_eq!(match_body(&pieces, given.as_bytes()), expected, "{given}");
        }
        let values = Values {
            name: "p-9",
            node: "n9",
            uid: "u",
            time: "t",
        };
        let filled = fill(&pieces, &values);
        assert_eq!(filled, br#"{"name":"p-9","on":"n9","again":"n9"}"#);
    }

    #[test]
    fn names_that_need_validation_take_the_full_path() {
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
