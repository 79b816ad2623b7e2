//! Table tests: pods, nodes, and the expected placement with its reason.

use std::sync::Arc;

use pandaemon_types::{Effect, PodResources, PodView};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::*;

mod affinity;
mod texts;
mod usage;

fn node(value: Value) -> NodeView {
    NodeView::deserialize(&value).unwrap()
}

fn daemon(spec: Value, on: &NodeView) -> String {
    match daemon_fit(&PodNeeds::for_daemon(&spec), on) {
        DaemonFit::Run => "run".to_owned(),
        DaemonFit::Keep(reason) => format!("keep: {reason}"),
        DaemonFit::No(reason) => format!("no: {reason}"),
    }
}

fn labelled() -> NodeView {
    node(json!({"metadata": {"name": "n1", "uid": "u", "labels": {"disk": "ssd", "cores": "8"}}}))
}

fn required(terms: Value) -> Value {
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
        {"nodeSelectorTerms": terms}}}})
}

#[test]
fn node_name_selector_and_affinity_restrict_nodes() {
    let expression = |key: &str, operator: &str, values: Value| {
        required(
            json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]),
        )
    };
    let field = |name: &str| {
        let test = json!({"key": "metadata.name", "operator": "In", "values": [name]});
        required(json!([{"matchFields": [test]}]))
    };
    for (spec, wanted) in [
        (json!({}), "run"),
        (json!({"nodeName": "n1"}), "run"),
        (json!({"nodeName": "n2"}), "no: the pod asks for node n2"),
        (json!({"nodeSelector": {"disk": "ssd"}}), "run"),
        (
            json!({"nodeSelector": {"disk": "hdd"}}),
            "no: node selector wants disk=hdd, the node has disk=ssd",
        ),
        (
            json!({"nodeSelector": {"gpu": "a"}}),
            "no: node selector wants gpu=a, the node has no gpu",
        ),
        (expression("disk", "In", json!(["ssd", "nvme"])), "run"),
        (
            expression("disk", "NotIn", json!(["ssd"])),
            "no: node affinity wants disk not in (ssd), the node has disk=ssd",
        ),
        (expression("gpu", "NotIn", json!(["a"])), "run"),
        (
            expression("gpu", "Exists", json!([])),
            "no: node affinity wants a label gpu, the node has no gpu",
        ),
        (
            expression("disk", "DoesNotExist", json!([])),
            "no: node affinity wants no label disk, the node has disk=ssd",
        ),
        (expression("cores", "Gt", json!(["7"])), "run"),
        (
            expression("cores", "Gt", json!(["8"])),
            "no: node affinity wants cores > 8, the node has cores=8",
        ),
        (
            expression("cores", "Lt", json!(["8"])),
            "no: node affinity wants cores < 8, the node has cores=8",
        ),
        (
            expression("disk", "Like", json!(["s"])),
            "no: the node affinity has no term that can hold",
        ),
        (field("n1"), "run"),
        (
            field("n2"),
            "no: node affinity wants metadata.name=n2, the node has metadata.name=n1",
        ),
        (
            required(json!([])),
            "no: the node affinity has no term that can hold",
        ),
        (
            required(json!([{}])),
            "no: the node affinity has no term that can hold",
        ),
        (
            required(
                json!([{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]},
            {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]),
            ),
            "run",
        ),
    ] {
        assert_eq!(daemon(spec.clone(), &labelled()), wanted, "{spec}");
    }
}

fn tainted(key: &str, effect: &str) -> NodeView {
    let taint = json!({"key": key, "value": "v", "effect": effect});
    node(json!({"metadata": {"name": "n", "uid": "u"}, "spec": {"taints": [taint]}}))
}

