//! Volumes and their sources.

mod files;

use std::collections::BTreeMap;

use pandaemon_types::Quantity;
use serde_json::Value;

use super::faults::{Faults, Path};
use super::names;
use crate::access::Access;
use files::{downward_api, files, projected};

/// What is checked about a source.
enum Rule {
    /// These texts or lists may not be empty.
    Needs(&'static [&'static str]),
    /// More than that.
    Check(fn(&Path<'_>, &Value, &mut Faults)),
}

use Rule::{Check, Needs};

/// Sources in upstream's order: the field, its name in texts about too many sources, its name in texts
/// about itself.
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

/// All volumes of a pod; answers the valid ones by name.
pub(super) fn volumes<'a>(
    path: &Path<'_>,
    volumes: &'a [Value],
    faults: &mut Faults,
) -> BTreeMap<&'a str, &'a Value> {
    let mut valid = BTreeMap::new();
    for (at, volume) in volumes.iter().enumerate() {
        let item = path.index(at);
        let before = faults.len();
        source(&item, volume, faults);
        let name = volume.text("name");
        if name.is_empty() {
            faults.required(&item.child("name"), "");
        } else {
            names::check_label(&item.child("name"), name, faults);
        }
        if valid.contains_key(name) {
            faults.duplicate(&item.child("name"), name);
        }
        if faults.len() == before {
            valid.insert(name, volume);
        }
    }
    valid
}

fn source(path: &Path<'_>, volume: &Value, faults: &mut Faults) {
    let mut found = false;
    if let Some(empty) = volume.field("emptyDir") {
        found = true;
        let limit = empty
            .field("sizeLimit")
            .and_then(|limit| Quantity::from_json(limit).ok());
        if limit.is_some_and(Quantity::is_negative) {
            let path = path.child("emptyDir");
            let why = "SizeLimit field must be a valid resource quantity";
            faults.forbidden(&path.child("sizeLimit"), why);
        }
    }
    for (field, excess_name, name, rule) in SOURCES {
        let Some(source) = volume.field(field) else {
            continue;
        };
        if found {
            faults.forbidden(
                &path.child(excess_name),
                "may not specify more than 1 volume type",
            );
        } else {
            found = true;
            match rule {
                Needs(fields) => need(&path.child(name), source, fields, faults),
                Check(check) => check(&path.child(name), source, faults),
            }
        }
    }
    if !found {
        faults.required(path, "must specify a volume type");
    }
}

/// Texts and lists that may not be empty.
fn need(path: &Path<'_>, source: &Value, fields: &[&str], faults: &mut Faults) {
    for field in fields {
        if source.text(field).is_empty() && source.items(field).is_empty() {
            faults.required(&path.child(field), "");
        }
    }
}

fn host_path(path: &Path<'_>, source: &Value, faults: &mut Faults) {
    let target = source.text("path");
    if target.is_empty() {
        faults.required(&path.child("path"), "");
        return;
    }
    if !no_backsteps(target) {
        faults.invalid(&path.child("path"), target, "must not contain '..'");
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
    faults.one_of(&path.child("type"), source.text("type"), &kinds);
}

fn secret(path: &Path<'_>, source: &Value, faults: &mut Faults) {
    files(path, source, "secretName", faults);
}

fn config_map(path: &Path<'_>, source: &Value, faults: &mut Faults) {
    files(path, source, "name", faults);
}

fn ephemeral(path: &Path<'_>, source: &Value, faults: &mut Faults) {
    let template_path = path.child("volumeClaimTemplate");
    let Some(template) = source.field("volumeClaimTemplate") else {
        faults.required(&template_path, "");
        return;
    };
    let path = template_path.child("spec");
    let spec = &template["spec"];
    let modes = spec.items("accessModes");
    if modes.is_empty() {
        faults.required(
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
        faults.one_of(&path.child("accessModes"), mode, &known);
    }
    let resources = path.child("resources");
    let amount_path = resources.key("storage");
    match spec["resources"]["requests"]
        .field("storage")
        .map(Quantity::from_json)
    {
        None => faults.required(&amount_path, ""),
        Some(Ok(amount)) if amount.is_zero() || amount.is_negative() => {
            faults.invalid(
                &amount_path,
                &amount.to_string(),
                "must be greater than zero",
            );
        }
        Some(_) => {}
    }
}

fn git_repo(path: &Path<'_>, source: &Value, faults: &mut Faults) {
    need(path, source, &["repository"], faults);
    relative_path(&path.child("directory"), source.text("directory"), faults);
}

fn nfs(path: &Path<'_>, source: &Value, faults: &mut Faults) {
    need(path, source, &["server", "path"], faults);
    let target = source.text("path");
    if !target.starts_with('/') {
        faults.invalid(&path.child("path"), target, "must be an absolute path");
    }
}

fn csi(path: &Path<'_>, source: &Value, faults: &mut Faults) {
    let (driver, driver_path) = (source.text("driver"), path.child("driver"));
    if driver.is_empty() {
        faults.required(&driver_path, "");
    }
    if driver.len() > 63 {
        faults.too_long(&driver_path, 63);
    }
    faults.invalid_all(
        &driver_path,
        driver,
        &names::subdomain(&driver.to_lowercase()),
    );
    if let Some(secret) = source.field("nodePublishSecretRef") {
        match secret.text("name") {
            "" => {
                let reference = path.child("nodePublishSecretRef");
                faults.required(&reference.child("name"), "");
            }
            name => names::check_subdomain(&path.child("name"), name, faults),
        }
    }
}

/// Whether no element of the path is `..`.
pub(super) fn no_backsteps(path: &str) -> bool {
    path.split('/').all(|part| part != "..")
}

/// A path below the place it is relative to.
pub(super) fn relative_path(path: &Path<'_>, target: &str, faults: &mut Faults) {
    if target.starts_with('/') {
        faults.invalid(path, target, "must be a relative path");
    }
    if !no_backsteps(target) {
        faults.invalid(path, target, "must not contain '..'");
    }
}
