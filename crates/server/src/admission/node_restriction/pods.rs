//! The pods of a node: it creates mirror pods, reports the status of pods, and deletes and evicts
//! them.

use pandaemon_machinery::{Status, status::Result};
use serde_json::Value;

use super::{
    super::{
        mirror_pod::{ANNOTATIONS, MIRROR, is_mirror},
        plugin::Attributes,
        rule::{Operation, Rule},
    },
    rule,
};
use crate::registry::{kinds, meta, pod_references};

/// The field by which a pod belongs to a node.
const NODE_NAME: &str = "/spec/nodeName";
const OWNERS: &str = "/metadata/ownerReferences";
const RESOURCE_CLAIMS: &str = "/status/resourceClaimStatuses";

pub(super) fn rules() -> Vec<Rule> {
    use Operation::{Create, Delete, Update};
    let all = [Create, Update, Delete];
    vec![
        rule(&[Create], "", "pods")
            .reads(&[ANNOTATIONS, OWNERS, "/spec"])
            .looks_up("", "nodes"),
        rule(&[Create], "", "pods/eviction")
            .reads(&["/metadata/name"])
            .looks_up("", "pods"),
        rule(&[Update], "", "pods/status").reads(&[NODE_NAME, "/metadata/labels", RESOURCE_CLAIMS]),
        rule(&[Delete], "", "pods").reads(&[NODE_NAME]),
        // All else is refused.
        rule(&all, "", "pods/*").reads(&[]),
    ]
}

pub(super) fn check_pod(attributes: &Attributes<'_>, own: &str, object: &Value) -> Result<()> {
    let old = attributes.old_object.unwrap_or(&Value::Null);
    let refused = match (attributes.subresource, attributes.operation) {
        ("", Operation::Create) => return check_new_pod(attributes, own, object),
        ("", Operation::Delete) => (!is_bound_to(old, own)).then(|| not_bound(own, "delete pods")),
        ("", _) => Some(format!(
            "unexpected operation \"UPDATE\", node {own:?} can only create and delete mirror pods"
        )),
        ("status", _) => why_not_status(own, old, object),
        ("eviction", _) => return check_eviction(attributes, own),
        (other, _) => Some(format!(
            "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
        )),
    };
    refused.map_or(Ok(()), |why| Err(attributes.forbidden(&why)))
}

fn is_bound_to(pod: &Value, node: &str) -> bool {
    meta::text_at(pod, &["spec", "nodeName"]) == node
}

fn not_bound(own: &str, what: &str) -> String {
    format!("node {own:?} can only {what} with spec.nodeName set to itself")
}

/// Upstream: `admitPodCreate`.
fn check_new_pod(attributes: &Attributes<'_>, own: &str, pod: &Value) -> Result<()> {
    let refused = match is_mirror(pod) {
        false => Some(format!(
            "pod does not have {MIRROR:?} annotation, node {own:?} can only create mirror pods"
        )),
        true if !is_bound_to(pod, own) => Some(not_bound(own, "create pods")),
        true => why_not_owner(own, pod),
    };
    if let Some(why) = refused {
        return Err(attributes.forbidden(&why));
    }
    check_owner_uid(attributes, own, pod)?;
    let referenced = why_not_references(own, pod);
    referenced.map_or(Ok(()), |why| Err(attributes.forbidden(&why)))
}

/// A mirror pod has one owner, its Node.
fn why_not_owner(own: &str, pod: &Value) -> Option<String> {
    let owners = pod.pointer(OWNERS).and_then(Value::as_array);
    let owner = match owners.map_or(&[][..], Vec::as_slice) {
        [owner] => owner,
        owners => {
            let article = if owners.is_empty() { "an" } else { "a single" };
            return Some(format!(
                "node {own:?} can only create pods with {article} owner reference set to itself"
            ));
        }
    };
    if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != own {
        return Some(format!(
            "node {own:?} can only create pods with an owner reference set to itself"
        ));
    }
    if owner["controller"] != true {
        return Some(format!(
            "node {own:?} can only create pods with a controller owner reference set to itself"
        ));
    }
    (owner["blockOwnerDeletion"] == true)
        .then(|| format!("node {own:?} must not set blockOwnerDeletion on an owner reference"))
}

fn check_owner_uid(attributes: &Attributes<'_>, own: &str, pod: &Value) -> Result<()> {
    let Some(node) = attributes.find("", "nodes", "", own)? else {
        return Err(Status::not_found(kinds::nodes()?, own));
    };
    let node = node.value().map_err(Status::internal)?;
    let owner = pod
        .pointer(OWNERS)
        .map_or(&Value::Null, |owners| &owners[0]);
    let (given, found) = (uid_of(owner), meta::text(&node, "uid"));
    if given == found {
        return Ok(());
    }
    Err(attributes.forbidden(&format!(
        "node {own} UID mismatch: expected {given} got {found}"
    )))
}

fn uid_of(owner: &Value) -> &str {
    owner["uid"].as_str().unwrap_or_default()
}

/// A node that creates a pod gains no rights by it.
fn why_not_references(own: &str, pod: &Value) -> Option<String> {
    let spec = &pod["spec"];
    let mut volumes = pod_references::items(&spec["volumes"]);
    let mut sources = pod_references::projected_sources(pod);
    let what = if !meta::text_at(pod, &["spec", "serviceAccountName"]).is_empty() {
        "a service account"
    } else if pod_references::secrets(pod).next().is_some() {
        "secrets"
    } else if pod_references::config_maps(pod).next().is_some() {
        "configmaps"
    } else if sources.any(|source| source["clusterTrustBundle"].is_object()) {
        "clustertrustbundles"
    } else if volumes.any(|volume| volume["persistentVolumeClaim"].is_object()) {
        "persistentvolumeclaims"
    } else if pod_references::items(&spec["resourceClaims"])
        .next()
        .is_some()
    {
        "resourceclaims"
    } else {
        return None;
    };
    Some(format!(
        "node {own:?} can not create pods that reference {what}"
    ))
}

/// Upstream: `admitPodStatus`.
fn why_not_status(own: &str, old: &Value, new: &Value) -> Option<String> {
    let labels = |pod| {
        meta::of(pod)?
            .get("labels")?
            .as_object()
            .filter(|l| !l.is_empty())
    };
    if !is_bound_to(old, own) {
        return Some(not_bound(own, "update pod status for pods"));
    }
    if labels(old) != labels(new) {
        return Some(format!(
            "node {own:?} cannot update labels through pod status"
        ));
    }
    let claims = |pod: &Value| {
        let claims = pod.pointer(RESOURCE_CLAIMS).and_then(Value::as_array);
        claims.filter(|claims| !claims.is_empty()).cloned()
    };
    // The spelling is upstream's.
    (claims(old) != claims(new))
        .then(|| format!("node {own:?} cannot update resource claim statues"))
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
