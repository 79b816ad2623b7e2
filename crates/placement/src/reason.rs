//! The reasons why a pod does not fit a node, and their texts.

use std::fmt;

use pandaemon_types::{HostPort, Name, NodeView, Quantity, Taint};

use crate::{NodeSelectorTerm, NodeTest};

/// Whether a pod fits a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// The pod fits.
    Yes,
    /// The pod does not fit, for each of these reasons.
    No(Vec<Reason>),
}

impl Fit {
    /// Whether the pod fits.
    #[must_use]
    pub const fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// Why a pod does not fit a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// `nodeName` of the template names another node.
    OtherNode {
        /// The node that it names.
        wanted: Name,
    },
    /// A label of the node does not have the value that `nodeSelector` requires.
    NodeSelector {
        /// The key of the label.
        key: Name,
        /// The required value.
        wanted: Name,
        /// The value of the node; `None` if it has no such label.
        actual: Option<Name>,
    },
    /// No term of the required node affinity matches.
    Affinity {
        /// The valid terms with the tests that fail; at least one.
        terms: Vec<FailedTerm>,
    },
    /// The required node affinity has no term that can match any node.
    EmptyAffinity,
    /// A taint is not tolerated.
    Taint(Taint),
    /// The node is cordoned.
    Unschedulable,
    /// The node has less of a resource free than the pod requests.
    Resource {
        /// The name of the resource.
        name: String,
        /// The amount that the pod requests.
        requested: Quantity,
        /// The amount that is free on the node.
        free: Quantity,
        /// The pods that hold the resource, if known, those first that hold most.
        holders: Vec<Holder>,
    },
    /// The node does not offer this resource.
    NoSuchResource {
        /// The name of the resource.
        name: String,
        /// The amount that the pod requests.
        requested: Quantity,
    },
    /// The node runs the largest number of pods that it allows.
    PodCount {
        /// `allocatable.pods` of the node.
        limit: i64,
    },
    /// A host port is taken by another pod.
    Port {
        /// The host port that conflicts.
        port: HostPort,
        /// The pod that holds it, as `namespace/name`, if known.
        holder: Option<String>,
    },
}

/// A pod that holds a resource of its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The pod, as `namespace/name`.
    pub pod: String,
    /// The amount that it requests.
    pub amount: Quantity,
}

/// A term of the required node affinity that does not match a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedTerm {
    /// The tests that fail, each with the node's value; `None` if it has no such label.
    tests: Vec<(NodeTest, Option<Name>)>,
}

impl FailedTerm {
    pub(crate) fn new(term: &NodeSelectorTerm, node: &NodeView) -> Self {
        let tests = term.failures(node);
        let tests = tests.map(|test| (test.clone(), test.actual(node).map(Name::from)));
        Self {
            tests: tests.collect(),
        }
    }
}

impl Reason {
    /// The phrase of upstream's scheduler for this reason, as in `0/3 nodes are available: ...`.
    #[must_use]
    pub fn scheduler_text(&self) -> String {
        match self {
            Self::OtherNode { .. } => "node(s) didn't match the requested node name".to_owned(),
            Self::NodeSelector { .. } | Self::Affinity { .. } | Self::EmptyAffinity => {
                "node(s) didn't match Pod's node affinity/selector".to_owned()
            }
            Self::Taint(taint) => {
                format!(
                    "node(s) had untolerated taint {{{}: {}}}",
                    taint.key, taint.value
                )
            }
            Self::Unschedulable => "node(s) were unschedulable".to_owned(),
            Self::Resource { name, .. } | Self::NoSuchResource { name, .. } => {
                format!("Insufficient {name}")
            }
            Self::PodCount { .. } => "Too many pods".to_owned(),
            Self::Port { .. } => {
                "node(s) didn't have free ports for the requested pod ports".to_owned()
            }
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherNode { wanted } => write!(f, "the pod asks for node {wanted}"),
            Self::NodeSelector {
                key,
                wanted,
                actual,
            } => {
                write!(f, "node selector wants {key}={wanted}, the node has ")?;
                write_label(f, key, actual.as_deref())
            }
            Self::Affinity { terms } => write_affinity(f, terms),
            Self::EmptyAffinity => f.write_str("the node affinity has no term that can hold"),
            Self::Taint(Taint { key, value, effect }) => {
                let equals = if value.is_empty() { "" } else { "=" };
                write!(f, "untolerated taint {key}{equals}{value}:{effect:?}")
            }
            Self::Unschedulable => f.write_str("the node is cordoned"),
            Self::Resource {
                name,
                requested,
                free,
                holders,
            } => {
                let short = *requested - *free;
                write!(
                    f,
                    "{short} {name} short: {requested} requested, {free} free"
                )?;
                write_holders(f, holders)
            }
            Self::NoSuchResource { name, requested } => {
                write!(f, "the node has no {name}: {requested} requested")
            }
            Self::PodCount { limit } => write!(f, "the node runs all of its {limit} pods"),
            Self::Port { port, holder } => {
                write_port(f, port)?;
                holder
                    .as_ref()
                    .map_or(Ok(()), |holder| write!(f, " by {holder}"))
            }
        }
    }
}

/// At most this many terms of an affinity are written.
const TERMS: usize = 3;
/// At most this many holders of a resource are written.
const HOLDERS: usize = 3;

fn write_affinity(f: &mut fmt::Formatter<'_>, terms: &[FailedTerm]) -> fmt::Result {
    if let [term] = terms {
        return write!(f, "node affinity {term}");
    }
    let count = terms.len();
    write!(f, "none of the {count} node affinity terms holds: ")?;
    for (position, term) in terms.iter().take(TERMS).enumerate() {
        let separator = if position == 0 { "" } else { "; " };
        write!(f, "{separator}({}) {term}", position + 1)?;
    }
    f.write_str(if count > TERMS { ", and so on" } else { "" })
}

fn write_holders(f: &mut fmt::Formatter<'_>, holders: &[Holder]) -> fmt::Result {
    for (position, Holder { pod, amount }) in holders.iter().take(HOLDERS).enumerate() {
        let separator = if position == 0 { "; held by " } else { ", " };
        write!(f, "{separator}{pod} {amount}")?;
    }
    match holders.len().checked_sub(HOLDERS) {
        None | Some(0) => Ok(()),
        Some(more) => write!(f, ", {more} more"),
    }
}

fn write_port(f: &mut fmt::Formatter<'_>, port: &HostPort) -> fmt::Result {
    let HostPort { port, protocol, ip } = port;
    f.write_str("host port ")?;
    if ip != "0.0.0.0" {
        write!(f, "{ip}:")?;
    }
    write!(f, "{port}/{protocol} is taken")
}

impl fmt::Display for FailedTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (test, actual)) in self.tests.iter().enumerate() {
            let separator = if position == 0 { "" } else { " and " };
            write!(f, "{separator}wants {test}, the node has ")?;
            write_label(f, test.key(), actual.as_deref())?;
        }
        Ok(())
    }
}

fn write_label(f: &mut fmt::Formatter<'_>, key: &str, actual: Option<&str>) -> fmt::Result {
    match actual {
        Some(value) => write!(f, "{key}={value}"),
        None => write!(f, "no {key}"),
    }
}

impl fmt::Display for Fit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("fits"),
            Self::No(reasons) => {
                let texts: Vec<_> = reasons.iter().map(Reason::to_string).collect();
                f.write_str(&texts.join("; "))
            }
        }
    }
}

impl fmt::Display for NodeSelectorTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests: Vec<_> = self.tests().map(NodeTest::to_string).collect();
        f.write_str(&tests.join(" and "))
    }
}
