//! `NodeRestriction`: a node agent writes its own Node and the pods of its node only.

use futures::future::BoxFuture;
use pandaemon_machinery::{Kind, Status, status::Result};
use serde_json::Value;

use super::{
    mirror_pod::{ANNOTATIONS, MIRROR, is_mirror},
    plugin::{Attributes, Plugin, done},
    rule::{Operation, Rule},
};
use crate::{
    auth::User,
    registry::{kinds, meta},
};

/// The field by which a pod belongs to a node.
const NODE_NAME: &str = "/spec/nodeName";

#[derive(Debug)]
pub(super) struct NodeRestriction;

impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn rules(&self) -> Vec<Rule> {
        use Operation::{Create, Delete, Update};
        let rule = |operations: &[Operation], resource: &str| {
            Rule::new(operations, "", &[resource]).writes(&[])
        };
        vec![
            rule(&[Create], "pods").reads(&[ANNOTATIONS, NODE_NAME]),
            rule(&[Create], "pods/eviction")
                .reads(&["/metadata/name"])
                .looks_up("", "pods"),
            rule(&[Update, Delete], "pods/*").reads(&[NODE_NAME]),
            rule(&[Create, Update, Delete], "nodes/*").reads(&["/metadata/name"]),
        ]
    }

    /// Only node agents are restricted.
    fn concerns(&self, _kind: &Kind, user: &User) -> bool {
        user.node().is_some()
    }

    fn admit<'a>(
        &'a self,
        attributes: Attributes<'a>,
        object: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        let own = attributes.user.node().unwrap_or_default();
        let old = attributes.old_object.unwrap_or(&Value::Null);
        done(
            match (attributes.kind.plural.as_str(), attributes.operation) {
                ("nodes", _) => check_node(&attributes, own),
                (_, Operation::Create) if attributes.subresource == "eviction" => {
                    check_eviction(&attributes, own)
                }
                (_, Operation::Create) => check_new_pod(&attributes, own, object),
                (_, Operation::Delete) => check_pod(&attributes, own, old, "delete pods"),
                _ => check_pod(&attributes, own, old, "update pod status for pods"),
            },
        )
    }
}

fn check_node(attributes: &Attributes<'_>, own: &str) -> Result<()> {
    let name = attributes.name;
    if own == name {
        return Ok(());
    }
    Err(attributes.forbidden(&format!(
        "node {own:?} is not allowed to modify node {name:?}"
    )))
}

fn check_pod(attributes: &Attributes<'_>, own: &str, pod: &Value, what: &str) -> Result<()> {
    if own == meta::text_at(pod, &["spec", "nodeName"]) {
        return Ok(());
    }
    Err(attributes.forbidden(&format!(
        "node {own:?} can only {what} with spec.nodeName set to itself"
    )))
}

/// A node agent creates mirror pods of its own static pods only.
fn check_new_pod(attributes: &Attributes<'_>, own: &str, pod: &Value) -> Result<()> {
    if !is_mirror(pod) {
        return Err(attributes.forbidden(&format!(
            "pod does not have {MIRROR:?} annotation, node {own:?} can only create mirror pods"
        )));
    }
    check_pod(attributes, own, pod, "create pods")
}

fn check_eviction(attributes: &Attributes<'_>, own: &str) -> Result<()> {
    let (namespace, name) = (attributes.namespace, attributes.name);
    let Some(pod) = attributes.find("", "pods", namespace, name)? else {
        return Err(Status::not_found(kinds::pods()?, name));
    };
    if pod.indexed_value() == own {
        return Ok(());
    }
    Err(attributes.forbidden(&format!(
        "node {own} can only evict pods with spec.nodeName set to itself"
    )))
}

#[cfg(test)]
mod tests {
    use pandaemon_machinery::scheme;
    use parking_lot::Mutex;
    use serde_json::json;

    use super::{super::plugin::Cluster, *};
    use crate::cache::watch_cache::WatchCache;

    /// The code with which the plugin refuses a request to pods.
    fn refused(user: &User, operation: Operation, pod: &Value) -> Option<u16> {
        let cluster = Cluster {
            scheme: scheme::built_in(),
            cache: &WatchCache::new(1),
        };
        let attributes = Attributes {
            operation,
            kind: kinds::pods().unwrap(),
            namespace: "d",
            name: "p",
            subresource: "",
            user,
            old_object: Some(pod),
            dry_run: false,
            plugin: NodeRestriction.name(),
            rule: &NodeRestriction.rules()[0],
            cluster,
            authorizers: None,
            warnings: &Mutex::default(),
            annotations: &Default::default(),
        };
        let mut object = pod.clone();
        let outcome = NodeRestriction.admit(attributes, &mut object);
        let outcome = futures::executor::block_on(outcome);
        outcome.err().map(|status| status.code)
    }

    #[test]
    fn a_node_agent_writes_its_own_pods_only() {
        use Operation::{Create, Delete, Update};
        let node = User::known("system:node:a", &["system:nodes".into()]);
        let pods = kinds::pods().unwrap();
        assert!(NodeRestriction.concerns(pods, &node));
        assert!(!NodeRestriction.concerns(pods, &User::admin()));
        let pod = |node: &str| json!({"metadata": {"name": "p"}, "spec": {"nodeName": node}});
        let mut mirror = pod("a");
        mirror["metadata"]["annotations"][MIRROR] = "x".into();
        for (operation, pod, expected) in [
            (Delete, pod("a"), None),
            (Delete, pod("b"), Some(403)),
            (Update, pod("a"), None),
            (Update, pod("b"), Some(403)),
            (Create, pod("a"), Some(403)),
            (Create, mirror, None),
        ] {
            assert_eq!(refused(&node, operation, &pod), expected, "{pod}");
        }
    }
}
