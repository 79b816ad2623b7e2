//! The volume manager: sets up a pod's volumes before its sandbox, updates their content while it
//! runs, and tears them down after it.
//!
//! Setting up is idempotent. It is repeated before every start of a container and when a ConfigMap
//! or Secret changes. Content is replaced atomically. Secrets, tokens and downward data are in
//! memory only: each such volume is a tmpfs, which a new agent finds mounted and goes on using.

mod atomic_writer;
mod host_path;
mod payload;
mod subpath;
mod token;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};
use pandaemon_types::Quantity;

use crate::{
    context::Context,
    files,
    host::mounts,
    pod::{PodRef, env::NodeInfo, references::ReferencedObjects, resources},
};

use self::{atomic_writer::File, token::TokenManager};

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

/// Why volumes are set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// A container is about to start.
    Start,
    /// The content of volumes in use is brought up to date.
    Update,
}

/// What the volumes of a pod are made from.
pub(crate) struct Inputs<'a> {
    pub context: &'a Context,
    pub pod: &'a PodRef,
    pub references: &'a ReferencedObjects,
    pub node_info: &'a NodeInfo,
    pub occasion: Occasion,
}

impl Inputs<'_> {
    /// Sets up all of a pod's volumes.
    ///
    /// # Errors
    /// The kubelet's message for the first volume that cannot be set up.
    pub(crate) async fn set_up(&self) -> Result<Volumes, String> {
        let mut volumes = Volumes::new();
        for volume in self.pod.spec.volumes.iter().flatten() {
            let made = self.set_up_volume(volume).await.map_err(|error| {
                format!(
                    "MountVolume.SetUp failed for volume {:?} : {error}",
                    volume.name
                )
            })?;
            volumes.insert(volume.name.clone(), made);
        }
        Ok(volumes)
    }

    async fn set_up_volume(&self, volume: &Volume) -> Result<MountedVolume, String> {
        if let Some(source) = &volume.host_path {
            let path = host_path::check(&source.path, source.type_.as_deref().unwrap_or_default())?;
            return Ok(MountedVolume {
                path,
                read_only: false,
            });
        }
        if let Some(source) = &volume.empty_dir {
            let path = self.dir("kubernetes.io~empty-dir", &volume.name);
            self.empty_dir(&path, source)
                .map_err(|error| error.to_string())?;
            return Ok(MountedVolume {
                path,
                read_only: false,
            });
        }
        let (kind, files) = self.payload(volume).await?;
        let path = self.dir(kind, &volume.name);
        self.write(&path, volume, &files)
            .map_err(|error| error.to_string())?;
        Ok(MountedVolume {
            path,
            read_only: true,
        })
    }

    fn dir(&self, kind: &str, name: &str) -> PathBuf {
        let pod = self.context.paths.pod(&self.pod.uid);
        pod.join("volumes").join(kind).join(name)
    }

    /// The files of a volume with content from the API, and the name of its kind.
    async fn payload(&self, volume: &Volume) -> Result<(&'static str, Vec<File>), String> {
        let Self {
            context,
            pod,
            references,
            node_info,
            occasion,
        } = *self;
        if let Some(source) = &volume.config_map {
            let files = payload::config_map(source, references)?;
            Ok(("kubernetes.io~configmap", files))
        } else if let Some(source) = &volume.secret {
            let files = payload::secret(source, references)?;
            Ok(("kubernetes.io~secret", files))
        } else if let Some(source) = &volume.downward_api {
            let files = payload::downward(source, pod, node_info)?;
            Ok(("kubernetes.io~downward-api", files))
        } else if let Some(source) = &volume.projected {
            let tokens = TokenManager {
                context,
                pod,
                occasion,
            };
            let files = payload::projected(source, references, pod, node_info, &tokens).await?;
            Ok(("kubernetes.io~projected", files))
        } else {
            Err("no volume plugin matched".to_owned())
        }
    }

    /// Writes the files of a volume: to disk those of a ConfigMap, all others to a tmpfs. There is
    /// no fallback to the disk if a tmpfs cannot be mounted, as upstream has none.
    fn write(&self, path: &Path, volume: &Volume, files: &[File]) -> io::Result<()> {
        if volume.config_map.is_none() {
            self.mount_memory(path, 0o755, None)?;
        }
        atomic_writer::write(path, files, fs_group(self.pod))
    }

    fn empty_dir(&self, path: &Path, source: &EmptyDirVolumeSource) -> io::Result<()> {
        if source.medium.as_deref() == Some("Memory") {
            let limit = source.size_limit.as_ref();
            let limit = limit.and_then(|text| text.0.parse::<Quantity>().ok());
            let limit = limit.and_then(|size| u64::try_from(size.units()).ok());
            self.mount_memory(path, 0o777, limit)?;
        } else {
            files::volume_dir(path, 0o777)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        own_by_group(path, fs_group(self.pod))
    }

    /// Mounts a tmpfs at this path unless one is mounted there, as large as the smallest of the
    /// node's memory, the pod's memory limit and this limit, if any.
    fn mount_memory(&self, path: &Path, mode: u32, limit: Option<u64>) -> io::Result<()> {
        let limits = [limit, resources::pod(self.pod).memory];
        let limits = limits.into_iter().flatten().filter(|&size| size > 0);
        let memory = self.context.machine.memory;
        let size = limits.fold(memory, u64::min);
        files::volume_dir(path, mode)?;
        self.context.tmpfs.mount(path, mode, size)
    }
}

fn fs_group(pod: &PodRef) -> Option<u32> {
    let group = pod.spec.security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

/// Sets the group of a directory and the setgid bit, so that new files inherit the group.
fn own_by_group(path: &Path, group: Option<u32>) -> io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    std::os::unix::fs::chown(path, None, Some(group))?;
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o2070))
}

/// Unmounts and removes the directory of a pod.
///
/// # Errors
/// If something in it is still mounted: then nothing is removed.
pub(crate) fn tear_down(pod_dir: &Path) -> io::Result<()> {
    mounts::unmount_below(pod_dir)?;
    files::remove_dir(pod_dir)
}
