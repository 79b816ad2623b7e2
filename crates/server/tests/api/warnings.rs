//! Warnings of the strategies of kinds.

use serde_json::{Value, json};

use crate::harness::Server;

const ARCH: &str = "nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use \"kubernetes.io/arch\" instead";
const PORT: &str = "duplicate port definition with";

fn spec() -> Value {
    let port = json!({"containerPort": 80});
    json!({
        "nodeSelector": {"beta.kubernetes.io/arch": "amd64"},
        "containers": [
            {"name": "a", "image": "i", "ports": [port]},
            {"name": "b", "image": "i", "ports": [port]},
        ],
    })
}

#[tokio::test]
async fn a_new_pod_is_answered_with_warnings_also_when_it_comes_from_a_template() {
    let server = Server::start().await;
    server.create_service_account().await;
    let expected = [
        format!("spec.{ARCH}"),
        format!("spec.containers[1].ports[0]: {PORT} spec.containers[0].ports[0]"),
    ];
    let pods = "/api/v1/namespaces/default/pods";
    for at in 1..5 {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("p-{at}")}, "spec": spec()});
        pod["spec"]["nodeName"] = format!("n-{at}").into();
        let (code, warnings, made) = server.with_warnings("POST", pods, &pod).await;
        assert_eq!((code, &warnings[..]), (201, &expected[..]), "{made}");
    }
    // Names are used as hostnames.
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a.b"},
        "spec": {"containers": [{"name": "a", "image": "i"}]}});
    let (_, warnings, _) = server.with_warnings("POST", pods, &pod).await;
    let expected = "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]";
    assert_eq!(warnings, [expected]);
}

#[tokio::test]
async fn a_daemon_set_is_answered_with_warnings_when_its_template_changes() {
    let server = Server::start().await;
    let sets = "/apis/apps/v1/namespaces/default/daemonsets";
    let set = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec()}}});
    let template = "spec.template.spec";
    let expected = [
        format!("{template}.{ARCH}"),
        format!("{template}.containers[1].ports[0]: {PORT} {template}.containers[0].ports[0]"),
    ];
    let (code, warnings, mut set) = server.with_warnings("POST", sets, &set).await;
    assert_eq!((code, &warnings[..]), (201, &expected[..]));
    let path = format!("{sets}/web");
    set["spec"]["minReadySeconds"] = 1.into();
    let (code, warnings, mut set) = server.with_warnings("PUT", &path, &set).await;
    assert_eq!((code, warnings.len()), (200, 0));
    set["spec"]["template"]["spec"]["priorityClassName"] = "high".into();
    let (code, warnings, _) = server.with_warnings("PUT", &path, &set).await;
    assert_eq!((code, &warnings[..]), (200, &expected[..]));
}
