//! Volumes and their sources.

mod files;

use std::collections::BTreeMap;

use pandaemon_types::Quantity;
use serde_json::Value;

use super::error_list::{ErrorList, Path};
use super::names;
use crate::json_fields::ReadFields;
use files::{downward_api, files, projected};

/// The rule for a volume source.
enum Rule {
    /// These strings or lists must not be empty.
    Needs(&'static [&'static str]),
    /// A function that checks the source.
    Check(fn(&Path<'_>, &Value, &mut ErrorList)),
}

use Rule::{Check, Needs};

/// Sources in upstream's order: the field, its name in the error for more than one source, its name
/// in other errors, its rule.
const SOURCES: [(&str, &str, &str, Rule); 29] = [
    ("hostPath", "hostPath", "hostPath", Check(host_path)),
    ("gitRepo", "gitRepo", "gitRepo", Check(git_repo)),
    (
        "gcePersistentDisk",
        "gcePersistentDisk",
        "persistentDisk",
        Needs(&["pdName"]),
    ),
    (
        "awsElasticBlockStore",
        "awsElasticBlockStore",
        "awsElasticBlockStore",
        Needs(&["volumeID"]),
    ),
    ("secret", "secret", "secret", Check(secret)),
    ("nfs", "nfs", "nfs", Check(nfs)),
    ("iscsi", "iscsi", "iscsi", Needs(&["targetPortal", "iqn"])),
    (
        "glusterfs",
        "glusterfs",
        "glusterfs",
        Needs(&["endpoints", "path"]),
    ),
    ("flocker", "flocker", "flocker", Needs(&[])),
    (
        "persistentVolumeClaim",
        "persistentVolumeClaim",
        "persistentVolumeClaim",
        Needs(&["claimName"]),
    ),
    ("rbd", "rbd", "rbd", Needs(&["monitors", "image"])),
    ("cinder", "cinder", "cinder", Needs(&["volumeID"])),
    ("cephfs", "cephFS", "cephfs", Needs(&["monitors"])),
    (
        "quobyte",
        "quobyte",
        "quobyte",
        Needs(&["registry", "volume"]),
    ),
    (
        "downwardAPI",
        "downwarAPI",
        "downwardAPI",
        Check(downward_api),
    ),
    ("fc", "fc", "fc", Needs(&[])),
    ("flexVolume", "flexVolume", "flexVolume", Needs(&["driver"])),
    ("configMap", "configMap", "configMap", Check(config_map)),
    (
        "azureFile",
        "azureFile",
        "azureFile",
        Needs(&["secretName", "shareName"]),
    ),
    (
        "vsphereVolume",
        "vsphereVolume",
        "vsphereVolume",
        Needs(&["volumePath"]),
    ),
    (
        "photonPersistentDisk",
        "photonPersistentDisk",
        "photonPersistentDisk",
        Needs(&["pdID"]),
    ),
    (
        "portworxVolume",
        "portworxVolume",
        "portworxVolume",
        Needs(&["volumeID"]),
    ),
    (
        "azureDisk",
        "azureDisk",
        "azureDisk",
        Needs(&["diskName", "diskURI"]),
    ),
    (
        "storageos",
        "storageos",
        "storageos",
        Needs(&["volumeName"]),
    ),
    ("projected", "projected", "projected", Check(projected)),
    (
        "scaleIO",
        "scaleIO",
        "scaleIO",
        Needs(&["gateway", "system", "volumeName"]),
    ),
    ("csi", "csi", "csi", Check(csi)),
    ("ephemeral", "ephemeral", "ephemeral", Check(ephemeral)),
    ("image", "image", "image", Needs(&["reference"])),
];

/// Validates the volumes of a pod, and returns the valid ones by name (upstream's
/// `ValidateVolumes`).
pub(super) fn volumes<'a>(
    path: &Path<'_>,
    volumes: &'a [Value],
    errors: &mut ErrorList,
) -> BTreeMap<&'a str, &'a Value> {
    let mut valid = BTreeMap::new();
    for (at, volume) in volumes.iter().enumerate() {
        let item = path.index(at);
        let before = errors.len();
        source(&item, volume, errors);
        let name = volume.text("name");
        if name.is_empty() {
            errors.required(&item.child("name"), "");
        } else {
            names::check_label(&item.child("name"), name, errors);
        }
        if valid.contains_key(name) {
            errors.duplicate(&item.child("name"), name);
        }
        if errors.len() == before {
            valid.insert(name, volume);
        }
    }
    valid
}

