//! Updates of services: allocated addresses are immutable.

use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::service::is_headless;
use super::{go_format, names};
use crate::json_fields::ReadFields;

const SPEC: Path<'static> = Path::root("spec");

/// Validates the changes of a service (upstream's `ValidateServiceUpdate` before its
/// `ValidateService`).
pub(crate) fn validate(old: &Value, new: &Value, errors: &mut ErrorList) {
    let (before, after) = (&old["spec"], &new["spec"]);
    if [before, after]
        .iter()
        .any(|spec| spec.text("type") == "ExternalName")
    {
        return;
    }
    if !(is_headless(before) && is_headless(after)) {
        addresses(before, after, errors);
    }
    if !is_headless(before) && !is_headless(after) {
        families(before, after, errors);
    }
    let class = "loadBalancerClass";
    let balanced = |spec: &Value| spec.text("type") == "LoadBalancer";
    if balanced(before) && balanced(after) && before.field(class) != after.field(class) {
        let shown = after.field(class).map_or_else(
            || GoValue::formatted("null"),
            |c| GoValue::from(c.as_str().unwrap_or_default()),
        );
        errors.invalid(&SPEC.child(class), shown, "may not change once set");
    }
}

fn addresses(old: &Value, new: &Value, errors: &mut ErrorList) {
    let path = SPEC.child("clusterIPs");
    let (before, after) = (old.items("clusterIPs"), new.items("clusterIPs"));
    let shown = || GoValue::formatted(go_format::strings(&new["clusterIPs"]));
    if before.len() > after.len() && after.is_empty() {
        errors.invalid(
            &path.index(0),
            shown(),
            "primary clusterIP can not be unset",
        );
        return;
    }
    let compared = if before.len() == after.len() {
        before.len()
    } else {
        1
    };
    for (at, (old_ip, new_ip)) in before.iter().zip(after).take(compared).enumerate() {
        if old_ip != new_ip {
            errors.invalid(&path.index(at), shown(), "may not change once set");
        }
    }
    if before.len() > after.len() && new.text("ipFamilyPolicy") != "SingleStack" {
        let why = "must be set to 'SingleStack' when releasing the secondary clusterIP";
        errors.invalid(
            &SPEC.child("ipFamilyPolicy"),
            new.text("ipFamilyPolicy"),
            why,
        );
    }
}

fn families(old: &Value, new: &Value, errors: &mut ErrorList) {
    let path = SPEC.child("ipFamilies");
    let (before, after) = (old.items("ipFamilies"), new.items("ipFamilies"));
    let compared = if before.len() == after.len() {
        before.len()
    } else {
        1
    };
    for (old_family, new_family) in before.iter().zip(after).take(compared) {
        if old_family != new_family {
            let shown = GoValue::formatted(
                go_format::strings(&new["ipFamilies"]).replace("[]string", "[]core.IPFamily"),
            );
            errors.invalid(&path.index(0), shown, "may not change once set");
        }
    }
    if before.len() > after.len() && new.text("ipFamilyPolicy") != "SingleStack" {
        let why = "must be set to 'SingleStack' when releasing the secondary ipFamily";
        errors.invalid(
            &SPEC.child("ipFamilyPolicy"),
            new.text("ipFamilyPolicy"),
            why,
        );
    }
}

/// Validates a write to `/status` (upstream's `ValidateServiceStatusUpdate`).
pub(crate) fn status(new: &Value, errors: &mut ErrorList) {
    let root = Path::root("status");
    let balancer = root.child("loadBalancer");
    let path = balancer.child("ingress");
    let ingress = new["status"]["loadBalancer"].items("ingress");
    if new["spec"].text("type") != "LoadBalancer" {
        if !ingress.is_empty() {
            errors.forbidden(&path, "may only be used when `spec.type` is 'LoadBalancer'");
        }
        return;
    }
    for (at, entry) in ingress.iter().enumerate() {
        let item = path.index(at);
        let ip = entry.text("ip");
        if !ip.is_empty() {
            names::check_ip(&item.child("ip"), ip, errors);
        }
        match entry.field("ipMode").and_then(Value::as_str) {
            None if !ip.is_empty() => {
                errors.required(&item.child("ipMode"), "must be specified when `ip` is set");
            }
            Some(_) if ip.is_empty() => {
                let why = "may not be specified when `ip` is not set";
                errors.forbidden(&item.child("ipMode"), why);
            }
            Some(mode) => errors.one_of(&item.child("ipMode"), mode, &["Proxy", "VIP"]),
            None => {}
        }
        let host = entry.text("hostname");
        if !host.is_empty() {
            names::check_subdomain(&item.child("hostname"), host, errors);
            if host.parse::<std::net::IpAddr>().is_ok() {
                let why = "must be a DNS name, not an IP address";
                errors.invalid(&item.child("hostname"), host, why);
            }
        }
    }
}
