//! Time to decode a body.

use divan::{Bencher, black_box};
use pandaemon_machinery::{
    decode::{FieldValidation, MediaType, decode},
    scheme,
};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

fn template() -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": "registry.example/agent:v1.2.3", "args": ["--path=/host", "--level=info"],
            "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
            "resources": {"limits": {"cpu": "200m", "memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            "ports": [{"containerPort": 9100, "hostPort": 9100, "protocol": "TCP"}],
            "volumeMounts": [{"name": "root", "mountPath": "/host", "readOnly": true}],
            "livenessProbe": {"httpGet": {"path": "/", "port": 9100}, "periodSeconds": 10},
        })
    };
    json!({
        "metadata": {"labels": {"app": "agent", "tier": "node"}},
        "spec": {
            "containers": [container("agent"), container("sidecar")], "hostNetwork": true,
            "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
            "volumes": [{"name": "root", "hostPath": {"path": "/", "type": "Directory"}}],
        },
    })
}

fn bench_decode(bencher: Bencher<'_, '_>, group: &str, plural: &str, body: &Value) {
    let body = body.to_string();
    let kind = scheme::built_in().find_resource(group, "v1", plural);
    bencher.bench(|| {
        kind.map(|kind| {
            decode(
                scheme::built_in(),
                kind,
                black_box(body.as_bytes()),
                MediaType::Json,
                FieldValidation::Strict,
            )
        })
    });
}

#[divan::bench]
fn pod(bencher: Bencher<'_, '_>) {
    bench_decode(bencher, "", "pods", &template());
}

#[divan::bench]
fn daemon_set(bencher: Bencher<'_, '_>) {
    let spec = json!({"selector": {"matchLabels": {"app": "agent"}}, "template": template()});
    let body = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent"}, "spec": spec});
    bench_decode(bencher, "apps", "daemonsets", &body);
}