fn source(path: &Path<'_>, volume: &Value, errors: &mut ErrorList) {
    let mut found = false;
    if let Some(empty) = volume.field("emptyDir") {
        found = true;
        let limit = empty
            .field("sizeLimit")
            .and_then(|limit| Quantity::from_json(limit).ok());
        if limit.is_some_and(Quantity::is_negative) {
            let path = path.child("emptyDir");
            let why = "SizeLimit field must be a valid resource quantity";
            errors.forbidden(&path.child("sizeLimit"), why);
        }
    }
    for (field, excess_name, name, rule) in SOURCES {
        let Some(source) = volume.field(field) else {
            continue;
        };
        if found {
            errors.forbidden(
                &path.child(excess_name),
                "may not specify more than 1 volume type",
            );
        } else {
            found = true;
            match rule {
                Needs(fields) => need(&path.child(name), source, fields, errors),
                Check(check) => check(&path.child(name), source, errors),
            }
        }
    }
    if !found {
        errors.required(path, "must specify a volume type");
    }
}

/// Adds an error for each of these strings or lists that is empty.
fn need(path: &Path<'_>, source: &Value, fields: &[&str], errors: &mut ErrorList) {
    for field in fields {
        if source.text(field).is_empty() && source.items(field).is_empty() {
            errors.required(&path.child(field), "");
        }
    }
}

fn host_path(path: &Path<'_>, source: &Value, errors: &mut ErrorList) {
    let target = source.text("path");
    if target.is_empty() {
        errors.required(&path.child("path"), "");
        return;
    }
    if !no_backsteps(target) {
        errors.invalid(&path.child("path"), target, "must not contain '..'");
    }
    let kinds = [
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    errors.one_of(&path.child("type"), source.text("type"), &kinds);
}

fn secret(path: &Path<'_>, source: &Value, errors: &mut ErrorList) {
    files(path, source, "secretName", errors);
}

fn config_map(path: &Path<'_>, source: &Value, errors: &mut ErrorList) {
    files(path, source, "name", errors);
}

fn ephemeral(path: &Path<'_>, source: &Value, errors: &mut ErrorList) {
    let template_path = path.child("volumeClaimTemplate");
    let Some(template) = source.field("volumeClaimTemplate") else {
        errors.required(&template_path, "");
        return;
    };
    let path = template_path.child("spec");
    let spec = &template["spec"];
    let modes = spec.items("accessModes");
    if modes.is_empty() {
        errors.required(
            &path.child("accessModes"),
            "at least 1 access mode is required",
        );
    }
    let known = [
        "ReadOnlyMany",
        "ReadWriteMany",
        "ReadWriteOnce",
        "ReadWriteOncePod",
    ];
    for mode in modes.iter().filter_map(Value::as_str) {
        errors.one_of(&path.child("accessModes"), mode, &known);
    }
    let resources = path.child("resources");
    let amount_path = resources.key("storage");
    match spec["resources"]["requests"]
        .field("storage")
        .map(Quantity::from_json)
    {
        None => errors.required(&amount_path, ""),
        Some(Ok(amount)) if amount.is_zero() || amount.is_negative() => {
            errors.invalid(
                &amount_path,
                &amount.to_string(),
                "must be greater than zero",
            );
        }
        Some(_) => {}
    }
}

fn git_repo(path: &Path<'_>, source: &Value, errors: &mut ErrorList) {
    need(path, source, &["repository"], errors);
    relative_path(&path.child("directory"), source.text("directory"), errors);
}

fn nfs(path: &Path<'_>, source: &Value, errors: &mut ErrorList) {
    need(path, source, &["server", "path"], errors);
    let target = source.text("path");
    if !target.starts_with('/') {
        errors.invalid(&path.child("path"), target, "must be an absolute path");
    }
}

fn csi(path: &Path<'_>, source: &Value, errors: &mut ErrorList) {
    let (driver, driver_path) = (source.text("driver"), path.child("driver"));
    if driver.is_empty() {
        errors.required(&driver_path, "");
    }
    if driver.len() > 63 {
        errors.too_long(&driver_path, 63);
    }
    errors.invalid_all(
        &driver_path,
        driver,
        &names::subdomain(&driver.to_lowercase()),
    );
    if let Some(secret) = source.field("nodePublishSecretRef") {
        match secret.text("name") {
            "" => {
                let reference = path.child("nodePublishSecretRef");
                errors.required(&reference.child("name"), "");
            }
            name => names::check_subdomain(&path.child("name"), name, errors),
        }
    }
}

/// Whether no element of the path is `..` (upstream's `validatePathNoBacksteps`).
pub(super) fn no_backsteps(path: &str) -> bool {
    path.split('/').all(|part| part != "..")
}

/// Validates a relative path without `..` (upstream's `validateLocalDescendingPath`).
pub(super) fn relative_path(path: &Path<'_>, target: &str, errors: &mut ErrorList) {
    if target.starts_with('/') {
        errors.invalid(path, target, "must be a relative path");
    }
    if !no_backsteps(target) {
        errors.invalid(path, target, "must not contain '..'");
    }
}
