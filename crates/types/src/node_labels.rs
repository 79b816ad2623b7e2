//! Which labels a node agent may give its own Node. Upstream: `k8s.io/kubelet/pkg/apis`
//! (`well_known_labels.go`); the kubelet refuses others at its start, and the admission plugin
//! NodeRestriction at each write.

use std::collections::BTreeMap;

use crate::names::{label_value, qualified_name};

/// Labels of Kubernetes that node agents set. Upstream: `KubeletLabels`.
pub const OWN_LABELS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// Domains of Kubernetes whose labels node agents set. Upstream: `KubeletLabelNamespaces`.
pub const OWN_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

/// Whether a node agent may set a label.
#[must_use]
pub fn is_own_label(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    if is_in(domain, "node-restriction.kubernetes.io") {
        return false;
    }
    let is_kubernetes = is_in(domain, "kubernetes.io") || is_in(domain, "k8s.io");
    !is_kubernetes || OWN_LABELS.contains(&key) || OWN_DOMAINS.iter().any(|own| is_in(domain, own))
}

/// Whether a node agent may be started with these labels for its Node.
///
/// # Errors
/// The kubelet's message (`ValidateKubeletFlags`) if it may not set one of them, or one is not
/// valid.
pub fn check(labels: &BTreeMap<String, String>) -> Result<(), String> {
    let unknown: Vec<_> = labels.keys().filter(|key| !is_own_label(key)).collect();
    if !unknown.is_empty() {
        let unknown: Vec<_> = unknown.into_iter().map(String::as_str).collect();
        return Err(format!(
            "unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: [{}]\n\
             --node-labels in the 'kubernetes.io' namespace must begin with an allowed prefix ({}) \
             or be in the specifically allowed set ({})",
            unknown.join(" "),
            OWN_DOMAINS.join(", "),
            OWN_LABELS.join(", ")
        ));
    }
    let faults = labels.iter().map(|(key, value)| {
        let faults: Vec<_> = [qualified_name(key), label_value(value)].concat();
        (!faults.is_empty()).then(|| format!("'{key}={value}' - {}", faults.join(", ")))
    });
    let faults: Vec<_> = faults.flatten().collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("invalid node labels: {}", faults.join("; ")))
}

/// Whether a domain is another one or below it.
fn is_in(domain: &str, above: &str) -> bool {
    let rest = domain.strip_suffix(above);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::{check, is_own_label};

    #[test]
    fn labels_that_are_refused_are_named() {
        let check = |text: &str| {
            let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            check(
                &pairs
                    .map(|(key, value)| (key.into(), value.into()))
                    .collect(),
            )
        };
        assert_eq!(check("rack=r1,kubernetes.io/os=linux"), Ok(()));
        let refused = check("a=b,node-role.kubernetes.io/x=,k8s.io/y=1").unwrap_err();
        let begin = "unknown 'kubernetes.io' or 'k8s.io' labels specified with --node-labels: \
                     [k8s.io/y node-role.kubernetes.io/x]\n--node-labels in the 'kubernetes.io' \
                     namespace must begin with an allowed prefix (kubelet.kubernetes.io, \
                     node.kubernetes.io) or be in the specifically allowed set (beta.";
        assert!(refused.starts_with(begin), "{refused}");
        let invalid = check("a b=c,d=e f").unwrap_err();
        assert!(
            invalid.starts_with("invalid node labels: 'a b=c' - name part must"),
            "{invalid}"
        );
        assert!(
            invalid.contains("; 'd=e f' - a valid label must"),
            "{invalid}"
        );
    }

    #[test]
    fn a_node_agent_sets_labels_of_its_own_and_of_others_than_kubernetes() {
        for (key, expected) in [
            ("rack", true),
            ("example.com/rack", true),
            ("notkubernetes.io/rack", true),
            ("kubernetes.io/hostname", true),
            ("node.kubernetes.io/anything", true),
            ("a.kubelet.kubernetes.io/anything", true),
            ("topology.kubernetes.io/zone", true),
            ("kubernetes.io/other", false),
            ("k8s.io/other", false),
            ("topology.kubernetes.io/rack", false),
            ("node-role.kubernetes.io/control-plane", false),
            ("node-restriction.kubernetes.io/team", false),
            ("a.node-restriction.kubernetes.io/team", false),
        ] {
            assert_eq!(is_own_label(key), expected, "{key}");
        }
    }
}
