//! Environment variables and where their values come from.

use pandaemon_types::Quantity;
use serde_json::Value;

use super::faults::{Faults, Path};
use super::names;
use crate::access::Access;

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

/// Fields that some reference or other may name.
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

/// `env`.
pub(super) fn variables(path: &Path<'_>, variables: &[Value], faults: &mut Faults) {
    for (at, variable) in variables.iter().enumerate() {
        let path = path.index(at);
        let name = variable.text("name");
        if name.is_empty() {
            faults.required(&path.child("name"), "");
        } else {
            faults.invalid_all(&path.child("name"), name, &names::env_name(name));
        }
        if let Some(source) = variable.field("valueFrom") {
            value_from(&path.child("valueFrom"), variable, source, faults);
        }
    }
}

fn value_from(path: &Path<'_>, variable: &Value, source: &Value, faults: &mut Faults) {
    let mut sources = 0;
    if let Some(field) = source.field("fieldRef") {
        sources += 1;
        field_reference(&path.child("fieldRef"), field, &ENV_FIELDS, faults);
    }
    if let Some(field) = source.field("resourceFieldRef") {
        sources += 1;
        resource_reference(&path.child("resourceFieldRef"), field, false, faults);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(key) = source.field(name) {
            sources += 1;
            key_reference(&path.child(name), key, faults);
        }
    }
    if sources == 0 {
        let why = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or \
                   `secretKeyRef`";
        faults.invalid(path, "", why);
    } else if !variable.text("value").is_empty() {
        faults.invalid(path, "", "may not be specified when `value` is not empty");
    } else if sources > 1 {
        faults.invalid(
            path,
            "",
            "may not have more than one field specified at a time",
        );
    }
}

fn key_reference(path: &Path<'_>, reference: &Value, faults: &mut Faults) {
    names::check_subdomain(&path.child("name"), reference.text("name"), faults);
    let key = reference.text("key");
    if key.is_empty() {
        faults.required(&path.child("key"), "");
    } else {
        faults.invalid_all(&path.child("key"), key, &names::config_key(key));
    }
}

/// A reference to a field of the pod, such as `metadata.labels['app']`.
pub(super) fn field_reference(
    path: &Path<'_>,
    reference: &Value,
    supported: &[&str],
    faults: &mut Faults,
) {
    for field in ["apiVersion", "fieldPath"] {
        if reference.text(field).is_empty() {
            faults.required(&path.child(field), "");
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
        faults.invalid(&path.child("fieldPath"), field, &why);
        return;
    }
    match subscript(field) {
        Some(("metadata.annotations", key)) => {
            names::check_qualified(path, &key.to_lowercase(), faults);
        }
        Some((_, key)) => names::check_qualified(path, key, faults),
        None => {
            let field = if field == "spec.host" {
                "spec.nodeName"
            } else {
                field
            };
            faults.one_of(&path.child("fieldPath"), field, supported);
        }
    }
}

/// `metadata.labels['app']` in its two parts.
fn subscript(field: &str) -> Option<(&str, &str)> {
    let (name, key) = field.strip_suffix("']")?.split_once("['")?;
    (!name.is_empty()).then_some((name, key))
}

/// A reference to a limit or request of a container.
pub(super) fn resource_reference(
    path: &Path<'_>,
    reference: &Value,
    needs_container: bool,
    faults: &mut Faults,
) {
    let resource = reference.text("resource");
    let huge = ["limits.hugepages-", "requests.hugepages-"]
        .iter()
        .any(|p| resource.starts_with(p));
    if needs_container && reference.text("containerName").is_empty() {
        faults.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        faults.required(&path.child("resource"), "");
    } else if !huge {
        faults.one_of(&path.child("resource"), resource, &RESOURCE_FIELDS);
    }
    divisor(path, reference, resource, faults);
}

fn divisor(path: &Path<'_>, reference: &Value, resource: &str, faults: &mut Faults) {
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
        faults.invalid(&path.child("divisor"), resource, &why);
    }
}

/// `envFrom`.
pub(super) fn sources(path: &Path<'_>, sources: &[Value], faults: &mut Faults) {
    for (at, source) in sources.iter().enumerate() {
        let item = path.index(at);
        let prefix = source.text("prefix");
        if !prefix.is_empty() {
            faults.invalid_all(&item.child("prefix"), prefix, &names::env_name(prefix));
        }
        let mut found = 0;
        for field in ["configMapRef", "secretRef"] {
            let Some(reference) = source.field(field) else {
                continue;
            };
            found += 1;
            let path = item.child(field);
            match reference.text("name") {
                "" => faults.required(&path.child("name"), ""),
                name => names::check_subdomain(&path.child("name"), name, faults),
            }
        }
        if found == 0 {
            faults.invalid(
                path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            );
        } else if found > 1 {
            faults.invalid(
                path,
                "",
                "may not have more than one field specified at a time",
            );
        }
    }
}
