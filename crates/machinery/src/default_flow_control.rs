//! The FlowSchemas and PriorityLevelConfigurations that every server has (upstream's
//! `k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap`), as of Kubernetes 1.37.

use serde_json::{Value, json};

use crate::json_fields::ReadFields;

/// The API group of the objects.
pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// Whether the server keeps its objects up to date. On a default that people change, they set it to
/// `false`.
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// Whether objects of this name have a spec that clients cannot change.
#[must_use]
pub fn is_mandatory(name: &str) -> bool {
    matches!(name, "exempt" | "catch-all")
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}},
        "spec": spec,
    })
}

/// The default priority levels.
#[must_use]
pub fn priority_levels() -> Vec<Value> {
    let queues = |queues: u32, hand: u32| {
        let queuing = json!({"queues": queues, "handSize": hand, "queueLengthLimit": 50});
        json!({"type": "Queue", "queuing": queuing})
    };
    let limited = |name: &str, shares: u32, lends: u32, response: Value| {
        let limited = json!({"nominalConcurrencyShares": shares, "lendablePercent": lends,
            "limitResponse": response});
        let spec = json!({"type": "Limited", "limited": limited});
        object("PriorityLevelConfiguration", name, spec)
    };
    let exempt = json!({"nominalConcurrencyShares": 0, "lendablePercent": 0});
    let exempt = json!({"type": "Exempt", "exempt": exempt});
    vec![
        object("PriorityLevelConfiguration", "exempt", exempt),
        limited("catch-all", 5, 0, json!({"type": "Reject"})),
        limited("system", 30, 33, queues(64, 6)),
        limited("node-high", 40, 25, queues(64, 6)),
        limited("leader-election", 10, 0, queues(16, 4)),
        limited("workload-high", 40, 50, queues(128, 6)),
        limited("workload-low", 100, 90, queues(128, 6)),
        limited("global-default", 20, 50, queues(128, 6)),
    ]
}

/// The default flow schemas.
#[must_use]
pub fn flow_schemas() -> Vec<Value> {
    let everybody = || groups(&["system:unauthenticated", "system:authenticated"]);
    let (user, namespace) = (Some("ByUser"), Some("ByNamespace"));
    let high = "workload-high";
    let manager = users(&["system:kube-controller-manager"]);
    let scheduler = users(&["system:kube-scheduler"]);
    let nodes = groups(&["system:nodes"]);
    let system = json!([account("*")]);
    let accounts = groups(&["system:serviceaccounts"]);
    let mut all = vec![
        all("exempt", "exempt", 1, None, groups(&["system:masters"])),
        all("system-nodes", "system", 500, user, nodes),
        all("kube-controller-manager", high, 800, namespace, manager),
        all("kube-scheduler", high, 800, namespace, scheduler),
        all("kube-system-service-accounts", high, 900, namespace, system),
        all("service-accounts", "workload-low", 9000, user, accounts),
        all("global-default", "global-default", 9900, user, everybody()),
        all("catch-all", "catch-all", 10_000, user, everybody()),
    ];
    all.extend(flow_schemas_of_few(everybody()));
    all
}

/// Those for some requests of their subjects only.
fn flow_schemas_of_few(everybody: Value) -> [Value; 3] {
    let by = Some("ByUser");
    let health = ["/healthz", "/readyz", "/livez"];
    let probes = json!([{"verbs": ["get"], "nonResourceURLs": health}]);
    let probes = json!({"subjects": everybody, "nonResourceRules": probes});
    let leases = |verbs: &[&str]| resources(verbs, "coordination.k8s.io", &["leases"], false);
    let mut electing = users(&["system:kube-controller-manager", "system:kube-scheduler"]);
    if let Some(subjects) = electing.as_array_mut() {
        subjects.push(account("*"));
    }
    let of_leases = [leases(&["get", "create", "update"])];
    let election = json!({"subjects": electing, "resourceRules": of_leases});
    let nodes = resources(&["*"], "", &["nodes", "nodes/status"], true);
    let of_nodes = [nodes, leases(&["*"])];
    let heartbeats = json!({"subjects": groups(&["system:nodes"]), "resourceRules": of_nodes});
    [
        schema("probes", "exempt", 2, None, probes),
        schema(
            "system-leader-election",
            "leader-election",
            100,
            by,
            election,
        ),
        schema("system-node-high", "node-high", 400, by, heartbeats),
    ]
}

fn schema(name: &str, level: &str, precedence: i64, by: Option<&str>, rule: Value) -> Value {
    let mut spec = json!({"priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence, "rules": [rule]});
    if let Some(by) = by {
        spec["distinguisherMethod"] = json!({"type": by});
    }
    object("FlowSchema", name, spec)
}

/// A schema for everything that these subjects ask for.
fn all(name: &str, level: &str, precedence: i64, by: Option<&str>, subjects: Value) -> Value {
    let paths = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
    let rule = json!({"subjects": subjects,
        "resourceRules": [resources(&["*"], "*", &["*"], true)], "nonResourceRules": paths});
    schema(name, level, precedence, by, rule)
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], has_cluster_scope: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources,
        "namespaces": ["*"]});
    if has_cluster_scope {
        rule["clusterScope"] = true.into();
    }
    rule
}

