//! What may change in a service: addresses stay.

use serde_json::Value;

use super::faults::{Faults, Path, Shown};
use super::service::is_headless;
use super::{golang, names};
use crate::access::Access;

const SPEC: Path<'static> = Path::root("spec");

/// The rules of a change; the new object is validated as such, too.
pub(super) fn validate(old: &Value, new: &Value, faults: &mut Faults) {
    let (before, after) = (&old["spec"], &new["spec"]);
    if [before, after]
        .iter()
        .any(|spec| spec.text("type") == "ExternalName")
    {
        return;
    }
    if !(is_headless(before) && is_headless(after)) {
        addresses(before, after, faults);
    }
    if !is_headless(before) && !is_headless(after) {
        families(before, after, faults);
    }
    let class = "loadBalancerClass";
    let balanced = |spec: &Value| spec.text("type") == "LoadBalancer";
    if balanced(before) && balanced(after) && before.field(class) != after.field(class) {
        let shown = after.field(class).map_or_else(
            || Shown::go("null"),
            |c| Shown::from(c.as_str().unwrap_or_default()),
        );
        faults.invalid(&SPEC.child(class), shown, "may not change once set");
    }
}

fn addresses(old: &Value, new: &Value, faults: &mut Faults) {
    let path = SPEC.child("clusterIPs");
    let (before, after) = (old.items("clusterIPs"), new.items("clusterIPs"));
    let shown = || Shown::go(golang::strings(&new["clusterIPs"]));
    if before.len() > after.len() && after.is_empty() {
        faults.invalid(
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
            faults.invalid(&path.index(at), shown(), "may not change once set");
        }
    }
    if before.len() > after.len() && new.text("ipFamilyPolicy") != "SingleStack" {
        let why = "must be set to 'SingleStack' when releasing the secondary clusterIP";
        faults.invalid(
            &SPEC.child("ipFamilyPolicy"),
            new.text("ipFamilyPolicy"),
            why,
        );
    }
}

fn families(old: &Value, new: &Value, faults: &mut Faults) {
    let path = SPEC.child("ipFamilies");
    let (before, after) = (old.items("ipFamilies"), new.items("ipFamilies"));
    let compared = if before.len() == after.len() {
        before.len()
    } else {
        1
    };
    for (old_family, new_family) in before.iter().zip(after).take(compared) {
        if old_family != new_family {
            let shown = Shown::go(
                golang::strings(&new["ipFamilies"]).replace("[]string", "[]core.IPFamily"),
            );
            faults.invalid(&path.index(0), shown, "may not change once set");
        }
    }
    if before.len() > after.len() && new.text("ipFamilyPolicy") != "SingleStack" {
        let why = "must be set to 'SingleStack' when releasing the secondary ipFamily";
        faults.invalid(
            &SPEC.child("ipFamilyPolicy"),
            new.text("ipFamilyPolicy"),
            why,
        );
    }
}

/// A write to `/status`.
pub(super) fn status(new: &Value, faults: &mut Faults) {
    let root = Path::root("status");
    let balancer = root.child("loadBalancer");
    let path = balancer.child("ingress");
    let ingress = new["status"]["loadBalancer"].items("ingress");
    if new["spec"].text("type") != "LoadBalancer" {
        if !ingress.is_empty() {
            faults.forbidden(&path, "may only be used when `spec.type` is 'LoadBalancer'");
        }
        return;
    }
    for (at, entry) in ingress.iter().enumerate() {
        let item = path.index(at);
        let ip = entry.text("ip");
        if !ip.is_empty() {
            names::check_ip(&item.child("ip"), ip, faults);
        }
        match entry.field("ipMode").and_then(Value::as_str) {
            None if !ip.is_empty() => {
                faults.required(&item.child("ipMode"), "must be specified when `ip` is set");
            }
            Some(_) if ip.is_empty() => {
                let why = "may not be specified when `ip` is not set";
                faults.forbidden(&item.child("ipMode"), why);
            }
            Some(mode) => faults.one_of(&item.child("ipMode"), mode, &["Proxy", "VIP"]),
            None => {}
        }
        let host = entry.text("hostname");
        if !host.is_empty() {
            names::check_subdomain(&item.child("hostname"), host, faults);
            if host.parse::<std::net::IpAddr>().is_ok() {
                let why = "must be a DNS name, not an IP address";
                faults.invalid(&item.child("hostname"), host, why);
            }
        }
    }
}
