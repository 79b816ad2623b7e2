//! Admission of Pods: `ServiceAccount`, `Priority`, `DefaultTolerationSeconds`, `NodeRestriction`.

use pandaemon_machinery::{Status, status::Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    kinds, meta,
    registry::{Call, Registry},
};

/// How long a pod without such tolerations stays on a node that is not ready or unreachable, in
/// seconds.
const TOLERATION_SECONDS: i64 = 300;

/// Sets the service account, the priority and the default tolerations of a new pod.
pub(super) fn admit_create(registry: &Registry, call: &Call, pod: &mut Value) -> Result<()> {
    check_mirror_pod(call, pod)?;
    set_service_account(registry, call, pod)?;
    set_priority(registry, call, pod)?;
    add_tolerations(pod);
    Ok(())
}

/// `NodeRestriction`: a node agent writes pods of its own node only.
pub(super) fn check_node_restriction(call: &Call, old: &Value, what: &str) -> Result<()> {
    let bound_to = meta::text_at(old, &["spec", "nodeName"]);
    match call.user.node() {
        Some(own) if own != bound_to => {
            let why = format!("node {own:?} can only {what} with spec.nodeName set to itself");
            Err(Status::forbidden(&call.kind, &call.name, &why))
        }
        Some(_) | None => Ok(()),
    }
}

/// The annotation of mirror pods, which represent the static pods of a node.
const MIRROR: &str = "kubernetes.io/config.mirror";

fn is_mirror(pod: &Value) -> bool {
    meta::at(pod, &["metadata", "annotations", MIRROR]).is_some()
}

/// `NodeRestriction`: a node agent creates mirror pods of its own static pods only.
fn check_mirror_pod(call: &Call, pod: &Value) -> Result<()> {
    let Some(own) = call.user.node() else {
        return Ok(());
    };
    let name = meta::name(pod);
    if !is_mirror(pod) {
        let why = format!(
            "pod does not have {MIRROR:?} annotation, node {own:?} can only create mirror pods"
        );
        return Err(Status::forbidden(&call.kind, name, &why));
    }
    check_node_restriction(call, pod, "create pods")
}

fn set_service_account(registry: &Registry, call: &Call, pod: &mut Value) -> Result<()> {
    if is_mirror(pod) {
        return Ok(());
    }
    let named = meta::text_at(pod, &["spec", "serviceAccountName"]);
    let name = if named.is_empty() { "default" } else { named }.to_owned();
    let accounts = kinds::service_accounts()?;
    if registry.find(accounts, &call.namespace, &name).is_none() {
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount {name:?} not found",
            call.namespace
        );
        return Err(Status::forbidden(&call.kind, meta::name(pod), &why));
    }
    pod["spec"]["serviceAccountName"] = name.as_str().into();
    pod["spec"]["serviceAccount"] = name.into();
    Ok(())
}

/// The fields of a PriorityClass that pods get.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Class {
    metadata: ClassMeta,
    #[serde(default)]
    value: i64,
    #[serde(default)]
    global_default: bool,
    #[serde(default = "preempts")]
    preemption_policy: String,
}

#[derive(Deserialize)]
struct ClassMeta {
    name: String,
}

fn preempts() -> String {
    "PreemptLowerPriority".to_owned()
}

