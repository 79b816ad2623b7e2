//! What admission changes in objects.

use serde_json::json;

use super::{
    PriorityClasses, ServiceRanges, Used, allocate_service, default_tolerations, pod_priority,
};
use crate::catalogue;

#[test]
fn a_toleration_of_everything_is_enough() {
    let mut pod = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
    default_tolerations(&mut pod);
    assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(1));
    let mut pod = json!({"spec": {}});
    default_tolerations(&mut pod);
    assert_eq!(
        pod["spec"]["tolerations"][1]["key"],
        "node.kubernetes.io/unreachable"
    );
}

#[test]
fn a_priority_of_ones_own_is_refused() {
    let kind = catalogue::find("", "v1", "pods").expect("pods are served");
    let mut pod = json!({"metadata": {"name": "r"}, "spec": {"priority": 5}});
    let refused =
        pod_priority(kind, &mut pod, PriorityClasses::default()).expect_err("must be refused");
    assert_eq!(
        refused.message,
        "pods \"r\" is forbidden: the integer value of priority (5) must not be provided in pod spec; \
         priority admission controller computed 0 from the given PriorityClass name"
    );
}

#[test]
fn services_get_free_numbers() {
    let kind = catalogue::find("", "v1", "services").expect("services are served");
    let mut used = Used::default();
    let mut service =
        json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    allocate_service(kind, &mut service, ServiceRanges::default(), &used).expect("there is room");
    used.add(&service);
    let mut other =
        json!({"metadata": {"name": "t"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    allocate_service(kind, &mut other, ServiceRanges::default(), &used).expect("there is room");
    assert_ne!(service["spec"]["clusterIP"], other["spec"]["clusterIP"]);
    assert_eq!(other["spec"]["ports"][0]["nodePort"], 30001);
    let ip = service["spec"]["clusterIP"].clone();
    let mut taken =
        json!({"metadata": {"name": "u"}, "spec": {"type": "ClusterIP", "clusterIP": ip}});
    let refused = allocate_service(kind, &mut taken, ServiceRanges::default(), &used);
    assert!(refused.is_err_and(|s| s.message.contains("provided IP is already allocated")));
}
