//! What a pod requires of its node, parsed once from its spec.

use std::sync::Arc;

use pandaemon_types::{Labels as _, Name, NodeView, PodResources, pod_resources::PodResourceSpec};
use serde::Deserialize as _;
use serde_json::Value;

use crate::{FailedTerm, NodeSelectorTerm, Reason, Toleration, daemon_tolerations};

/// What a pod requires of its node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodNeeds {
    /// `spec.nodeName`; `None` if empty.
    pub node_name: Option<Name>,
    /// `spec.nodeSelector`: labels that the node must have.
    pub node_selector: Vec<(Name, Name)>,
    /// The terms of the required node affinity, of which one must match; `None` without one.
    pub affinity: Option<Vec<NodeSelectorTerm>>,
    /// `spec.tolerations`, the controller's automatic ones included.
    pub tolerations: Vec<Toleration>,
    /// The resources and host ports it takes from the node.
    pub resources: Arc<PodResources>,
    /// Whether it uses the host network.
    pub host_network: bool,
}

impl PodNeeds {
    /// Reads a pod's spec.
    #[must_use]
    pub fn from_spec(spec: &Value) -> Self {
        let resources = PodResourceSpec::deserialize(spec).unwrap_or_default();
        let tolerations = spec.get("tolerations").and_then(Value::as_array);
        let tolerations = tolerations.into_iter().flatten();
        let node_name = spec.get("nodeName").and_then(Value::as_str);
        Self::from_fields(
            node_name.unwrap_or_default(),
            spec.get("nodeSelector"),
            spec.get("affinity"),
            tolerations.filter_map(Toleration::from_json).collect(),
            &resources,
        )
    }

    /// Reads the fields of a pod's spec that were decoded already. The name is empty for a pod
    /// without a node.
    #[must_use]
    pub fn from_fields(
        node_name: &str,
        node_selector: Option<&Value>,
        affinity: Option<&Value>,
        tolerations: Vec<Toleration>,
        resources: &PodResourceSpec,
    ) -> Self {
        let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned();
        let required = affinity.and_then(|affinity| {
            affinity.pointer("/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution")
        });
        let terms = required.filter(|value| value.is_object()).map(|required| {
            let terms = list(required.get("nodeSelectorTerms")).unwrap_or_default();
            terms.iter().map(NodeSelectorTerm::from_json).collect()
        });
        let selector = node_selector.and_then(Value::as_object);
        let pair = |(key, value): (&String, &Value)| {
            (
                Name::from(&**key),
                Name::from(value.as_str().unwrap_or_default()),
            )
        };
        Self {
            node_name: Some(node_name)
                .filter(|name| !name.is_empty())
                .map(Name::from),
            node_selector: selector.into_iter().flatten().map(pair).collect(),
            affinity: terms,
            tolerations,
            host_network: resources.host_network(),
            resources: Arc::new(PodResources::from(resources)),
        }
    }

    /// Reads the spec of a DaemonSet's pod template and adds the tolerations of daemons.
    #[must_use]
    pub fn for_daemon(template_spec: &Value) -> Self {
        let mut needs = Self::from_spec(template_spec);
        for (key, effect) in daemon_tolerations(needs.host_network) {
            needs.tolerations.push(Toleration::exists(key, effect));
        }
        needs
    }

    /// The first reason why `nodeName`, `nodeSelector` or the required node affinity exclude the
    /// node;
    /// `None` if they do not.
    #[must_use]
    pub fn node_mismatch(&self, node: &NodeView) -> Option<Reason> {
        self.node_mismatches(node).next()
    }

    /// All reasons why `nodeName`, `nodeSelector` and the required node affinity exclude the node.
    pub(crate) fn node_mismatches<'a>(
        &'a self,
        node: &'a NodeView,
    ) -> impl Iterator<Item = Reason> + 'a {
        let name = self.node_name.iter().filter(|wanted| **wanted != node.name);
        let name = name.map(|wanted| Reason::OtherNode {
            wanted: Name::clone(wanted),
        });
        let selector = self.node_selector.iter().filter_map(|(key, wanted)| {
            let actual = node.labels.label(key);
            (actual != Some(wanted)).then(|| Reason::NodeSelector {
                key: Name::clone(key),
                wanted: Name::clone(wanted),
                actual: actual.map(Name::from),
            })
        });
        let affinity = std::iter::once_with(|| self.affinity_mismatch(node)).flatten();
        name.chain(selector).chain(affinity)
    }

    fn affinity_mismatch(&self, node: &NodeView) -> Option<Reason> {
        let terms = self.affinity.as_ref()?;
        if terms.iter().any(|term| term.holds(node)) {
            return None;
        }
        let valid = terms.iter().filter(|term| term.can_hold());
        let failed: Vec<_> = valid.map(|term| FailedTerm::new(term, node)).collect();
        Some(if failed.is_empty() {
            Reason::EmptyAffinity
        } else {
            Reason::Affinity { terms: failed }
        })
    }
}