fn named(kind: &str, field: &str, names: &[&str]) -> Value {
    let named = names.iter();
    named
        .map(|name| json!({"kind": kind, field: {"name": name}}))
        .collect()
}

fn groups(names: &[&str]) -> Value {
    named("Group", "group", names)
}

fn users(names: &[&str]) -> Value {
    named("User", "user", names)
}

/// Service accounts of kube-system.
fn account(name: &str) -> Value {
    let account = json!({"namespace": "kube-system", "name": name});
    json!({"kind": "ServiceAccount", "serviceAccount": account})
}

/// The stored object as it should be, if it differs from its default; `None` if it may stay as it
/// is. Upstream: `pkg/apis/flowcontrol`'s `ensurer` (`apiserver/pkg/util/flowcontrol`).
///
/// The spec of a mandatory object is that of its default. Others are updated while people have not
/// taken them over: the annotation says so, or there is none and the spec was never changed.
#[must_use]
pub fn reconcile(stored: &Value, default: &Value) -> Option<Value> {
    let name = default["metadata"].text("name");
    let annotation = stored["metadata"]["annotations"].field(AUTO_UPDATE);
    let is_ours = match annotation.and_then(Value::as_str) {
        Some("true") => true,
        Some("false") => false,
        _ => stored["metadata"].int("generation") == 1,
    };
    let mandatory = is_mandatory(name);
    // What the level `exempt` lends is for people to say.
    let exempt = stored["spec"].field("exempt");
    let exempt = exempt.filter(|_| mandatory && !is_ours).cloned();
    let mut wanted = stored.clone();
    if annotation.is_none() || (mandatory && exempt.is_none()) {
        let value = if mandatory || is_ours {
            "true"
        } else {
            "false"
        };
        wanted["metadata"]["annotations"][AUTO_UPDATE] = value.into();
    }
    if mandatory || is_ours {
        wanted["spec"] = default["spec"].clone();
        if let Some(exempt) = exempt {
            wanted["spec"]["exempt"] = exempt;
        }
    }
    (wanted != *stored).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{scheme, validation};

    #[test]
    fn the_defaults_are_valid_and_complete() {
        for default in priority_levels().into_iter().chain(flow_schemas()) {
            let kind = default["kind"].as_str().unwrap();
            let kind = scheme::built_in().find_kind("flowcontrol.apiserver.k8s.io", "v1", kind);
            let kind = kind.expect("a served kind");
            let mut object = default.clone();
            crate::defaults::apply_defaults(kind, &mut object);
            assert_eq!(
                object["spec"], default["spec"],
                "defaulting changes nothing"
            );
            assert_eq!(validation::validate_create(kind, &object), [], "{default}");
        }
    }

    #[test]
    fn what_people_have_changed_stays_but_for_mandatory_objects() {
        let default = priority_levels().remove(2);
        let stored = |annotation: Option<&str>, generation: i64| {
            let mut stored = default.clone();
            stored["spec"]["limited"]["nominalConcurrencyShares"] = 7.into();
            stored["metadata"]["generation"] = generation.into();
            stored["metadata"]["annotations"] = match annotation {
                Some(text) => json!({AUTO_UPDATE: text}),
                None => json!({}),
            };
            stored
        };
        let shares = |stored: &Value| {
            let wanted = reconcile(stored, &default);
            let wanted = wanted.as_ref().unwrap_or(stored);
            let annotation = wanted["metadata"]["annotations"][AUTO_UPDATE].clone();
            (
                wanted["spec"]["limited"].int("nominalConcurrencyShares"),
                annotation,
            )
        };
        assert_eq!(shares(&stored(Some("true"), 5)), (30, json!("true")));
        assert_eq!(shares(&stored(Some("false"), 5)), (7, json!("false")));
        assert_eq!(shares(&stored(None, 1)), (30, json!("true")));
        assert_eq!(shares(&stored(None, 2)), (7, json!("false")));
        let mandatory = priority_levels().remove(1);
        let mut changed = mandatory.clone();
        changed["spec"]["limited"]["nominalConcurrencyShares"] = 7.into();
        changed["metadata"]["annotations"][AUTO_UPDATE] = "false".into();
        assert_eq!(reconcile(&changed, &mandatory), Some(mandatory.clone()));
        assert_eq!(reconcile(&mandatory, &mandatory), None);
        let exempt = priority_levels().remove(0);
        let mut lends = exempt.clone();
        lends["spec"]["exempt"]["lendablePercent"] = 50.into();
        lends["metadata"]["annotations"][AUTO_UPDATE] = "false".into();
        assert_eq!(reconcile(&lends, &exempt), None);
    }
}
