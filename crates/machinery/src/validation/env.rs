//! Environment variables and their sources.

use pandaemon_types::Quantity;
use serde_json::Value;

use super::error_list::{ErrorList, Path};
use super::names;
use crate::json_fields::ReadFields;

const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const RESOURCE_FIELDS: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Fields of a pod that a `fieldRef` may name, in a volume or an environment variable.
const KNOWN_FIELDS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];

/// Validates `env` (upstream's `ValidateEnv`).
pub(super) fn variables(path: &Path<'_>, variables: &[Value], errors: &mut ErrorList) {
    for (at, variable) in variables.iter().enumerate() {
        let path = path.index(at);
        let name = variable.text("name");
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            errors.invalid_all(&path.child("name"), name, &names::env_name(name));
        }
        if let Some(source) = variable.field("valueFrom") {
            value_from(&path.child("valueFrom"), variable, source, errors);
        }
    }
}

fn value_from(path: &Path<'_>, variable: &Value, source: &Value, errors: &mut ErrorList) {
    let mut sources = 0;
    if let Some(field) = source.field("fieldRef") {
        sources += 1;
        field_reference(&path.child("fieldRef"), field, &ENV_FIELDS, errors);
    }
    if let Some(field) = source.field("resourceFieldRef") {
        sources += 1;
        resource_reference(&path.child("resourceFieldRef"), field, false, errors);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(key) = source.field(name) {
            sources += 1;
            key_reference(&path.child(name), key, errors);
        }
    }
    if sources == 0 {
        let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or \
                   `secretKeyRef`";
        errors.invalid(path, "", why);
    } else if !variable.text("value").is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        errors.invalid(
            path,
            "",
            "may not have more than one field specified at a time",
        );
    }
}

fn key_reference(path: &Path<'_>, reference: &Value, errors: &mut ErrorList) {
    names::check_subdomain(&path.child("name"), reference.text("name"), errors);
    let key = reference.text("key");
    if key.is_empty() {
        errors.required(&path.child("key"), "");
    } else {
        errors.invalid_all(&path.child("key"), key, &names::config_key(key));
    }
}

/// Validates a `fieldRef`, such as to `metadata.labels['app']`; `supported` are the fields without
/// a subscript that it may name.
pub(super) fn field_reference(
    path: &Path<'_>,
    reference: &Value,
    supported: &[&str],
    errors: &mut ErrorList,
) {
    for field in ["apiVersion", "fieldPath"] {
        if reference.text(field).is_empty() {
            errors.required(&path.child(field), "");
            return;
        }
    }
    let (version, field) = (reference.text("apiVersion"), reference.text("fieldPath"));
    let why = match (version, subscript(field)) {
        (version, _) if version != "v1" => Some(format!("unsupported pod version: {version}")),
        (_, Some(("metadata.annotations" | "metadata.labels", _))) => None,
        (_, Some(_)) => Some(format!("field label does not support subscript: {field}")),
        (_, None) if KNOWN_FIELDS.contains(&field) || field == "spec.host" => None,
        (_, None) => Some(format!("field label not supported: {field}")),
    };
    if let Some(why) = why {
        let why = format!("error converting fieldPath: {why}");
        errors.invalid(&path.child("fieldPath"), field, &why);
        return;
    }
    match subscript(field) {
        Some(("metadata.annotations", key)) => {
            names::check_qualified(path, &key.to_lowercase(), errors);
        }
        Some((_, key)) => names::check_qualified(path, key, errors),
        None => {
            let field = if field == "spec.host" {
                "spec.nodeName"
            } else {
                field
            };
            errors.one_of(&path.child("fieldPath"), field, supported);
        }
    }
}

/// The two parts of `metadata.labels['app']`; `None` for a field without a subscript.
fn subscript(field: &str) -> Option<(&str, &str)> {
    let (name, key) = field.strip_suffix("']")?.split_once("['")?;
    (!name.is_empty()).then_some((name, key))
}

/// Validates a `resourceFieldRef` to a limit or request of a container.
pub(super) fn resource_reference(
    path: &Path<'_>,
    reference: &Value,
    needs_container: bool,
    errors: &mut ErrorList,
) {
    let resource = reference.text("resource");
    let huge = ["limits.hugepages-", "requests.hugepages-"]
        .iter()
        .any(|p| resource.starts_with(p));
    if needs_container && reference.text("containerName").is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !huge {
        errors.one_of(&path.child("resource"), resource, &RESOURCE_FIELDS);
    }
    divisor(path, reference, resource, errors);
}

fn divisor(path: &Path<'_>, reference: &Value, resource: &str, errors: &mut ErrorList) {
    let Ok(divisor) = Quantity::from_json(&reference["divisor"]) else {
        return;
    };
    if divisor.is_zero() {
        return;
    }
    let text = divisor.to_string();
    let kind = resource.split_once('.').map_or("", |(_, kind)| kind);
    let (good, why) = match kind {
        "cpu" => (
            matches!(text.as_str(), "1m" | "1"),
            "only divisor's values 1m and 1 are supported with the cpu resource".to_owned(),
        ),
        _ => {
            let name = match kind {
                "memory" => "memory",
                "ephemeral-storage" => "local ephemeral storage",
                _ if kind.starts_with("hugepages-") => "hugepages",
                _ => return,
            };
            let units = [
                "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
            ];
            let good = text
                .strip_prefix('1')
                .is_some_and(|unit| units.contains(&unit));
            let why = format!(
                "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are \
                 supported with the {name} resource"
            );
            (good, why)
        }
    };
    if !good {
        errors.invalid(&path.child("divisor"), resource, &why);
    }
}

/// Validates `envFrom` (upstream's `ValidateEnvFrom`).
pub(super) fn sources(path: &Path<'_>, sources: &[Value], errors: &mut ErrorList) {
    for (at, source) in sources.iter().enumerate() {
        let item = path.index(at);
        let prefix = source.text("prefix");
        if !prefix.is_empty() {
            errors.invalid_all(&item.child("prefix"), prefix, &names::env_name(prefix));
        }
        let mut found = 0;
        for field in ["configMapRef", "secretRef"] {
            let Some(reference) = source.field(field) else {
                continue;
            };
            found += 1;
            let path = item.child(field);
            match reference.text("name") {
                "" => errors.required(&path.child("name"), ""),
                name => names::check_subdomain(&path.child("name"), name, errors),
            }
        }
        if found == 0 {
            errors.invalid(
                path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            );
        } else if found > 1 {
            errors.invalid(
                path,
                "",
                "may not have more than one field specified at a time",
            );
        }
    }
}
