//! Mounts of volumes into containers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::faults::{Faults, Path};
use super::volume::{no_backsteps, relative_path};
use crate::access::Access;

/// `volumeMounts`.
pub(super) fn mounts(
    path: &Path<'_>,
    container: &Value,
    volumes: &BTreeMap<&str, &Value>,
    faults: &mut Faults,
) {
    let devices = container.items("volumeDevices");
    let privileged = container["securityContext"].flag("privileged");
    let mut seen = BTreeSet::new();
    for (at, mount) in container.items("volumeMounts").iter().enumerate() {
        let item = path.index(at);
        let (name, target) = (mount.text("name"), mount.text("mountPath"));
        if name.is_empty() {
            faults.required(&item.child("name"), "");
        }
        if !volumes.contains_key(name) {
            faults.not_found(&item.child("name"), name);
        }
        if target.is_empty() {
            faults.required(&item.child("mountPath"), "");
        }
        if !seen.insert(target) {
            faults.invalid(&item.child("mountPath"), target, "must be unique");
        }
        if devices.iter().any(|device| device.text("name") == name) {
            let why = "must not already exist in volumeDevices";
            faults.invalid(&item.child("name"), name, why);
        }
        if devices
            .iter()
            .any(|device| device.text("devicePath") == target)
        {
            let why = "must not already exist as a path in volumeDevices";
            faults.invalid(&item.child("mountPath"), target, why);
        }
        sub_paths(path, &item, mount, faults);
        propagation(path, mount, privileged, faults);
        recursive_read_only(path, mount, faults);
    }
}

fn sub_paths(list: &Path<'_>, item: &Path<'_>, mount: &Value, faults: &mut Faults) {
    let (plain, expression) = (mount.text("subPath"), mount.text("subPathExpr"));
    if !plain.is_empty() {
        relative_path(&list.child("subPath"), plain, faults);
    }
    if !expression.is_empty() {
        if !plain.is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            faults.invalid(&item.child("subPathExpr"), expression, why);
        }
        relative_path(&list.child("subPathExpr"), expression, faults);
    }
}

fn propagation(list: &Path<'_>, mount: &Value, privileged: bool, faults: &mut Faults) {
    let path = list.child("mountPropagation");
    let Some(mode) = mount.field("mountPropagation").and_then(Value::as_str) else {
        return;
    };
    faults.one_of(&path, mode, &["Bidirectional", "HostToContainer", "None"]);
    if mode == "Bidirectional" && !privileged {
        faults.forbidden(
            &path,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
}

fn recursive_read_only(list: &Path<'_>, mount: &Value, faults: &mut Faults) {
    let path = list.child("recursiveReadOnly");
    match mount.field("recursiveReadOnly").and_then(Value::as_str) {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !mount.flag("readOnly") {
                faults.forbidden(&path, "may only be specified when readOnly is true");
            }
            if !matches!(mount.text("mountPropagation"), "" | "None") {
                let why = "may only be specified when mountPropagation is None or not specified";
                faults.forbidden(&path, why);
            }
        }
        Some(mode) => faults.one_of(&path, mode, &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// `volumeDevices`.
pub(super) fn devices(
    path: &Path<'_>,
    container: &Value,
    volumes: &BTreeMap<&str, &Value>,
    faults: &mut Faults,
) {
    let mounts = container.items("volumeMounts");
    let (mut seen_names, mut seen_paths) = (BTreeSet::new(), BTreeSet::new());
    for (at, device) in container.items("volumeDevices").iter().enumerate() {
        let item = path.index(at);
        let (name_path, target_path) = (item.child("name"), item.child("devicePath"));
        let (name, target) = (device.text("name"), device.text("devicePath"));
        if name.is_empty() {
            faults.required(&name_path, "");
        } else if !seen_names.insert(name) {
            faults.invalid(&name_path, name, "must be unique");
        }
        match volumes.get(name) {
            None => faults.not_found(&name_path, name),
            Some(volume) if !volume.has("persistentVolumeClaim") && !volume.has("ephemeral") => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral \
                           for block mode";
                faults.invalid(&name_path, name, why);
            }
            Some(_) => {}
        }
        if target.is_empty() {
            faults.required(&target_path, "");
        }
        if seen_paths.contains(target) {
            faults.invalid(&target_path, target, "must be unique");
        }
        if no_backsteps(target) {
            seen_paths.insert(target);
        } else {
            faults.invalid(&target_path, target, "can not contain backsteps ('..')");
        }
        if mounts.iter().any(|mount| mount.text("name") == name) {
            faults.invalid(&name_path, name, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|mount| mount.text("mountPath") == target) {
            let why = "must not already exist as a path in volumeMounts";
            faults.invalid(&target_path, target, why);
        }
    }
}
