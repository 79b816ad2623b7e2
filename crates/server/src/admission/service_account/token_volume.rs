//! The volume with the token of a pod's account: `kube-api-access-*`.

use pandaemon_types::hash::fnv1a_64;
use serde_json::{Value, json};

use crate::registry::{meta, pod_references::items, suffix};

/// Where clients look for the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the name of the volume begins with.
const PREFIX: &str = "kube-api-access-";
/// The lifetime that the agent requests, in seconds: by it the server knows tokens that it may
/// extend.
const EXPIRATION: i64 = 3607;

/// Mounts the token in each container that mounts nothing at its path, unless pod or account do not
/// want that.
pub(super) fn mount(account: &Value, spec: &mut Value) {
    if !is_wanted(account, spec) {
        return;
    }
    let existing = existing_volume(spec);
    let (is_new, mut is_used) = (existing.is_none(), false);
    let name = existing.unwrap_or_else(|| volume_name(account));
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let is_taken = |mount: &Value| mount["mountPath"] == MOUNT_PATH;
            if !items(&container["volumeMounts"]).any(is_taken) {
                let mount = json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH});
                push(container, "volumeMounts", mount);
                is_used = true;
            }
        }
    }
    if is_new && is_used {
        let volume = json!({"name": name, "projected": projected()});
        push(spec, "volumes", volume);
    }
}

/// The name of the token volume that a copied pod has already.
fn existing_volume(spec: &Value) -> Option<String> {
    let mut names = items(&spec["volumes"]).filter_map(|volume| volume["name"].as_str());
    let found = names.find(|name| name.starts_with(PREFIX));
    found.map(str::to_owned)
}

/// Adds an item to the list in a field, which is created if it is missing.
fn push(object: &mut Value, field: &str, item: Value) {
    match object[field].as_array_mut() {
        Some(list) => list.push(item),
        None => object[field] = json!([item]),
    }
}

/// What the pod says, else what the account says, else yes.
fn is_wanted(account: &Value, spec: &Value) -> bool {
    let flag = |object: &Value| object["automountServiceAccountToken"].as_bool();
    flag(spec).or_else(|| flag(account)).unwrap_or(true)
}

/// The name of the volume. Upstream's has a random suffix; nothing relies on it. Here all pods of
/// an account have the same, so that pods of a DaemonSet are created from a template.
fn volume_name(account: &Value) -> String {
    let hash = fnv1a_64([meta::text(account, "uid").as_bytes()]);
    format!("{PREFIX}{}", suffix::of_bytes(&hash.to_le_bytes()))
}

/// Upstream: `TokenVolumeSource`.
fn projected() -> Value {
    json!({
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": EXPIRATION, "path": "token"}},
            {"configMap": {
                "name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }},
            {"downwardAPI": {"items": [{
                "path": "namespace",
                "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
            }]}},
        ],
        "defaultMode": 420,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(flag: Option<bool>) -> Value {
        let mut account = json!({"metadata": {"name": "a", "uid": "u-1"}});
        if let Some(flag) = flag {
            account["automountServiceAccountToken"] = flag.into();
        }
        account
    }

    #[test]
    fn the_flag_of_the_pod_counts_before_that_of_the_account() {
        let (yes, no) = (Some(true), Some(false));
        for (account_flag, pod_flag, expected) in [
            (None, None, true),
            (no, None, false),
            (yes, None, true),
            (no, yes, true),
            (yes, no, false),
            (None, no, false),
        ] {
            let mut spec = json!({"containers": [{"name": "c"}]});
            if let Some(flag) = pod_flag {
                spec["automountServiceAccountToken"] = flag.into();
            }
            mount(&account(account_flag), &mut spec);
            let found = spec["volumes"].is_array();
            assert_eq!(found, expected, "{account_flag:?} {pod_flag:?}");
        }
    }

    #[test]
    fn containers_that_mount_something_there_keep_it() {
        let own = json!({"name": "own", "mountPath": MOUNT_PATH});
        let mut spec = json!({
            "initContainers": [{"name": "i"}],
            "containers": [
                {"name": "c", "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
                {"name": "d", "volumeMounts": [own]},
            ],
            "volumes": [{"name": "own", "emptyDir": {}}],
        });
        mount(&account(None), &mut spec);
        let name = spec["volumes"][1]["name"].as_str().unwrap();
        assert!(name.starts_with(PREFIX) && name.len() == 21, "{name}");
        let added = json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH});
        let mounts = |list: &str, at: usize| spec[list][at]["volumeMounts"].clone();
        assert_eq!(mounts("initContainers", 0), json!([added]));
        assert_eq!(mounts("containers", 0)[1], added);
        assert_eq!(mounts("containers", 1), json!([own]));
        let mut again = spec.clone();
        mount(&account(None), &mut again);
        assert_eq!(again, spec);
        // A copied pod keeps its volume.
        let copied = json!({"name": "kube-api-access-abcde", "emptyDir": {}});
        let mut spec = json!({"containers": [{"name": "c"}], "volumes": [copied]});
        mount(&account(None), &mut spec);
        assert_eq!(spec["volumes"], json!([copied]));
        let mounts = &spec["containers"][0]["volumeMounts"];
        assert_eq!(mounts[0]["name"], "kube-api-access-abcde");
        let mut all_own = json!({"containers": [{"name": "c", "volumeMounts": [own]}]});
        mount(&account(None), &mut all_own);
        assert!(all_own.get("volumes").is_none());
    }
}
