//! The objects that a pod refers to by name. Upstream: `k8s.io/kubernetes/pkg/api/v1/pod`.

use serde_json::Value;

/// The lists of containers of a pod's spec.
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Where a volume names a Secret.
const SECRETS_OF_VOLUME: [&str; 10] = [
    "/azureFile/secretName",
    "/cephfs/secretRef/name",
    "/cinder/secretRef/name",
    "/csi/nodePublishSecretRef/name",
    "/flexVolume/secretRef/name",
    "/iscsi/secretRef/name",
    "/rbd/secretRef/name",
    "/scaleIO/secretRef/name",
    "/secret/secretName",
    "/storageos/secretRef/name",
];

/// The names of the Secrets that a pod refers to. Upstream: `VisitPodSecretNames`.
pub(crate) fn secrets(pod: &Value) -> impl Iterator<Item = &str> {
    let pull_secrets = items(&pod["spec"]["imagePullSecrets"]).map(|secret| &secret["name"]);
    let volumes = items(&pod["spec"]["volumes"]).flat_map(|volume| {
        let pointers = SECRETS_OF_VOLUME.iter();
        pointers.filter_map(|pointer| volume.pointer(pointer))
    });
    let projected = projected_sources(pod).map(|source| &source["secret"]["name"]);
    let environment = environment(pod, "secretKeyRef", "secretRef");
    names(
        pull_secrets
            .chain(volumes)
            .chain(projected)
            .chain(environment),
    )
}

/// The names of the ConfigMaps that a pod refers to. Upstream: `VisitPodConfigmapNames`.
pub(crate) fn config_maps(pod: &Value) -> impl Iterator<Item = &str> {
    let volumes = items(&pod["spec"]["volumes"]).map(|volume| &volume["configMap"]["name"]);
    let projected = projected_sources(pod).map(|source| &source["configMap"]["name"]);
    let environment = environment(pod, "configMapKeyRef", "configMapRef");
    names(volumes.chain(projected).chain(environment))
}

/// The sources of a pod's projected volumes.
pub(crate) fn projected_sources(pod: &Value) -> impl Iterator<Item = &Value> {
    let volumes = items(&pod["spec"]["volumes"]);
    volumes.flat_map(|volume| items(&volume["projected"]["sources"]))
}

/// What the variables of all containers refer to: one by one by `key_ref`, as a whole by `all_ref`.
fn environment<'a>(
    pod: &'a Value,
    key_ref: &'a str,
    all_ref: &'a str,
) -> impl Iterator<Item = &'a Value> {
    let lists = CONTAINERS.iter().map(|list| &pod["spec"][list]);
    lists.flat_map(items).flat_map(move |container| {
        let one = items(&container["env"]).map(move |var| &var["valueFrom"][key_ref]["name"]);
        let all = items(&container["envFrom"]).map(move |source| &source[all_ref]["name"]);
        one.chain(all)
    })
}

/// The items of a list, none of anything else.
pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn names<'a>(values: impl Iterator<Item = &'a Value>) -> impl Iterator<Item = &'a str> {
    let names = values.filter_map(Value::as_str);
    names.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_references_of_a_pod_are_those_that_upstream_finds() {
        let env = |name: &str| {
            json!({
                "env": [
                    {"name": "A", "value": "none"},
                    {"name": "B", "valueFrom": {"secretKeyRef": {"name": format!("{name}-key"), "key": "none"}}},
                    {"name": "C", "valueFrom": {"configMapKeyRef": {"name": format!("{name}-key"), "key": "none"}}},
                    {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "none"}}},
                ],
                "envFrom": [
                    {"secretRef": {"name": format!("{name}-all")}},
                    {"configMapRef": {"name": format!("{name}-all")}},
                ],
            })
        };
        let pod = json!({"metadata": {"name": "none"}, "spec": {
            "serviceAccountName": "none",
            "imagePullSecrets": [{"name": "pull"}, {"name": ""}, {}],
            "initContainers": [env("init")],
            "containers": [env("main"), {"name": "none"}],
            "ephemeralContainers": [env("debug")],
            "volumes": [
                {"name": "none", "emptyDir": {}},
                {"secret": {"secretName": "volume"}},
                {"configMap": {"name": "volume"}},
                {"projected": {"sources": [
                    {"secret": {"name": "projected"}},
                    {"configMap": {"name": "projected"}},
                    {"serviceAccountToken": {"path": "none"}},
                ]}},
                {"azureFile": {"secretName": "azure", "shareName": "none"}},
                {"cephfs": {"secretRef": {"name": "ceph"}}},
                {"cinder": {"secretRef": {"name": "cinder"}}},
                {"csi": {"driver": "none", "nodePublishSecretRef": {"name": "csi"}}},
                {"flexVolume": {"secretRef": {"name": "flex"}}},
                {"iscsi": {"secretRef": {"name": "iscsi"}}},
                {"rbd": {"secretRef": {"name": "rbd"}}},
                {"scaleIO": {"secretRef": {"name": "scale"}}},
                {"storageos": {"secretRef": {"name": "storageos"}}},
            ],
        }});
        let common = "debug-all debug-key init-all init-key main-all main-key projected volume";
        let drivers = "azure ceph cinder csi flex iscsi pull rbd scale storageos";
        for (found, expected) in [
            (
                secrets(&pod).collect::<Vec<_>>(),
                format!("{common} {drivers}"),
            ),
            (config_maps(&pod).collect(), common.to_owned()),
            (
                secrets(&json!({"spec": {"containers": 1}})).collect(),
                String::new(),
            ),
        ] {
            let mut found = found;
            let mut expected: Vec<_> = expected.split_whitespace().collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }
}
