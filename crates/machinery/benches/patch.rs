//! Time of patches, applies and `managedFields` updates on typical objects.

use divan::{Bencher, black_box};
use pandaemon_machinery::{
    Kind,
    managed_fields::{FieldManager, apply, track_update},
    patch::strategic_merge_patch,
    scheme,
};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

const KUBECTL: FieldManager<'static> = FieldManager {
    name: "kubectl",
    subresource: "",
    now: "2026-01-01T00:00:00Z",
};
const KUBELET: FieldManager<'static> = FieldManager {
    name: "kubelet",
    subresource: "status",
    now: "2026-01-01T00:00:00Z",
};

fn daemonsets() -> &'static Kind {
    kind("apps", "daemonsets")
}

fn kind(group: &str, plural: &str) -> &'static Kind {
    scheme::built_in()
        .find_resource(group, "v1", plural)
        .unwrap_or(&scheme::built_in().kinds()[0])
}

fn container(name: &str, image: &str) -> Value {
    json!({
        "name": name, "image": image, "args": ["--path=/host", "--level=info"],
        "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                {"name": "LEVEL", "value": "info"}],
        "resources": {"limits": {"cpu": "200m"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "ports": [{"containerPort": 9100, "hostPort": 9100, "protocol": "TCP"}],
        "volumeMounts": [{"name": "root", "mountPath": "/host", "readOnly": true}],
        "livenessProbe": {"httpGet": {"path": "/", "port": 9100}, "periodSeconds": 10},
    })
}

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "agent", "tier": "node"}},
        "spec": {
            "containers": [container("agent", image), container("sidecar", "sidecar:v1")],
            "hostNetwork": true,
            "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
            "volumes": [{"name": "root", "hostPath": {"path": "/", "type": "Directory"}}],
        },
    })
}

fn daemonset(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "kube-system", "labels": {"app": "agent"}},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": template(image)},
    })
}

fn pod() -> Value {
    let mut pod = template("agent:v1");
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["name"] = json!("agent-x");
    track_update(kind("", "pods"), None, &mut pod, KUBECTL);
    pod
}

fn with_status(pod: &Value, ready: &str) -> Value {
    let mut pod = pod.clone();
    let conditions: Vec<Value> = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .iter()
        .map(|kind| json!({"type": kind, "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}))
        .collect();
    pod["status"] = json!({
        "phase": "Running", "conditions": conditions, "hostIP": "10.0.0.1", "podIP": "10.1.0.1",
        "podIPs": [{"ip": "10.1.0.1"}], "qosClass": "Burstable",
        "containerStatuses": [
            {"name": "agent", "ready": true, "restartCount": 0, "image": "agent:v1", "imageID": "x"}],
    });
    pod
}

#[divan::bench]
fn strategic_merge_patch_of_the_image(bencher: Bencher<'_, '_>) {
    let live = daemonset("agent:v1");
    let patch = json!({"spec": {"template": {"spec": {
        "$setElementOrder/containers": [{"name": "agent"}, {"name": "sidecar"}],
        "containers": [{"name": "agent", "image": "agent:v2"}]}}}})
    .to_string();
    bencher.bench(|| strategic_merge_patch(daemonsets(), black_box(&live), patch.as_bytes()));
}

fn bench_apply(bencher: Bencher<'_, '_>, config: &Value) {
    let live =
        apply(daemonsets(), None, &daemonset("agent:v1"), KUBECTL, false).unwrap_or_default();
    bencher.bench(|| apply(daemonsets(), Some(black_box(&live)), config, KUBECTL, false));
}

#[divan::bench]
fn apply_of_the_image(bencher: Bencher<'_, '_>) {
    bench_apply(bencher, &daemonset("agent:v2"));
}

#[divan::bench]
fn apply_that_removes_a_container(bencher: Bencher<'_, '_>) {
    let mut config = daemonset("agent:v1");
    if let Some(list) = config.pointer_mut("/spec/template/spec/containers") {
        *list = json!([container("agent", "agent:v1")]);
    }
    bench_apply(bencher, &config);
}

#[divan::bench]
fn track_create_of_a_pod(bencher: Bencher<'_, '_>) {
    let mut pod = pod();
    pod["metadata"]["managedFields"] = Value::Null;
    bencher
        .with_inputs(|| pod.clone())
        .bench_values(|mut pod| track_update(kind("", "pods"), None, &mut pod, KUBECTL));
}

#[divan::bench]
fn track_first_status_of_a_pod(bencher: Bencher<'_, '_>) {
    let old = pod();
    let new = with_status(&old, "True");
    bencher.with_inputs(|| new.clone()).bench_values(|mut new| {
        track_update(kind("", "pods"), Some(black_box(&old)), &mut new, KUBELET);
        new
    });
}

#[divan::bench]
fn track_next_status_of_a_pod(bencher: Bencher<'_, '_>) {
    let mut old = with_status(&pod(), "False");
    track_update(kind("", "pods"), Some(&pod()), &mut old, KUBELET);
    let new = with_status(&old, "True");
    bencher.with_inputs(|| new.clone()).bench_values(|mut new| {
        track_update(kind("", "pods"), Some(black_box(&old)), &mut new, KUBELET);
        new
    });
}

#[divan::bench]
fn track_update_without_a_change(bencher: Bencher<'_, '_>) {
    let old = with_status(&pod(), "True");
    bencher.with_inputs(|| old.clone()).bench_values(|mut new| {
        track_update(kind("", "pods"), Some(black_box(&old)), &mut new, KUBELET);
        new
    });
}
