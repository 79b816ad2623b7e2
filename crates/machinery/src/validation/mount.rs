//! Volume mounts and block devices of containers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error_list::{ErrorList, Path};
use super::volume::{no_backsteps, relative_path};
use crate::json_fields::ReadFields;

/// Validates `volumeMounts` (upstream's `ValidateVolumeMounts`).
pub(super) fn mounts(
    path: &Path<'_>,
    container: &Value,
    volumes: &BTreeMap<&str, &Value>,
    errors: &mut ErrorList,
) {
    let devices = container.items("volumeDevices");
    let device_names: BTreeSet<&str> = devices.iter().map(|d| d.text("name")).collect();
    let device_paths: BTreeSet<&str> = devices.iter().map(|d| d.text("devicePath")).collect();
    let privileged = container["securityContext"].flag("privileged");
    let mut seen = BTreeSet::new();
    for (at, mount) in container.items("volumeMounts").iter().enumerate() {
        let item = path.index(at);
        let (name, target) = (mount.text("name"), mount.text("mountPath"));
        if name.is_empty() {
            errors.required(&item.child("name"), "");
        }
        if !volumes.contains_key(name) {
            errors.not_found(&item.child("name"), name);
        }
        if target.is_empty() {
            errors.required(&item.child("mountPath"), "");
        }
        if !seen.insert(target) {
            errors.invalid(&item.child("mountPath"), target, "must be unique");
        }
        if device_names.contains(name) {
            let why = "must not already exist in volumeDevices";
            errors.invalid(&item.child("name"), name, why);
        }
        if device_paths.contains(target) {
            let why = "must not already exist as a path in volumeDevices";
            errors.invalid(&item.child("mountPath"), target, why);
        }
        sub_paths(path, &item, mount, errors);
        propagation(path, mount, privileged, errors);
        recursive_read_only(path, mount, errors);
    }
}

fn sub_paths(list: &Path<'_>, item: &Path<'_>, mount: &Value, errors: &mut ErrorList) {
    let (plain, expression) = (mount.text("subPath"), mount.text("subPathExpr"));
    if !plain.is_empty() {
        relative_path(&list.child("subPath"), plain, errors);
    }
    if !expression.is_empty() {
        if !plain.is_empty() {
            let why = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(&item.child("subPathExpr"), expression, why);
        }
        relative_path(&list.child("subPathExpr"), expression, errors);
    }
}

fn propagation(list: &Path<'_>, mount: &Value, privileged: bool, errors: &mut ErrorList) {
    let path = list.child("mountPropagation");
    let Some(mode) = mount.field("mountPropagation").and_then(Value::as_str) else {
        return;
    };
    errors.one_of(&path, mode, &["Bidirectional", "HostToContainer", "None"]);
    if mode == "Bidirectional" && !privileged {
        errors.forbidden(
            &path,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
}

fn recursive_read_only(list: &Path<'_>, mount: &Value, errors: &mut ErrorList) {
    let path = list.child("recursiveReadOnly");
    match mount.field("recursiveReadOnly").and_then(Value::as_str) {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if !mount.flag("readOnly") {
                errors.forbidden(&path, "may only be specified when readOnly is true");
            }
            if !matches!(mount.text("mountPropagation"), "" | "None") {
                let why = "may only be specified when mountPropagation is None or not specified";
                errors.forbidden(&path, why);
            }
        }
        Some(mode) => errors.one_of(&path, mode, &["Disabled", "Enabled", "IfPossible"]),
    }
}

/// Validates `volumeDevices` (upstream's `ValidateVolumeDevices`).
pub(super) fn devices(
    path: &Path<'_>,
    container: &Value,
    volumes: &BTreeMap<&str, &Value>,
    errors: &mut ErrorList,
) {
    let mounts = container.items("volumeMounts");
    let mount_names: BTreeSet<&str> = mounts.iter().map(|m| m.text("name")).collect();
    let mount_paths: BTreeSet<&str> = mounts.iter().map(|m| m.text("mountPath")).collect();
    let (mut seen_names, mut seen_paths) = (BTreeSet::new(), BTreeSet::new());
    for (at, device) in container.items("volumeDevices").iter().enumerate() {
        let item = path.index(at);
        let (name_path, target_path) = (item.child("name"), item.child("devicePath"));
        let (name, target) = (device.text("name"), device.text("devicePath"));
        if name.is_empty() {
            errors.required(&name_path, "");
        } else if !seen_names.insert(name) {
            errors.invalid(&name_path, name, "must be unique");
        }
        match volumes.get(name) {
            None => errors.not_found(&name_path, name),
            Some(volume) if !volume.has("persistentVolumeClaim") && !volume.has("ephemeral") => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral \
                           for block mode";
                errors.invalid(&name_path, name, why);
            }
            Some(_) => {}
        }
        if target.is_empty() {
            errors.required(&target_path, "");
        }
        if seen_paths.contains(target) {
            errors.invalid(&target_path, target, "must be unique");
        }
        if no_backsteps(target) {
            seen_paths.insert(target);
        } else {
            errors.invalid(&target_path, target, "can not contain backsteps ('..')");
        }
        if mount_names.contains(name) {
            errors.invalid(&name_path, name, "must not already exist in volumeMounts");
        }
        if mount_paths.contains(target) {
            let why = "must not already exist as a path in volumeMounts";
            errors.invalid(&target_path, target, why);
        }
    }
}
