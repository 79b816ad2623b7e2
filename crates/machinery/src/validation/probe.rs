//! Probes and lifecycle hooks.

use serde_json::Value;

use super::faults::{Faults, Path};
use super::names;
use crate::access::Access;

/// The three probes differ in a rule or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProbeKind {
    /// Restarts the container.
    Liveness,
    /// Takes the pod out of services.
    Readiness,
    /// Holds back the others.
    Startup,
}

/// One probe.
pub(super) fn probe(path: &Path<'_>, probe: &Value, kind: ProbeKind, faults: &mut Faults) {
    handler(
        path,
        probe,
        None,
        &["exec", "httpGet", "tcpSocket", "grpc"],
        faults,
    );
    let numbers = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    for number in numbers {
        faults.non_negative(&path.child(number), probe.int(number));
    }
    let grace = probe
        .field("terminationGracePeriodSeconds")
        .and_then(Value::as_i64);
    let grace_path = path.child("terminationGracePeriodSeconds");
    if let Some(seconds) = grace.filter(|seconds| *seconds <= 0) {
        faults.invalid(&grace_path, seconds, "must be greater than 0");
    }
    if kind == ProbeKind::Readiness {
        if let Some(seconds) = grace {
            faults.invalid(&grace_path, seconds, "must not be set for readinessProbes");
        }
    } else if probe.int("successThreshold") != 1 {
        let path = path.child("successThreshold");
        faults.invalid(&path, probe.int("successThreshold"), "must be 1");
    }
}

/// `lifecycle`.
pub(super) fn lifecycle(
    path: &Path<'_>,
    lifecycle: &Value,
    grace: Option<i64>,
    faults: &mut Faults,
) {
    for hook in ["postStart", "preStop"] {
        if let Some(value) = lifecycle.field(hook) {
            let kinds = ["exec", "httpGet", "tcpSocket", "sleep"];
            handler(&path.child(hook), value, grace, &kinds, faults);
        }
    }
}

/// Exactly one of the kinds; the first one counts.
fn handler(
    path: &Path<'_>,
    handler: &Value,
    grace: Option<i64>,
    kinds: &[&str],
    faults: &mut Faults,
) {
    let mut found = false;
    for kind in kinds {
        let Some(action) = handler.field(kind) else {
            continue;
        };
        let path = path.child(kind);
        if found {
            faults.forbidden(&path, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match *kind {
            "exec" if action.items("command").is_empty() => {
                faults.required(&path.child("command"), "");
            }
            "httpGet" => http_get(&path, action, faults),
            "tcpSocket" | "grpc" => {
                port_number_or_name(&path.child("port"), &action["port"], faults);
            }
            "sleep" => sleep(&path, action.int("seconds"), grace, faults),
            _ => {}
        }
    }
    if !found {
        faults.required(path, "must specify a handler type");
    }
}

fn http_get(path: &Path<'_>, action: &Value, faults: &mut Faults) {
    if action.text("path").is_empty() {
        faults.required(&path.child("path"), "");
    }
    port_number_or_name(&path.child("port"), &action["port"], faults);
    faults.one_of(
        &path.child("scheme"),
        action.text("scheme"),
        &["HTTP", "HTTPS"],
    );
    for header in action.items("httpHeaders") {
        let name = header.text("name");
        if let Some(why) = names::header_name(name) {
            faults.invalid(&path.child("httpHeaders"), name, why);
        }
    }
}

fn sleep(path: &Path<'_>, seconds: i64, grace: Option<i64>, faults: &mut Faults) {
    if let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) {
        let why =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        faults.invalid(path, seconds, &why);
    }
}

/// A port by number or by name.
pub(super) fn port_number_or_name(path: &Path<'_>, port: &Value, faults: &mut Faults) {
    match port {
        Value::String(name) => faults.invalid_all(path, name, &names::port_name(name)),
        number => names::check_port(path, number.as_i64().unwrap_or_default(), faults),
    }
}
