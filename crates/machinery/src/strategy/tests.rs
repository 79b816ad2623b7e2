//! Fields that a write changes, and fields that it keeps.

use serde_json::json;

use super::{daemon_set, prepare_update, qos_class, service};
use crate::scheme;

#[test]
fn template_generation_counts_changes_of_the_template_only() {
    let mut old = json!({"metadata": {}, "spec": {"template": {"a": 1}}});
    daemon_set::create(&mut old);
    let annotation = "/metadata/annotations/deprecated.daemonset.template.generation";
    assert_eq!(old.pointer(annotation), Some(&json!("1")));
    let mut new = json!({"metadata": {"annotations": {"c": "d"}}, "spec": {"template": {"a": 1}, "minReadySeconds": 3}});
    daemon_set::update(&old, &mut new);
    assert_eq!(new.pointer(annotation), Some(&json!("1")));
    let mut new = json!({"metadata": {}, "spec": {"template": {"a": 2}}});
    daemon_set::update(&old, &mut new);
    assert_eq!(new.pointer(annotation), Some(&json!("2")));
}

#[test]
fn service_update_keeps_allocated_addresses_and_node_ports() {
    let old = json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"],
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "nodePort": 30000}]}});
    let mut new = json!({"spec": {"type": "NodePort", "ports": [{"port": 81}]}});
    service::update(&old, &mut new);
    assert_eq!(new["spec"]["clusterIPs"], json!(["10.96.0.9"]));
    assert_eq!(new["spec"]["ports"][0]["nodePort"], 30000);
    let mut new = old.clone();
    new["spec"]["type"] = json!("ClusterIP");
    service::update(&old, &mut new);
    assert_eq!(new["spec"]["ports"], json!([{"port": 80}]));
    assert_eq!(new["spec"].get("externalTrafficPolicy"), None);
}

#[test]
fn qos_class_depends_on_requests_and_limits() {
    let full = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}});
    let spec = |resources: &[serde_json::Value]| {
        let containers: Vec<_> = resources.iter().map(|r| json!({"resources": r})).collect();
        json!({"containers": containers})
    };
    assert_eq!(qos_class(&spec(std::slice::from_ref(&full))), "Guaranteed");
    assert_eq!(qos_class(&spec(&[full, json!({})])), "Burstable");
    assert_eq!(
        qos_class(&spec(&[json!({"requests": {"cpu": "1m"}})])),
        "Burstable"
    );
    assert_eq!(
        qos_class(&spec(&[json!({"requests": {"cpu": "0"}})])),
        "BestEffort"
    );
}

#[test]
fn write_to_a_subresource_changes_only_its_part() {
    let kind = scheme::find_resource("", "v1", "pods").expect("pods are served");
    let old = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"a": 1}, "status": {"phase": "Pending"}});
    let wanted =
        json!({"metadata": {"name": "p"}, "spec": {"a": 2}, "status": {"phase": "Running"}});
    for (subresource, spec, phase) in [
        ("", 2, "Pending"),
        ("status", 1, "Running"),
        ("binding", 2, "Running"),
    ] {
        let mut new = wanted.clone();
        prepare_update(kind, subresource, &old, &mut new);
        assert_eq!(
            (&new["spec"]["a"], &new["status"]["phase"]),
            (&json!(spec), &json!(phase)),
            "{subresource}"
        );
        assert_eq!(new["metadata"]["uid"], "u");
    }
}
