//! Admission that needs nothing but its inputs: what upstream's default plugins change in an object.
//!
//! The server looks up what these functions ask for and calls them between decoding and validation.

mod priority;
mod service_ip;

use serde_json::{Value, json};

use crate::Kind;
use crate::access::Access;
use crate::status::{Result, Status};

pub use priority::{PriorityClasses, builtin_priority_classes, check_global_default, pod_priority};
pub use service_ip::{ServiceRanges, Used, allocate_service};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// So long a pod stays on a node that is gone, if it does not say otherwise.
const TOLERATION_SECONDS: i64 = 300;

/// `DefaultTolerationSeconds`: pods tolerate a node that is not ready for five minutes.
pub fn default_tolerations(pod: &mut Value) {
    for key in [NOT_READY, UNREACHABLE] {
        let tolerated = pod["spec"].items("tolerations").iter().any(|toleration| {
            matches!(toleration.text("key"), found if found == key || found.is_empty())
                && matches!(toleration.text("effect"), "" | "NoExecute")
        });
        if !tolerated {
            push(
                &mut pod["spec"],
                "tolerations",
                json!({
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": TOLERATION_SECONDS,
                }),
            );
        }
    }
}

/// `ServiceAccount`: a pod runs as the account `default` of its namespace unless it names one.
pub fn default_service_account(pod: &mut Value) {
    let is_mirror = pod["metadata"]["annotations"].has("kubernetes.io/config.mirror");
    if !is_mirror && pod["spec"].text("serviceAccountName").is_empty() {
        pod["spec"]["serviceAccountName"] = "default".into();
        pod["spec"]["serviceAccount"] = "default".into();
    }
}

/// The refusal of a pod whose service account is not there.
///
/// # Errors
/// 403 unless `exists`.
pub fn require_service_account(
    kind: &Kind,
    pod: &Value,
    namespace: &str,
    exists: bool,
) -> Result<()> {
    let account = pod["spec"].text("serviceAccountName");
    if exists || account.is_empty() {
        return Ok(());
    }
    let why = format!(
        "error looking up service account {namespace}/{account}: serviceaccount \"{account}\" not found"
    );
    Err(Status::forbidden(kind, pod["metadata"].text("name"), &why))
}

/// `TaintNodesByCondition`: nothing is placed on a new node before it says that it is ready.
pub fn taint_new_node(node: &mut Value) {
    let tainted = node["spec"]
        .items("taints")
        .iter()
        .any(|taint| taint.text("key") == NOT_READY && taint.text("effect") == "NoSchedule");
    if !tainted {
        push(
            &mut node["spec"],
            "taints",
            json!({ "key": NOT_READY, "effect": "NoSchedule" }),
        );
    }
}

fn push(object: &mut Value, list: &str, item: Value) {
    match object.get_mut(list).and_then(Value::as_array_mut) {
        Some(items) => items.push(item),
        None => object[list] = json!([item]),
    }
}

#[cfg(test)]
mod tests;
