//! Defaults of volume sources.

use serde_json::Value;

use super::container::{field_source, pull_policy};
use super::{child, existing, set, set_text};
use crate::json_fields::{ReadFields, WriteFields};

/// Permission bits of files in `secret`, `configMap`, `downwardAPI` and `projected` volumes.
const FILE_MODE: i64 = 0o644;

/// Sets the defaults of a volume; one without a source becomes an `emptyDir`.
pub(super) fn volume(volume: &mut Value) {
    let sources = volume.as_object().into_iter().flatten();
    if !sources
        .into_iter()
        .any(|(name, value)| name != "name" && !value.is_null())
    {
        child(volume, "emptyDir");
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = existing(volume, name) {
            set(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(source) = existing(volume, "downwardAPI") {
        source.items_mut("items").for_each(field_source);
    }
    if let Some(source) = existing(volume, "projected") {
        source.items_mut("sources").for_each(projection);
    }
    if let Some(source) = existing(volume, "hostPath") {
        set(source, "type", "");
    }
    if let Some(source) = existing(volume, "ephemeral")
        && let Some(template) = existing(source, "volumeClaimTemplate")
    {
        set(child(template, "spec"), "volumeMode", "Filesystem");
    }
    if let Some(source) = existing(volume, "image") {
        let policy = pull_policy(source.text("reference"));
        set_text(source, "pullPolicy", policy);
    }
    network_sources(volume);
}

fn projection(source: &mut Value) {
    if let Some(downward) = existing(source, "downwardAPI") {
        downward.items_mut("items").for_each(field_source);
    }
    if let Some(token) = existing(source, "serviceAccountToken") {
        set(token, "expirationSeconds", 3600);
    }
}

fn network_sources(volume: &mut Value) {
    let texts: [(&str, &[(&str, &str)]); 4] = [
        ("iscsi", &[("iscsiInterface", "default")]),
        (
            "rbd",
            &[
                ("pool", "rbd"),
                ("user", "admin"),
                ("keyring", "/etc/ceph/keyring"),
            ],
        ),
        (
            "azureDisk",
            &[
                ("cachingMode", "ReadWrite"),
                ("kind", "Shared"),
                ("fsType", "ext4"),
            ],
        ),
        (
            "scaleIO",
            &[("storageMode", "ThinProvisioned"), ("fsType", "xfs")],
        ),
    ];
    for (name, fields) in texts {
        if let Some(source) = existing(volume, name) {
            fields
                .iter()
                .for_each(|(field, text)| set_text(source, field, text));
        }
    }
    if let Some(source) = existing(volume, "azureDisk") {
        set(source, "readOnly", false);
    }
}
