//! Discovery documents: `/api`, `/apis` (each also as aggregated discovery), `/apis/GROUP`,
//! `/api/v1` and `/apis/GROUP/VERSION`. Groups and resources are those of the [`Scheme`], in its
//! order.

use serde_json::{Map, Value, json};

use crate::{
    Kind, Scheme, Scope,
    kind::{KindRef, Subresource},
};

/// The response to `/api`: `APIVersions`. `server_address` is the `HOST:PORT` that clients use.
#[must_use]
pub fn api_versions(scheme: &Scheme, server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": versions(scheme, "").iter().map(|v| Value::from(*v)).collect::<Vec<_>>(),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    })
}

/// The response to `/apis`: `APIGroupList`.
#[must_use]
pub fn api_groups(scheme: &Scheme) -> Value {
    let groups = groups(scheme).into_iter();
    let groups: Vec<Value> = groups.map(|group| group_entry(scheme, group)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// The response to `/apis/GROUP`: `APIGroup`; `None` for a group that is not served.
#[must_use]
pub fn api_group(scheme: &Scheme, group: &str) -> Option<Value> {
    let group = groups(scheme).into_iter().find(|known| *known == group)?;
    let mut entry = group_entry(scheme, group);
    entry["kind"] = "APIGroup".into();
    entry["apiVersion"] = "v1".into();
    Some(entry)
}

/// The response to `/api/v1` (empty `group`) or `/apis/GROUP/VERSION`: `APIResourceList`; `None`
/// for a version that is not served.
#[must_use]
pub fn resource_list(scheme: &Scheme, group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in kinds_of(scheme, group, version) {
        resources.push(resource(kind));
        resources.extend(kind.subresources.iter().map(|sub| subresource(kind, sub)));
    }
    if resources.is_empty() {
        return None;
    }
    let list = json!({"kind": "APIResourceList", "groupVersion": group_version(group, version), "resources": resources});
    Some(if group.is_empty() {
        list
    } else {
        with(list, "apiVersion", "v1".into())
    })
}

/// The aggregated discovery of `/api` (`core`) or `/apis`: `APIGroupDiscoveryList` of
/// `apidiscovery.k8s.io/VERSION`, which is `v2` or `v2beta1`.
#[must_use]
pub fn aggregated(scheme: &Scheme, core: bool, version: &str) -> Value {
    let groups = if core { vec![""] } else { groups(scheme) };
    let groups = groups.into_iter();
    let items: Vec<Value> = groups
        .map(|group| aggregated_group(scheme, group))
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

/// The groups except the core group, in order.
fn groups(scheme: &Scheme) -> Vec<&str> {
    let mut groups = Vec::new();
    for (group, _) in scheme.group_versions() {
        if !group.is_empty() && !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

fn versions<'s>(scheme: &'s Scheme, group: &str) -> Vec<&'s str> {
    let all = scheme.group_versions().into_iter();
    all.filter(|(of, _)| *of == group)
        .map(|(_, version)| version)
        .collect()
}

fn kinds_of<'s>(
    scheme: &'s Scheme,
    group: &'s str,
    version: &'s str,
) -> impl Iterator<Item = &'s KindRef> {
    let kinds = scheme.kinds().iter();
    kinds.filter(move |kind| kind.group == group && kind.version == version)
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn group_entry(scheme: &Scheme, group: &str) -> Value {
    let versions: Vec<Value> = versions(scheme, group)
        .iter()
        .map(|version| json!({"groupVersion": group_version(group, version), "version": version}))
        .collect();
    json!({"name": group, "preferredVersion": versions.first(), "versions": versions})
}

fn resource(kind: &Kind) -> Value {
    let mut entry = json!({
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.is_namespaced(),
        "kind": kind.kind,
        "verbs": kind.verbs,
    });
    add_names(&mut entry, kind);
    if kind.is_stored() {
        entry["storageVersionHash"] = storage_version_hash(kind).into();
    }
    entry
}

fn subresource(kind: &Kind, sub: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", kind.plural, sub.name),
        "singularName": "",
        "namespaced": kind.is_namespaced(),
        "kind": sub.kind,
        "verbs": sub.verbs,
    });
    if sub.group != kind.group {
        entry["group"] = sub.group.as_str().into();
        entry["version"] = sub.version.as_str().into();
    }
    entry
}

/// Adds the short names and categories that the kind has.
fn add_names(entry: &mut Value, kind: &Kind) {
    for (name, list) in [
        ("shortNames", &kind.short_names),
        ("categories", &kind.categories),
    ] {
        if !list.is_empty() {
            entry[name] = list.as_slice().into();
        }
    }
}

