//! A pod's volumes: made before its sandbox, refreshed while it runs, gone after it.
//!
//! Preparing is idempotent: it is done before every start of a container, and again when a config
//! map or secret changes. Content that changes is replaced in one step, by a symbolic link.

mod content;
mod host_path;
mod subpath;
mod token;
mod writer;

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
    pod::{PodRef, env::Surroundings, inputs::Snapshot},
};

pub(crate) use subpath::inside;

/// A volume on the node.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it is read-only by its nature.
    pub read_only: bool,
}

/// A pod's volumes by name.
pub(crate) type Volumes = BTreeMap<String, Ready>;

/// Makes all of a pod's volumes ready.
///
/// # Errors
/// The kubelet's words about the first volume that is not.
pub(crate) async fn prepare(
    context: &Context,
    pod: &PodRef,
    inputs: &Snapshot,
    around: &Surroundings,
) -> Result<Volumes, String> {
    let mut ready = Volumes::new();
    for volume in pod.spec.volumes.iter().flatten() {
        let made = one(context, pod, volume, inputs, around)
            .await
            .map_err(|error| {
                format!(
                    "MountVolume.SetUp failed for volume {:?} : {error}",
                    volume.name
                )
            })?;
        ready.insert(volume.name.clone(), made);
    }
    Ok(ready)
}

async fn one(
    context: &Context,
    pod: &PodRef,
    volume: &Volume,
    inputs: &Snapshot,
    around: &Surroundings,
) -> Result<Ready, String> {
    if let Some(source) = &volume.host_path {
        let path = host_path::check(&source.path, source.type_.as_deref().unwrap_or_default())?;
        return Ok(Ready {
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
        return Ok(Ready {
            path,
            read_only: false,
        });
    }
    let tokens = token::Tokens { context, pod };
    let (kind, files) = if let Some(source) = &volume.config_map {
        (
            "kubernetes.io~configmap",
            content::config_map(source, inputs)?,
        )
    } else if let Some(source) = &volume.secret {
        ("kubernetes.io~secret", content::secret(source, inputs)?)
    } else if let Some(source) = &volume.downward_api {
        (
            "kubernetes.io~downward-api",
            content::downward(source, pod, around)?,
        )
    } else if let Some(source) = &volume.projected {
        let files = content::projected(source, inputs, pod, around, &tokens).await?;
        ("kubernetes.io~projected", files)
    } else {
        return Err("no volume plugin matched".to_owned());
    };
    let path = dir(kind);
    writer::write(&path, &files, fs_group(pod)).map_err(|error| error.to_string())?;
    Ok(Ready {
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
        mounts::mount_memory(path, size)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    own_by_group(path, group)
}

/// Gives a directory to the pod's group, and everything made in it later too.
fn own_by_group(path: &Path, group: Option<u32>) -> std::io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    std::os::unix::fs::chown(path, None, Some(group))?;
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o2070))
}

/// Frees everything that a pod held on disk and in memory, except its logs.
///
/// # Errors
/// When something is still in use.
pub(crate) fn free(pod_dir: &Path) -> std::io::Result<()> {
    mounts::unmount_below(pod_dir);
    files::remove_dir(pod_dir)
}
