//! Nodes.

use serde_json::Value;

use super::faults::{Faults, Path, Shown};
use super::{affinity, golang, names, resources};
use crate::access::Access;

const SPEC: Path<'static> = Path::root("spec");

/// The rules of every node; the metadata has been validated.
pub(super) fn validate(object: &Value, faults: &mut Faults) {
    let metadata = Path::root("metadata");
    affinity::taints(
        &metadata.child("taints"),
        object["spec"].items("taints"),
        faults,
    );
    amounts(&object["status"], faults);
    pod_cidrs(&object["spec"], faults);
}

fn amounts(status: &Value, faults: &mut Faults) {
    let root = Path::root("status");
    for list in ["capacity", "allocatable"] {
        let path = root.child(list);
        for (name, amount) in status.entries(list).into_iter().flatten() {
            resources::value(&path.child(name), name, amount, faults);
        }
    }
}

fn pod_cidrs(spec: &Value, faults: &mut Faults) {
    let path = SPEC.child("podCIDRs");
    let all: Vec<&str> = spec
        .items("podCIDRs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for (at, cidr) in all.iter().enumerate() {
        names::check_cidr(&path.index(at), cidr, faults);
    }
    if all.len() < 2 {
        return;
    }
    if all.len() > 2 || all.iter().filter(|cidr| cidr.contains(':')).count() != 1 {
        let shown = Shown::go(golang::strings(&spec["podCIDRs"]));
        faults.invalid(
            &path,
            shown,
            "may specify no more than one CIDR for each IP family",
        );
    }
    for (at, cidr) in all.iter().enumerate() {
        if all[..at].contains(cidr) {
            faults.duplicate(&path.index(at), *cidr);
        }
    }
}

/// What may not change; also the rules of a write to `/status`.
pub(super) fn update(old: &Value, new: &Value, faults: &mut Faults) {
    amounts(&new["status"], faults);
    addresses(new["status"].items("addresses"), faults);
    let (before, after) = (&old["spec"], &new["spec"]);
    if !before.items("podCIDRs").is_empty() && before["podCIDRs"] != after["podCIDRs"] {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        faults.forbidden(&SPEC.child("podCIDRs"), why);
    }
    let provider = before.text("providerID");
    if !provider.is_empty() && provider != after.text("providerID") {
        let why = "node updates may not change providerID except from \"\" to valid";
        faults.forbidden(&SPEC.child("providerID"), why);
    }
    let metadata = Path::root("metadata");
    affinity::taints(&metadata.child("taints"), after.items("taints"), faults);
    if before.text("externalID") != after.text("externalID") {
        faults.forbidden(&SPEC.child("externalID"), "may not be updated");
    }
}

fn addresses(addresses: &[Value], faults: &mut Faults) {
    let root = Path::root("status");
    let list = root.child("addresses");
    for (at, address) in addresses.iter().enumerate() {
        if addresses[..at].contains(address) {
            let shown = format!(
                "core.NodeAddress{{Type:{}, Address:{}}}",
                golang::quote(address.text("type")),
                golang::quote(address.text("address"))
            );
            faults.duplicate(&list.index(at), Shown::go(shown));
        }
    }
}
