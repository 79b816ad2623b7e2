//! Volumes and their sources.

mod files;

use std::collections::BTreeMap;

use pandaemon_types::Quantity;
use serde_json::Value;

use super::faults::{Faults, Path};
use super::names;
use crate::access::Access;
use files::{downward_api, files, projected};

type Rule = fn(&Path<'_>, &Value, &mut Faults);

/// Sources in upstream's order: the field, its names in texts about too many sources and about itself.
const SOURCES: [(&str, &str, &str, Rule); 28] = [
    ("hostPath", "hostPath", "hostPath", host_path),
    ("gitRepo", "gitRepo", "gitRepo", git_repo),
    (
        "gcePersistentDisk",
        "gcePersistentDisk",
        "persistentDisk",
        |p, s, f| need(p, s, &["pdName"], f),
    ),
    (
        "awsElasticBlockStore",
        "awsElasticBlockStore",
        "awsElasticBlockStore",
        |p, s, f| {
            need(p, s, &["volumeID"], f);
        },
    ),
    ("secret", "secret", "secret", |p, s, f| {
        files(p, s, "secretName", f)
    }),
    ("nfs", "nfs", "nfs", nfs),
    ("iscsi", "iscsi", "iscsi", |p, s, f| {
        need(p, s, &["targetPortal", "iqn"], f)
    }),
    ("glusterfs", "glusterfs", "glusterfs", |p, s, f| {
        need(p, s, &["endpoints", "path"], f)
    }),
    ("flocker", "flocker", "flocker", |_, _, _| {}),
    (
        "persistentVolumeClaim",
        "persistentVolumeClaim",
        "persistentVolumeClaim",
        |p, s, f| {
            need(p, s, &["claimName"], f);
        },
    ),
    ("rbd", "rbd", "rbd", |p, s, f| {
        need(p, s, &["monitors", "image"], f)
    }),
    ("cinder", "cinder", "cinder", |p, s, f| {
        need(p, s, &["volumeID"], f)
    }),
    ("cephfs", "cephFS", "cephfs", |p, s, f| {
        need(p, s, &["monitors"], f)
    }),
    ("quobyte", "quobyte", "quobyte", |p, s, f| {
        need(p, s, &["registry", "volume"], f)
    }),
    ("downwardAPI", "downwarAPI", "downwardAPI", downward_api),
    ("fc", "fc", "fc", |_, _, _| {}),
    ("flexVolume", "flexVolume", "flexVolume", |p, s, f| {
        need(p, s, &["driver"], f)
    }),
    ("configMap", "configMap", "configMap", |p, s, f| {
        files(p, s, "name", f)
    }),
    ("azureFile", "azureFile", "azureFile", |p, s, f| {
        need(p, s, &["secretName", "shareName"], f)
    }),
    (
        "vsphereVolume",
        "vsphereVolume",
        "vsphereVolume",
        |p, s, f| need(p, s, &["volumePath"], f),
    ),
    (
        "photonPersistentDisk",
        "photonPersistentDisk",
        "photonPersistentDisk",
        |p, s, f| {
            need(p, s, &["pdID"], f);
        },
    ),
    (
        "portworxVolume",
        "portworxVolume",
        "portworxVolume",
        |p, s, f| need(p, s, &["volumeID"], f),
    ),
    ("azureDisk", "azureDisk", "azureDisk", |p, s, f| {
        need(p, s, &["diskName", "diskURI"], f)
    }),
    ("storageos", "storageos", "storageos", |p, s, f| {
        need(p, s, &["volumeName"], f)
    }),
    ("projected", "projected", "projected", projected),
    ("scaleIO", "scaleIO", "scaleIO", |p, s, f| {
        need(p, s, &["gateway", "system", "volumeName"], f)
    }),
    ("csi", "csi", "csi", csi),
    ("ephemeral", "ephemeral", "ephemeral", |p, s, f| {
        if !s.has("volumeClaimTemplate") {
            f.required(&p.child("volumeClaimTemplate"), "");
        }
    }),
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
            rule(&path.child(name), source, faults);
        }
    }
    if let Some(image) = volume.field("image") {
        if found {
            faults.forbidden(
                &path.child("image"),
                "may not specify more than 1 volume type",
            );
        } else {
            found = true;
            need(&path.child("image"), image, &["reference"], faults);
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