#[test]
fn no_schedule_keeps_running_pods_and_no_execute_evicts() {
    let tolerate = |toleration: Value| json!({"tolerations": [toleration]});
    let exists = json!({"key": "a", "operator": "Exists", "effect": "NoExecute"});
    for (spec, taint, wanted) in [
        (json!({}), "a:PreferNoSchedule", "run"),
        (json!({}), "a:NoSchedule", "keep"),
        (json!({}), "a:NoExecute", "no"),
        (
            tolerate(json!({"key": "a", "value": "v"})),
            "a:NoSchedule",
            "run",
        ),
        (
            tolerate(json!({"key": "a", "value": "w"})),
            "a:NoSchedule",
            "keep",
        ),
        (tolerate(exists.clone()), "a:NoExecute", "run"),
        (tolerate(exists), "a:NoSchedule", "keep"),
        (
            tolerate(json!({"operator": "Exists"})),
            "a:NoExecute",
            "run",
        ),
        (
            tolerate(json!({"key": "a", "operator": "Exists", "effect": "NoSchedule"})),
            "a:NoSchedule",
            "run",
        ),
    ] {
        let (key, effect) = taint.split_once(':').unwrap();
        let fit = daemon_fit(&PodNeeds::for_daemon(&spec), &tainted(key, effect));
        assert_eq!(fit.should_run(), wanted == "run", "{spec} {taint}");
        let reason = format!(": untolerated taint {key}=v:{effect}");
        let wanted = format!("{wanted}{}", if wanted == "run" { "" } else { &reason });
        assert_eq!(
            daemon(spec.clone(), &tainted(key, effect)),
            wanted,
            "{spec} {taint}"
        );
    }
}

#[test]
fn a_toleration_has_one_of_the_effects_or_none() {
    for (text, effect) in [
        ("", Some(None)),
        ("NoSchedule", Some(Some(Effect::NoSchedule))),
        ("PreferNoSchedule", Some(Some(Effect::PreferNoSchedule))),
        ("NoExecute", Some(Some(Effect::NoExecute))),
        ("Never", None),
    ] {
        let toleration = Toleration::from_fields("a", "Exists", "", text);
        assert_eq!(
            toleration.map(|toleration| toleration.effect),
            effect,
            "{text}"
        );
    }
}

#[test]
fn daemon_pods_tolerate_node_condition_taints() {
    for (spec, taint, runs) in [
        (json!({}), "unreachable:NoExecute", true),
        (json!({}), "not-ready:NoExecute", true),
        (json!({}), "not-ready:NoSchedule", false),
        (json!({}), "disk-pressure:NoSchedule", true),
        (json!({}), "memory-pressure:NoSchedule", true),
        (json!({}), "pid-pressure:NoSchedule", true),
        (json!({}), "unschedulable:NoSchedule", true),
        (json!({}), "network-unavailable:NoSchedule", false),
        (
            json!({"hostNetwork": true}),
            "network-unavailable:NoSchedule",
            true,
        ),
    ] {
        let (key, effect) = taint.split_once(':').unwrap();
        let node = tainted(&format!("node.kubernetes.io/{key}"), effect);
        assert_eq!(daemon(spec.clone(), &node) == "run", runs, "{spec} {taint}");
    }
}

#[test]
fn requests_host_ports_and_pod_count_limit_a_node() {
    let machine = node(json!({"metadata": {"name": "n", "uid": "u"}, "status":
        {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "2"}}}));
    let pod = |cpu: &str, extra: Value| {
        let mut requests = extra.as_object().cloned().unwrap_or_default();
        requests.insert("cpu".to_owned(), json!(cpu));
        PodNeeds::from_spec(&json!({"hostNetwork": true, "containers": [
            {"resources": {"requests": requests}, "ports": [{"containerPort": 9100}]}]}))
    };
    let mut usage = Usage::default();
    assert_eq!(fit(&pod("2", json!({})), &machine, &usage), Fit::Yes);
    assert_eq!(
        fit(&pod("3", json!({"nvidia.com/gpu": "1"})), &machine, &usage).to_string(),
        "1 cpu short: 3 requested, 2 free; the node has no nvidia.com/gpu: 1 requested"
    );
    usage.add(&pod("1500m", json!({})).resources);
    assert_eq!(
        fit(&pod("1", json!({})), &machine, &usage).to_string(),
        "500m cpu short: 1 requested, 500m free; host port 9100/TCP is taken"
    );
    usage.add(&PodResources::default());
    let small = PodNeeds::default();
    assert_eq!(
        fit(&small, &machine, &usage).to_string(),
        "the node runs all of its 2 pods"
    );
    usage.remove(&PodResources::default());
    usage.remove(&pod("1500m", json!({})).resources);
    assert_eq!(usage, Usage::default());
    let (one, none) = (pod("500m", json!({})).resources, Arc::default());
    let portless = PodResources {
        ports: Vec::new(),
        ..(*one).clone()
    };
    let mut load = CompactUsage::default();
    assert!(load.has_room(&machine, &one));
    load.add(&one);
    assert!(!load.has_room(&machine, &one) && load.has_room(&machine, &portless));
    load.add(&none);
    assert!(!load.has_room(&machine, &none));
    load.add(&one);
    for resources in [&one, &none, &one] {
        load.remove(resources);
    }
    assert!(load.is_empty());
}

