//! Benchmarks: what the checks of a pod cost.

use divan::{AllocProfiler, Bencher, black_box};
use pandaemon_machinery::pod_security::{Policy, review};
use serde_json::{Value, json};

/// Counts the allocations of each operation.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A pod with two containers that level restricted allows.
fn hardened() -> Value {
    let container = |name: &str| {
        json!({"name": name, "image": "i", "ports": [{"containerPort": 80}],
            "livenessProbe": {"httpGet": {"port": 80, "path": "/"}},
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}})
    };
    json!({"metadata": {"name": "p", "labels": {"app": "web"}}, "spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container("a"), container("b")],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "c"}}]}})
}

/// Reviews a pod that is allowed, under a policy that enforces this level.
#[divan::bench(args = ["privileged", "baseline", "restricted"])]
fn review_an_allowed_pod(bencher: Bencher<'_, '_>, level: &str) {
    let label = |key: &str| key.ends_with("/enforce").then_some(level);
    let (policy, _) = Policy::of_labels(label, &Policy::PRIVILEGED);
    let pod = hardened();
    assert_eq!(review(&policy, true, &pod).refusal, None);
    bencher.bench_local(|| review(&policy, true, black_box(&pod)));
}
