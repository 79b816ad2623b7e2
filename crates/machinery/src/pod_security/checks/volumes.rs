//! Checks of the sources of volumes.

use std::collections::BTreeSet;

use super::{
    Violation,
    pod::{Pod, plural, quoted, quoted_set},
};
use crate::json_fields::ReadFields;

/// The sources that level restricted allows.
const ALLOWED: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// The sources that it does not allow, in the order in which upstream looks for them.
const RESTRICTED: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

/// Volumes by name: `volume "a"`, `volumes "a", "b"`.
fn volumes(names: &[&str]) -> String {
    let word = plural("volume", "volumes", names.len());
    format!("{word} {}", quoted(names.iter().copied()))
}

pub(super) fn host_path(pod: &Pod<'_>) -> Option<Violation> {
    let all = pod.spec.items("volumes").iter();
    let bad = all.filter(|volume| volume.has("hostPath"));
    let bad: Vec<&str> = bad.map(|volume| volume.text("name")).collect();
    (!bad.is_empty()).then(|| Violation {
        reason: "hostPath volumes",
        detail: volumes(&bad),
    })
}

pub(super) fn restricted(pod: &Pod<'_>) -> Option<Violation> {
    let (mut bad, mut types) = (Vec::new(), BTreeSet::new());
    for volume in pod.spec.items("volumes") {
        if ALLOWED.iter().any(|source| volume.has(source)) {
            continue;
        }
        bad.push(volume.text("name"));
        let source = RESTRICTED.iter().find(|source| volume.has(source));
        types.insert(source.copied().unwrap_or("unknown"));
    }
    (!bad.is_empty()).then(|| Violation {
        reason: "restricted volume types",
        detail: format!(
            "{} {} {} {}",
            volumes(&bad),
            plural("uses", "use", bad.len()),
            plural(
                "restricted volume type",
                "restricted volume types",
                types.len()
            ),
            quoted_set(&types)
        ),
    })
}