fn set_priority(registry: &Registry, call: &Call, pod: &mut Value) -> Result<()> {
    let named = meta::text_at(pod, &["spec", "priorityClassName"]).to_owned();
    let forbid = |why: &str| Status::forbidden(&call.kind, meta::name(pod), why);
    let class = if named.is_empty() {
        default_class(registry)?
    } else {
        let found = find_class(registry, &named)?;
        Some(
            found
                .ok_or_else(|| forbid(&format!("no PriorityClass with name {named} was found")))?,
        )
    };
    let value = class.as_ref().map_or(0, |class| class.value);
    let given = meta::at(pod, &["spec", "priority"]).and_then(Value::as_i64);
    if let Some(given) = given.filter(|given| *given != value) {
        return Err(forbid(&format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        )));
    }
    pod["spec"]["priority"] = value.into();
    if let Some(class) = class {
        pod["spec"]["priorityClassName"] = class.metadata.name.into();
        if pod["spec"]["preemptionPolicy"].is_null() {
            pod["spec"]["preemptionPolicy"] = class.preemption_policy.into();
        }
    } else if pod["spec"]["preemptionPolicy"].is_null() {
        pod["spec"]["preemptionPolicy"] = "PreemptLowerPriority".into();
    }
    Ok(())
}

fn find_class(registry: &Registry, name: &str) -> Result<Option<Class>> {
    let kind = kinds::priority_classes()?;
    let Some(object) = registry.find(kind, "", name) else {
        return Ok(None);
    };
    let class = serde_json::from_slice(&object.bytes).map_err(Status::internal)?;
    Ok(Some(class))
}

/// The PriorityClass with `globalDefault`; of several, the one with the lowest value.
fn default_class(registry: &Registry) -> Result<Option<Class>> {
    let kind = kinds::priority_classes()?;
    let Some(cache) = registry.cache.of(kind) else {
        return Ok(None);
    };
    let classes = cache
        .every()
        .filter_map(|object| serde_json::from_slice::<Class>(&object.bytes).ok());
    let defaults = classes.filter(|class| class.global_default);
    Ok(defaults.min_by_key(|class| class.value))
}

fn tolerates(toleration: &Value, key: &str) -> bool {
    let effect = toleration["effect"].as_str().unwrap_or_default();
    let own = toleration["key"].as_str().unwrap_or_default();
    (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
}

fn add_tolerations(pod: &mut Value) {
    let tolerations = &mut pod["spec"]["tolerations"];
    if !tolerations.is_array() {
        *tolerations = json!([]);
    }
    let Some(list) = tolerations.as_array_mut() else {
        return;
    };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        if !list.iter().any(|toleration| tolerates(toleration, key)) {
            list.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": TOLERATION_SECONDS,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use pandaemon_machinery::scheme;

    use super::*;
    use crate::auth::User;

    fn call(user: User) -> Call {
        let kind = kinds::pods().unwrap();
        Call {
            user,
            ..Call::internal(scheme::built_in().clone(), kind, "d", "p")
        }
    }

    #[test]
    fn a_node_agent_writes_its_own_pods_only() {
        let node = call(User::known("system:node:a", &["system:nodes".into()]));
        let admin = call(User::admin());
        let pod = |node: &str| json!({"metadata": {"name": "p"}, "spec": {"nodeName": node}});
        let mut mirror = pod("a");
        mirror["metadata"]["annotations"][MIRROR] = "x".into();
        assert!(check_node_restriction(&node, &pod("a"), "delete pods").is_ok());
        assert_eq!(
            check_node_restriction(&node, &pod("b"), "delete pods")
                .unwrap_err()
                .code,
            403
        );
        assert!(check_node_restriction(&admin, &pod("b"), "delete pods").is_ok());
        assert_eq!(check_mirror_pod(&node, &pod("a")).unwrap_err().code, 403);
        assert!(check_mirror_pod(&node, &mirror).is_ok());
        assert!(check_mirror_pod(&admin, &pod("b")).is_ok());
    }

    #[test]
    fn pods_get_default_tolerations_of_unready_and_unreachable_nodes() {
        let mut pod = json!({"spec": {"tolerations": [
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
        ]}});
        add_tolerations(&mut pod);
        let list = pod["spec"]["tolerations"].as_array().unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!(list[1]["key"], "node.kubernetes.io/unreachable");
        assert_eq!(list[1]["tolerationSeconds"], TOLERATION_SECONDS);
        let mut pod = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        add_tolerations(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().unwrap().len(), 1);
    }
}
