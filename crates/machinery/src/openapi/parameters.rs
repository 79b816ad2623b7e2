//! The path and query parameters of operations.

use serde_json::{Value, json};

use super::version::Version;
use crate::Kind;

/// A path parameter, `name` or `namespace`.
pub(super) fn in_path(version: Version, name: &str, kind: &Kind) -> Value {
    let mut entry = parameter(version, name, "string");
    entry["in"] = "path".into();
    entry["required"] = true.into();
    if name == "name" {
        entry["description"] = format!("name of the {}", kind.kind).into();
    }
    entry
}

/// A query parameter of this type.
pub(super) fn parameter(version: Version, name: &str, kind: &str) -> Value {
    let mut entry = json!({"name": name, "in": "query", "description": about(name)});
    if version == Version::V2 {
        entry["type"] = kind.into();
        entry["uniqueItems"] = true.into();
    } else {
        entry["schema"] = json!({"type": kind, "uniqueItems": true});
    }
    entry
}

/// The description of a parameter.
fn about(name: &str) -> &'static str {
    match name {
        "allowWatchBookmarks" => "Whether a watch may send events of type BOOKMARK.",
        "continue" => "The continue token of the page before, for the next page of a list.",
        "dryRun" => "With the value All the request is processed in full but nothing is stored.",
        "fieldManager" => "The name of the actor that makes this change, for managedFields.",
        "fieldSelector" => "Restricts the objects by their fields. Defaults to everything.",
        "fieldValidation" => {
            "What to do with unknown or duplicate fields: Ignore drops them, Warn drops them and answers with a \
             warning header for each (the default), Strict refuses the request."
        }
        "force" => "Takes over fields that other managers own; only for apply requests.",
        "gracePeriodSeconds" => "Seconds before the object is deleted; zero means at once.",
        "labelSelector" => "Restricts the objects by their labels. Defaults to everything.",
        "limit" => {
            "The most objects in one page of a list; the answer has a continue token if there are more."
        }
        "namespace" => "object name and auth scope, such as for teams and projects",
        "orphanDependents" => "Deprecated: use propagationPolicy. Whether dependents are orphaned.",
        "pretty" => "If 'true', the output is indented.",
        "propagationPolicy" => "How dependents are deleted: Orphan, Background or Foreground.",
        "resourceVersion" => "Which version of the objects the request may be served from.",
        "resourceVersionMatch" => "How resourceVersion is applied to a list.",
        "sendInitialEvents" => {
            "Whether a watch starts with the objects that exist, ended by a bookmark."
        }
        "timeoutSeconds" => "Limits the duration of the call.",
        "watch" => "Streams changes instead of answering with a list.",
        _ => "",
    }
}
