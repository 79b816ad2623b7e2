//! References to the objects that the agent records events about.

use k8s_openapi::api::core::v1::Pod;
use pandaemon_client::events::ObjectReference;

/// A reference to a pod, or to one of its containers (its name and whether it is an init
/// container).
#[must_use]
pub(crate) fn object_reference(pod: &Pod, container: Option<(&str, bool)>) -> ObjectReference {
    let meta = &pod.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let field_path = container.map(|(name, init)| {
        let list = if init { "initContainers" } else { "containers" };
        format!("spec.{list}{{{name}}}")
    });
    ObjectReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: text(&meta.namespace),
        name: text(&meta.name),
        uid: text(&meta.uid),
        resource_version: text(&meta.resource_version),
        field_path: field_path.unwrap_or_default(),
    }
}
