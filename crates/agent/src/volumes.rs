//! The volume manager: sets up a pod's volumes before its sandbox, updates their content while it
//! runs, and tears them down after it.
//!
//! Setting up is idempotent. It is repeated before every start of a container and when a ConfigMap
//! or Secret changes. Content is replaced atomically.

mod atomic_writer;
mod host_path;
mod payload;
mod subpath;
mod token;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};
use pandaemon_types::Quantity;

use crate::{
    context::Context,
    files,
    host::mounts,
    pod::{PodRef, env::NodeInfo, references::ReferencedObjects},
};

pub(crate) use subpath::resolve;

/// A volume that is set up on the node.
#[derive(Debug, Clone)]
pub(crate) struct MountedVolume {
    /// Its path on the node.
    pub path: PathBuf,
    /// Whether its type is always read-only.
    pub read_only: bool,
}

/// A pod's volumes by name.
pub(crate) type Volumes = BTreeMap<String, MountedVolume>;

/// Sets up all of a pod's volumes.
///
/// # Errors
/// The kubelet's message for the first volume that cannot be set up.
pub(crate) async fn set_up(
    context: &Context,
    pod: &PodRef,
    references: &ReferencedObjects,
    node_info: &NodeInfo,
) -> Result<Volumes, String> {
    let mut volumes = Volumes::new();
    for volume in pod.spec.volumes.iter().flatten() {
        let made = set_up_volume(context, pod, volume, references, node_info)
            .await
            .map_err(|error| {
                format!(
                    "MountVolume.SetUp failed for volume {:?} : {error}",
                    volume.name
                )
            })?;
        volumes.insert(volume.name.clone(), made);
    }
    Ok(volumes)
}

async fn set_up_volume(
    context: &Context,
    pod: &PodRef,
    volume: &Volume,
    references: &ReferencedObjects,
    node_info: &NodeInfo,
) -> Result<MountedVolume, String> {
    if let Some(source) = &volume.host_path {
        let path = host_path::check(&source.path, source.type_.as_deref().unwrap_or_default())?;
        return Ok(MountedVolume {
            path,
            read_only: false,
        });
    }
    let dir = |kind: &str| {
        context
            .paths
            .pod(&pod.uid)
            .join("volumes")
            .join(kind)
            .join(&volume.name)
    };
    if let Some(source) = &volume.empty_dir {
        let path = dir("kubernetes.io~empty-dir");
        empty_dir(&path, source, fs_group(pod)).map_err(|error| error.to_string())?;
        return Ok(MountedVolume {
            path,
            read_only: false,
        });
    }
    let tokens = token::TokenManager { context, pod };
    let (kind, files) = if let Some(source) = &volume.config_map {
        (
            "kubernetes.io~configmap",
            payload::config_map(source, references)?,
        )
    } else if let Some(source) = &volume.secret {
        ("kubernetes.io~secret", payload::secret(source, references)?)
    } else if let Some(source) = &volume.downward_api {
        (
            "kubernetes.io~downward-api",
            payload::downward(source, pod, node_info)?,
        )
    } else if let Some(source) = &volume.projected {
        let files = payload::projected(source, references, pod, node_info, &tokens).await?;
        ("kubernetes.io~projected", files)
    } else {
        return Err("no volume plugin matched".to_owned());
    };
    let path = dir(kind);
    atomic_writer::write(&path, &files, fs_group(pod)).map_err(|error| error.to_string())?;
    Ok(MountedVolume {
        path,
        read_only: true,
    })
}

fn fs_group(pod: &PodRef) -> Option<u32> {
    let group = pod.spec.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

fn empty_dir(
    path: &Path,
    source: &EmptyDirVolumeSource,
    group: Option<u32>,
) -> std::io::Result<()> {
    if !path.is_dir() {
        if let Some(parent) = path.parent() {
            files::private_dir(parent)?;
        }
        fs::create_dir(path)?;
    }
    if source.medium.as_deref() == Some("Memory") && !mounts::is_mounted(path) {
        let limit = source
            .size_limit
            .as_ref()
            .and_then(|text| text.0.parse::<Quantity>().ok());
        let size = limit
            .and_then(|size| u64::try_from(size.units()).ok())
            .filter(|&size| size > 0);
        mounts::mount_tmpfs(path, size)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    own_by_group(path, group)
}

/// Sets the group of a directory and the setgid bit, so that new files inherit the group.
fn own_by_group(path: &Path, group: Option<u32>) -> std::io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    std::os::unix::fs::chown(path, None, Some(group))?;
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o2070))
}

/// Unmounts and removes the directory of a pod.
///
/// # Errors
/// If something in it is still in use.
pub(crate) fn tear_down(pod_dir: &Path) -> std::io::Result<()> {
    mounts::unmount_below(pod_dir);
    files::remove_dir(pod_dir)
}
