//! Validation of `Node`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error_list::{ErrorList, GoValue, Path};
use super::{affinity, go_format, names, resources};
use crate::{go_text::quote, json_fields::ReadFields};

const SPEC: Path<'static> = Path::root("spec");

/// Validates a node; the metadata is validated already.
pub(crate) fn validate(object: &Value, errors: &mut ErrorList) {
    let metadata = Path::root("metadata");
    affinity::taints(
        &metadata.child("taints"),
        object["spec"].items("taints"),
        errors,
    );
    amounts(&object["status"], errors);
    pod_cidrs(&object["spec"], errors);
}

fn amounts(status: &Value, errors: &mut ErrorList) {
    let root = Path::root("status");
    for list in ["capacity", "allocatable"] {
        let path = root.child(list);
        for (name, amount) in status.entries(list).into_iter().flatten() {
            resources::value(&path.child(name), name, amount, errors);
        }
    }
}

fn pod_cidrs(spec: &Value, errors: &mut ErrorList) {
    let path = SPEC.child("podCIDRs");
    let all: Vec<&str> = spec
        .items("podCIDRs")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for (at, cidr) in all.iter().enumerate() {
        names::check_cidr(&path.index(at), cidr, errors);
    }
    if all.len() < 2 {
        return;
    }
    if all.len() > 2 || all.iter().filter(|cidr| cidr.contains(':')).count() != 1 {
        let shown = GoValue::formatted(go_format::strings(&spec["podCIDRs"]));
        errors.invalid(
            &path,
            shown,
            "may specify no more than one CIDR for each IP family",
        );
    }
    let mut seen = BTreeSet::new();
    for (at, cidr) in all.iter().enumerate() {
        if !seen.insert(*cidr) {
            errors.duplicate(&path.index(at), *cidr);
        }
    }
}

/// Validates a changed node, also in a write to `/status` (upstream's `ValidateNodeUpdate`).
pub(crate) fn update(old: &Value, new: &Value, errors: &mut ErrorList) {
    amounts(&new["status"], errors);
    addresses(new["status"].items("addresses"), errors);
    let (before, after) = (&old["spec"], &new["spec"]);
    if !before.items("podCIDRs").is_empty() && before["podCIDRs"] != after["podCIDRs"] {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        errors.forbidden(&SPEC.child("podCIDRs"), why);
    }
    let provider = before.text("providerID");
    if !provider.is_empty() && provider != after.text("providerID") {
        let why = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(&SPEC.child("providerID"), why);
    }
    let metadata = Path::root("metadata");
    affinity::taints(&metadata.child("taints"), after.items("taints"), errors);
    if before.text("externalID") != after.text("externalID") {
        errors.forbidden(&SPEC.child("externalID"), "may not be updated");
    }
}

fn addresses(addresses: &[Value], errors: &mut ErrorList) {
    let root = Path::root("status");
    let list = root.child("addresses");
    let mut seen = BTreeSet::new();
    for (at, address) in addresses.iter().enumerate() {
        let (of_type, text) = (address.text("type"), address.text("address"));
        if !seen.insert((of_type, text)) {
            let shown = format!(
                "core.NodeAddress{{Type:{}, Address:{}}}",
                quote(of_type),
                quote(text)
            );
            errors.duplicate(&list.index(at), GoValue::formatted(shown));
        }
    }
}
