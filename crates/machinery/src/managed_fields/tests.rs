//! Cases and properties of `managedFields`, and what they share.

mod apply_cases;
mod client_side_apply;
mod fast_paths;
mod field_set;
mod model;
mod properties;
mod update_cases;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{FieldManager, apply, track_update};
use crate::{Kind, scheme, status::Status};

const T1: &str = "2026-01-01T00:00:00Z";

const T2: &str = "2026-01-02T00:00:00Z";

/// The kind of a resource of the core group, or of `daemonsets`.
fn kind(plural: &str) -> &'static Kind {
    let group = if plural == "daemonsets" { "apps" } else { "" };
    scheme::built_in()
        .find_resource(group, "v1", plural)
        .unwrap()
}

/// The manager of a write to the object at [`T1`].
fn by(name: &'static str) -> FieldManager<'static> {
    FieldManager {
        name,
        subresource: "",
        now: T1,
    }
}

/// The manager of a write to the object at [`T2`].
fn later(name: &'static str) -> FieldManager<'static> {
    FieldManager {
        now: T2,
        ..by(name)
    }
}

/// A ConfigMap with this data.
fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

/// The object after a create that is recorded.
fn created(plural: &str, object: Value, manager: &'static str) -> Value {
    let mut object = object;
    track_update(kind(plural), None, &mut object, by(manager));
    object
}

/// The object after an update that is recorded.
fn updated(
    plural: &str,
    old: &Value,
    manager: FieldManager<'_>,
    edit: impl FnOnce(&mut Value),
) -> Value {
    let mut new = old.clone();
    edit(&mut new);
    track_update(kind(plural), Some(old), &mut new, manager);
    new
}

/// The object after an apply without `force`.
fn applied(plural: &str, live: Option<&Value>, config: Value, manager: FieldManager<'_>) -> Value {
    apply(kind(plural), live, &config, manager, false).unwrap()
}

/// The error of an apply without `force`.
fn refused(plural: &str, live: &Value, config: Value, manager: &'static str) -> Box<Status> {
    apply(kind(plural), Some(live), &config, by(manager), false).unwrap_err()
}

/// A text for each entry of `managedFields`: `MANAGER[/SUBRESOURCE] OPERATION DAY FIELDS`.
fn owners(object: &Value) -> Vec<String> {
    let Some(entries) = object["metadata"]["managedFields"].as_array() else {
        return Vec::new();
    };
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["fieldsType"], "FieldsV1");
            let manager = match entry["subresource"].as_str() {
                Some(subresource) => format!("{}/{subresource}", text(entry, "manager")),
                None => text(entry, "manager"),
            };
            let day = if text(entry, "time") == T1 { "1" } else { "2" };
            format!(
                "{manager} {} {day} {}",
                text(entry, "operation"),
                entry["fieldsV1"]
            )
        })
        .collect()
}

/// A DaemonSet without defaults.
fn daemonset(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "ds"},
        "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {
                "metadata": {"labels": {"app": "a"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

/// A DaemonSet with some of the defaults that the server sets.
fn defaulted(mut object: Value) -> Value {
    let spec = &mut object["spec"];
    spec["revisionHistoryLimit"] = json!(10);
    spec["updateStrategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}});
    let pod = &mut spec["template"]["spec"];
    pod["dnsPolicy"] = json!("ClusterFirst");
    pod["securityContext"] = json!({});
    for container in pod["containers"].as_array_mut().unwrap() {
        container["resources"] = json!({});
        container["imagePullPolicy"] = json!("Always");
    }
    object
}

/// DaemonSets with up to three containers and their environment variables.
fn daemonsets() -> impl Strategy<Value = Value> {
    let item = (
        prop::sample::subsequence(vec!["a", "b", "c", "d"], 0..4),
        "[12]",
    );
    proptest::collection::btree_map("[a-c]", item, 1..4).prop_map(|containers| {
        let containers: Vec<Value> = containers
            .into_iter()
            .map(|(name, (env, image))| {
                let env: Vec<Value> = env
                    .iter()
                    .map(|n| json!({"name": n, "value": image}))
                    .collect();
                json!({"name": name, "image": image, "env": env})
            })
            .collect();
        let mut object = daemonset("x");
        object["spec"]["template"]["spec"]["containers"] = json!(containers);
        object
    })
}