/// The first eight bytes of the SHA-256 of group, version and kind in Base64 (upstream's
/// `StorageVersionHash`).
fn storage_version_hash(kind: &Kind) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use sha2::{Digest as _, Sha256};
    // Events of both groups are stored in the form of `v1`.
    let group = if kind.strategy.is_stored_converted() {
        ""
    } else {
        kind.group.as_str()
    };
    let digest = Sha256::digest(format!("{group}/{}/{}", kind.version, kind.kind));
    STANDARD.encode(&digest[..8])
}

fn aggregated_group(scheme: &Scheme, group: &str) -> Value {
    let versions: Vec<Value> = versions(scheme, group)
        .iter()
        .map(|version| {
            let kinds = kinds_of(scheme, group, version);
            let resources: Vec<Value> = kinds.map(|kind| aggregated_resource(kind)).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let mut metadata = json!({"creationTimestamp": null});
    if !group.is_empty() {
        metadata["name"] = group.into();
    }
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(kind: &Kind) -> Value {
    let mut entry = json!({
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": match kind.scope { Scope::Cluster => "Cluster", Scope::Namespaced => "Namespaced" },
        "singularResource": kind.singular,
        "verbs": kind.verbs,
    });
    add_names(&mut entry, kind);
    let subresources: Vec<Value> = kind
        .subresources
        .iter()
        .map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
                "verbs": sub.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}

fn with(value: Value, name: &str, field: Value) -> Value {
    let mut map = match value {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    map.insert(name.into(), field);
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::built_in;

    fn entry<'a>(list: &'a Value, name: &str) -> &'a Value {
        let found = list
            .as_array()
            .unwrap()
            .iter()
            .find(|r| r["name"] == name || r["resource"] == name);
        found.unwrap_or_else(|| panic!("{name} is not listed"))
    }

    #[test]
    fn resource_list_of_apps_has_daemonsets() {
        let list = resource_list(built_in(), "apps", "v1").unwrap();
        assert_eq!(list["groupVersion"], "apps/v1");
        assert_eq!(
            *entry(&list["resources"], "daemonsets"),
            json!({
                "name": "daemonsets", "singularName": "daemonset", "namespaced": true, "kind": "DaemonSet",
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
                "shortNames": ["ds"], "categories": ["all"], "storageVersionHash": "dd7pWHUlMKQ=",
            })
        );
        assert_eq!(
            entry(&list["resources"], "daemonsets/status")["verbs"],
            json!(["get", "patch", "update"])
        );
    }

    #[test]
    fn subresource_with_a_body_of_another_group_names_the_group() {
        let list = resource_list(built_in(), "", "v1").unwrap();
        assert!(list.get("apiVersion").is_none());
        let eviction = entry(&list["resources"], "pods/eviction");
        assert_eq!(
            (&eviction["group"], &eviction["version"]),
            (&json!("policy"), &json!("v1"))
        );
        assert!(entry(&list["resources"], "pods/log").get("group").is_none());
        assert_eq!(
            entry(&list["resources"], "pods")["storageVersionHash"],
            "xPOwRZ+Yhw8="
        );
    }

    #[test]
    fn group_list_has_named_groups_only() {
        let list = api_groups(built_in());
        let names: Vec<&str> = list["groups"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|g| g["name"].as_str())
            .collect();
        assert_eq!(names[0], "apps");
        assert!(!names.contains(&""));
        let apps = api_group(built_in(), "apps").unwrap();
        assert_eq!(apps["preferredVersion"]["groupVersion"], "apps/v1");
        assert!(api_group(built_in(), "nope.example.com").is_none());
        assert!(api_group(built_in(), "").is_none());
        assert!(resource_list(built_in(), "apps", "v9").is_none());
    }

    #[test]
    fn aggregated_discovery_of_core_and_named_groups() {
        let core = aggregated(built_in(), true, "v2");
        assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2");
        assert_eq!(core["items"].as_array().unwrap().len(), 1);
        let others = aggregated(built_in(), false, "v2beta1");
        let apps = &others["items"][0];
        assert_eq!(apps["metadata"]["name"], "apps");
        assert_eq!(apps["versions"][0]["freshness"], "Current");
        let sets = entry(&apps["versions"][0]["resources"], "daemonsets");
        assert_eq!(sets["scope"], "Namespaced");
        assert_eq!(sets["subresources"][0]["subresource"], "status");
    }
}
