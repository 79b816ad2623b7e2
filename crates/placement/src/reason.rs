//! The reasons for which a pod does not fit a node, and their sentences.

use std::fmt;

use pandaemon_types::{HostPort, Name, Quantity, Taint};

use crate::{NodeSelectorTerm, NodeTest};

/// Whether a pod fits a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Yes,
    /// It does not, for each of these reasons.
    No(Vec<Reason>),
}

impl Fit {
    /// Whether the answer is yes.
    #[must_use]
    pub const fn is_yes(&self) -> bool {
        matches!(self, Self::Yes)
    }
}

/// Why a pod does not fit a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The template asks for another node by name.
    OtherNode {
        /// The node it asks for.
        wanted: Name,
    },
    /// The node's label is not what `nodeSelector` demands.
    NodeSelector {
        /// The label's key.
        key: Name,
        /// The value demanded.
        wanted: Name,
        /// The value the node has.
        actual: Option<Name>,
    },
    /// No term of the required node affinity holds; this is the first one's failing test.
    Affinity {
        /// The test that fails.
        test: NodeTest,
        /// What the node has instead.
        actual: Option<Name>,
        /// How many terms there are.
        terms: usize,
    },
    /// The required node affinity has no term that could ever hold.
    EmptyAffinity,
    /// A taint is not tolerated.
    Taint(Taint),
    /// The node is cordoned.
    Unschedulable,
    /// A resource is short.
    Resource {
        /// The resource.
        name: String,
        /// What the pod requests.
        requested: Quantity,
        /// What is free.
        free: Quantity,
    },
    /// The node does not have this resource at all.
    NoSuchResource {
        /// The resource.
        name: String,
        /// What the pod requests.
        requested: Quantity,
    },
    /// The node runs as many pods as it may.
    PodCount {
        /// How many it may run.
        limit: i64,
    },
    /// A port of the node is taken.
    Port {
        /// The port.
        port: HostPort,
        /// The pod that holds it, as `namespace/name`, if known.
        holder: Option<String>,
    },
}

impl Reason {
    /// The words of upstream's scheduler for the same thing, as in `0/3 nodes are available: ...`.
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
                labelled(f, key, actual.as_deref())
            }
            Self::Affinity {
                test,
                actual,
                terms,
            } => {
                let which = if *terms > 1 {
                    "none of the node affinity's terms holds; the first"
                } else {
                    "node affinity"
                };
                write!(f, "{which} wants {test}, the node has ")?;
                labelled(f, test.key(), actual.as_deref())
            }
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
            } => {
                let short = *requested - *free;
                write!(
                    f,
                    "{short} {name} short: {requested} requested, {free} free"
                )
            }
            Self::NoSuchResource { name, requested } => {
                write!(f, "the node has no {name}: {requested} requested")
            }
            Self::PodCount { limit } => write!(f, "the node runs all of its {limit} pods"),
            Self::Port {
                port: HostPort { port, protocol, ip },
                holder,
            } => {
                let address = if ip == "0.0.0.0" {
                    String::new()
                } else {
                    format!("{ip}:")
                };
                write!(f, "host port {address}{port}/{protocol} is taken")?;
                holder
                    .as_ref()
                    .map_or(Ok(()), |holder| write!(f, " by {holder}"))
            }
        }
    }
}

fn labelled(f: &mut fmt::Formatter<'_>, key: &str, actual: Option<&str>) -> fmt::Result {
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
