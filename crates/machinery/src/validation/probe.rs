//! Probes and lifecycle hooks.

use serde_json::Value;

use super::error_list::{ErrorList, Path};
use super::names;
use crate::json_fields::ReadFields;

/// The type of a probe; some rules hold for one type only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeKind {
    /// A failure restarts the container.
    Liveness,
    /// A failure makes the pod not ready.
    Readiness,
    /// The other probes start after its success.
    Startup,
}

/// Validates a probe (upstream's `validateProbe`).
pub(super) fn probe(path: &Path<'_>, probe: &Value, kind: ProbeKind, errors: &mut ErrorList) {
    handler(
        path,
        probe,
        None,
        &["exec", "httpGet", "tcpSocket", "grpc"],
        errors,
    );
    let numbers = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    for number in numbers {
        errors.non_negative(&path.child(number), probe.int(number));
    }
    let grace = probe
        .field("terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    let grace_path = path.child("terminationGracePeriodSeconds");
    if let Some(seconds) = grace.filter(|seconds| *seconds <= 0) {
        errors.invalid(&grace_path, seconds, "must be greater than 0");
    }
    if kind == ProbeKind::Readiness {
        if let Some(seconds) = grace {
            errors.invalid(&grace_path, seconds, "must not be set for readinessProbes");
        }
    } else if probe.int("successThreshold") != 1 {
        let path = path.child("successThreshold");
        errors.invalid(&path, probe.int("successThreshold"), "must be 1");
    }
}

/// Validates `lifecycle` (upstream's `validateLifecycle`).
pub(super) fn lifecycle(
    path: &Path<'_>,
    lifecycle: &Value,
    grace: Option<i64>,
    errors: &mut ErrorList,
) {
    for hook in ["postStart", "preStop"] {
        if let Some(value) = lifecycle.field(hook) {
            let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
            handler(&path.child(hook), value, grace, &kinds, errors);
        }
    }
}

/// Validates that there is exactly one handler, and the first one.
fn handler(
    path: &Path<'_>,
    handler: &Value,
    grace: Option<i64>,
    kinds: &[&str],
    errors: &mut ErrorList,
) {
    let mut found = false;
    for kind in kinds {
        let Some(action) = handler.field(kind) else {
            continue;
        };
        let path = path.child(kind);
        if found {
            errors.forbidden(&path, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match *kind {
            "exec" if action.items("command").is_empty() => {
                errors.required(&path.child("command"), "");
            }
            "httpGet" => http_get(&path, action, errors),
            "tcpSocket" | "grpc" => {
                port_number_or_name(&path.child("port"), &action["port"], errors);
            }
            "sleep" => sleep(&path, action.int("seconds"), grace, errors),
            _ => {}
        }
    }
    if !found {
        errors.required(path, "must specify a handler type");
    }
}

fn http_get(path: &Path<'_>, action: &Value, errors: &mut ErrorList) {
    if action.text("path").is_empty() {
        errors.required(&path.child("path"), "");
    }
    port_number_or_name(&path.child("port"), &action["port"], errors);
    errors.one_of(
        &path.child("scheme"),
        action.text("scheme"),
        &["HTTP", "HTTPS"],
    );
    for header in action.items("httpHeaders") {
        let name = header.text("name");
        if let Some(why) = names::header_name(name) {
            errors.invalid(&path.child("httpHeaders"), name, why);
        }
    }
}

fn sleep(path: &Path<'_>, seconds: i64, grace: Option<i64>, errors: &mut ErrorList) {
    if let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) {
        let why =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        errors.invalid(path, seconds, &why);
    }
}

/// Validates a port, which is a number or a name.
pub(super) fn port_number_or_name(path: &Path<'_>, port: &Value, errors: &mut ErrorList) {
    match port {
        Value::String(name) => errors.invalid_all(path, name, &names::port_name(name)),
        number => names::check_port(path, number.as_i64().unwrap_or_default(), errors),
    }
}
