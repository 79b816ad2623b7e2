//! Manifests: several documents, defaults, and Kubernetes' words for what is wrong.

use pandaemon_explain::manifest::{created, read, updated};
use serde_json::json;

const AGENT: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: c, image: v1}]}
";

#[test]
fn daemon_sets_are_found_and_defaulted() {
    let text = format!(
        "# all\n---\nkind: Service\napiVersion: v1\nmetadata: {{name: s}}\n---\n{AGENT}---\n"
    );
    let sets = read("x.yaml", &text, "ns").unwrap();
    assert_eq!(sets.len(), 1);
    assert_eq!(sets[0]["metadata"]["namespace"], "ns");
    assert_eq!(
        sets[0]["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
        1
    );
    let list = json!({"kind": "List", "apiVersion": "v1", "items": [sets[0], sets[0]]});
    assert_eq!(read("-", &list.to_string(), "ns").unwrap().len(), 2);
    assert_eq!(created(&sets[0])["metadata"]["generation"], 1);
}

#[test]
fn errors_have_kubernetes_messages() {
    let cases = [
        (
            AGENT.replace("{app: agent}}\n  t", "{app: other}}\n  t"),
            "The DaemonSet \"agent\" is invalid: spec.template.metadata.labels: Invalid value: \
             map[string]string{\"app\":\"agent\"}: `selector` does not match template `labels`",
        ),
        (
            AGENT.replace("name: c,", "nmae: c,"),
            "Error from server (BadRequest): DaemonSet in version \"v1\" cannot be handled as a DaemonSet: \
             strict decoding error: unknown field \"spec.template.spec.containers[0].nmae\"",
        ),
        (
            "kind: Pod\napiVersion: v1".to_owned(),
            "error: no DaemonSet in x.yaml",
        ),
    ];
    for (text, expected) in cases {
        let error = read("x.yaml", &text, "ns").unwrap_err().to_string();
        assert_eq!(error, expected);
    }
    let broken = read("x.yaml", "a: [", "ns").unwrap_err().to_string();
    assert!(
        broken.starts_with("error: error parsing x.yaml: "),
        "{broken}"
    );
}

#[test]
fn an_update_keeps_identity_and_refuses_another_selector() {
    let wanted = read("x", AGENT, "ns").unwrap().remove(0);
    let mut live = wanted.clone();
    live["metadata"]["uid"] = json!("u");
    live["metadata"]["generation"] = json!(4);
    live["metadata"]["resourceVersion"] = json!("9");
    assert_eq!(
        updated(&live, &wanted).unwrap()["metadata"]["generation"],
        4
    );
    let other = AGENT.replace("v1}]}", "v2}]}");
    let other = read("x", &other, "ns").unwrap().remove(0);
    let next = updated(&live, &other).unwrap();
    assert_eq!(
        (&next["metadata"]["uid"], &next["metadata"]["generation"]),
        (&json!("u"), &json!(5))
    );
    let other = read("x", &AGENT.replace("app: agent", "app: other"), "ns")
        .unwrap()
        .remove(0);
    let error = updated(&live, &other).unwrap_err().to_string();
    assert!(error.contains("spec.selector: Invalid value: "), "{error}");
    assert!(error.ends_with(": field is immutable"), "{error}");
}