#[test]
fn a_cordon_excludes_all_but_daemon_pods() {
    let cordoned =
        node(json!({"metadata": {"name": "n", "uid": "u"}, "spec": {"unschedulable": true}}));
    let usage = Usage::default();
    let ordinary = fit(&PodNeeds::default(), &cordoned, &usage);
    assert_eq!(ordinary, Fit::No(vec![Reason::Unschedulable]));
    assert!(!ordinary.is_yes());
    assert!(fit(&PodNeeds::for_daemon(&json!({})), &cordoned, &usage).is_yes());
}

#[test]
fn all_reasons_against_a_node_are_listed() {
    let test = |key: &str, operator: &str, values: &[&str]| json!({"key": key, "operator": operator, "values": values});
    let tests = [test("gpu", "Exists", &[]), test("cores", "Gt", &["8"])];
    let terms = json!([{"matchExpressions": tests}, {}, {"matchExpressions": [test("disk", "In", &["hdd"])]}]);
    let mut spec = required(terms);
    spec["nodeSelector"] = json!({"disk": "hdd", "zone": "a"});
    spec["nodeName"] = json!("n2");
    let mut node = labelled();
    node.taints = tainted("a", "NoSchedule").taints;
    node.taints.extend(tainted("b", "PreferNoSchedule").taints);
    node.taints.extend(tainted("c", "NoExecute").taints);
    let needs = PodNeeds::for_daemon(&spec);
    let reasons = mismatches(&needs, &node);
    let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    let expected = [
        "the pod asks for node n2",
        "node selector wants disk=hdd, the node has disk=ssd",
        "node selector wants zone=a, the node has no zone",
        "none of the 2 node affinity terms holds: (1) wants a label gpu, the node has no gpu and wants \
         cores > 8, the node has cores=8; (2) wants disk=hdd, the node has disk=ssd",
        "untolerated taint a=v:NoSchedule",
        "untolerated taint c=v:NoExecute",
    ];
    assert_eq!(texts, expected);
    let summaries: Vec<String> = reasons.iter().map(|reason| needs.summary(reason)).collect();
    let expected = [
        "the pod asks for node n2",
        "node selector wants disk=hdd",
        "node selector wants zone=a",
        "node affinity wants a label gpu and cores > 8, or disk=hdd",
        "untolerated taint a=v:NoSchedule",
        "untolerated taint c=v:NoExecute",
    ];
    assert_eq!(summaries, expected);
    assert_eq!(mismatches(&PodNeeds::default(), &labelled()), []);
}

#[test]
fn shortages_name_the_pods_that_hold_what_is_short() {
    let pod = |name: &str, cpu: &str, phase: &str| {
        let port = json!([{"containerPort": 1, "hostPort": if name == "p3" { 9100 } else { 1 }}]);
        let container = json!({"resources": {"requests": {"cpu": cpu}}, "ports": port});
        let pod = json!({"metadata": {"namespace": "ns", "name": name, "uid": name},
            "spec": {"nodeName": "n", "containers": [container]}, "status": {"phase": phase}});
        PodView::deserialize(&pod).unwrap()
    };
    let pods = [
        pod("p1", "100m", "Running"),
        pod("p2", "300m", "Running"),
        pod("p3", "100m", "Pending"),
        pod("p4", "50m", "Unknown"),
        pod("ended", "900m", "Succeeded"),
    ];
    let machine = node(json!({"metadata": {"name": "n", "uid": "u"},
        "status": {"allocatable": {"cpu": "1"}}}));
    let wanted = json!({"containers": [{"resources": {"requests": {"cpu": "1", "gpu": "2"}},
        "ports": [{"containerPort": 1, "hostPort": 9100}]}]});
    let needs = PodNeeds::for_daemon(&wanted);
    let reasons = shortages(&machine, &needs.resources, &pods.each_ref());
    let texts: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    let expected = [
        "550m cpu short: 1 requested, 450m free; held by ns/p2 300m, ns/p1 100m, ns/p3 100m, 1 more",
        "the node has no gpu: 2 requested",
        "host port 9100/TCP is taken by ns/p3",
    ];
    assert_eq!(texts, expected);
    let summaries: Vec<String> = reasons.iter().map(|reason| needs.summary(reason)).collect();
    let expected = [
        "cpu is short",
        "the node has no gpu",
        "host port 9100/TCP is taken",
    ];
    assert_eq!(summaries, expected);
}
