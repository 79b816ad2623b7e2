//! The CRI configuration of a container; the kubelet's `generateContainerConfig`.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, VolumeMount};
use pandaemon_cri::pb;
use pandaemon_podsync::container_hash;

use super::{
    PodRef,
    env::{Environment, NodeInfo, environment},
    references::ReferencedObjects,
    resources,
    sandbox::{self, CONTAINER_NAME},
    security,
};
use crate::{
    context::Context,
    images::LocalImage,
    volumes::{self, Volumes},
};

/// The annotation with the hash of the spec that a container was created from.
pub(crate) const HASH: &str = "io.kubernetes.container.hash";
/// The annotation with the restart count.
pub(crate) const RESTARTS: &str = "io.kubernetes.container.restartCount";

/// Everything that a container's configuration is computed from.
pub(crate) struct ContainerInputs<'a> {
    pub context: &'a Context,
    pub pod: &'a PodRef,
    /// The container in the pod spec.
    pub container: &'a Container,
    /// Number of this start of the container, from 0.
    pub attempt: u32,
    /// The image, present on the node.
    pub image: &'a LocalImage,
    /// The pod's volumes on the node.
    pub volumes: &'a Volumes,
    /// The ConfigMaps and Secrets that the pod references.
    pub references: &'a ReferencedObjects,
    /// Node and sandbox properties.
    pub node_info: &'a NodeInfo,
}

/// The file on the node that holds a container's termination message.
#[must_use]
pub(crate) fn termination_log(
    context: &Context,
    pod: &PodRef,
    name: &str,
    attempt: u32,
) -> PathBuf {
    context
        .paths
        .pod(&pod.uid)
        .join("containers")
        .join(name)
        .join(format!("{attempt}.log"))
}

/// The file on the node that is mounted as the pod's `/etc/hosts`.
#[must_use]
pub(crate) fn hosts_file(context: &Context, pod: &PodRef) -> PathBuf {
    context.paths.pod(&pod.uid).join("etc-hosts")
}

impl ContainerInputs<'_> {
    /// Computes the container's configuration.
    ///
    /// # Errors
    /// The message of `CreateContainerConfigError`.
    pub(crate) fn config(&self) -> Result<pb::ContainerConfig, String> {
        let container = self.container;
        let env = environment(self.pod, container, self.references, self.node_info)?;
        let mut labels = sandbox::labels(self.pod);
        labels.insert(CONTAINER_NAME.to_owned(), container.name.clone());
        let image = container.image.clone().unwrap_or_default();
        let annotations = [
            (HASH, container_hash(&container.name, &image)),
            (RESTARTS, self.attempt.to_string()),
        ];
        let security = security::container(self.pod, container, &self.image.user)?;
        let expand = |texts: &Option<Vec<String>>| -> Vec<String> {
            texts
                .iter()
                .flatten()
                .map(|text| env.expand(text))
                .collect()
        };
        Ok(pb::ContainerConfig {
            metadata: Some(pb::ContainerMetadata {
                name: container.name.clone(),
                attempt: self.attempt,
            }),
            image: Some(pb::ImageSpec {
                image: self.image.id.clone(),
                user_specified_image: image,
                ..pb::ImageSpec::default()
            }),
            command: expand(&container.command),
            args: expand(&container.args),
            working_dir: container.working_dir.clone().unwrap_or_default(),
            mounts: self.mounts(&env)?,
            labels,
            annotations: annotations
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
            log_path: format!("{}/{}.log", container.name, self.attempt),
            stdin: container.stdin.unwrap_or(false),
            stdin_once: container.stdin_once.unwrap_or(false),
            tty: container.tty.unwrap_or(false),
            linux: Some(pb::LinuxContainerConfig {
                resources: Some(resources::container(
                    self.pod,
                    container,
                    self.context.machine.memory,
                )),
                security_context: Some(security),
            }),
            envs: key_values(env),
            ..pb::ContainerConfig::default()
        })
    }

    fn mounts(&self, env: &Environment) -> Result<Vec<pb::Mount>, String> {
        let given = self.container.volume_mounts.iter().flatten();
        let mut mounts = given
            .map(|mount| self.mount(mount, env))
            .collect::<Result<Vec<_>, _>>()?;
        let message_path = self.container.termination_message_path.as_deref();
        let message_path = message_path
            .filter(|path| !path.is_empty())
            .unwrap_or("/dev/termination-log");
        let log = termination_log(self.context, self.pod, &self.container.name, self.attempt);
        let hosts = hosts_file(self.context, self.pod);
        for (inside, outside) in [
            (message_path, log.as_path()),
            ("/etc/hosts", hosts.as_path()),
        ] {
            if !mounts.iter().any(|mount| mount.container_path == inside) {
                mounts.push(bind_mount(inside, outside));
            }
        }
        Ok(mounts)
    }

    fn mount(&self, mount: &VolumeMount, env: &Environment) -> Result<pb::Mount, String> {
        let missing = || {
            format!(
                "cannot find volume {:?} to mount into container",
                mount.name
            )
        };
        let volume = self.volumes.get(&mount.name).ok_or_else(missing)?;
        let expanded = mount.sub_path_expr.as_ref().map(|text| env.expand(text));
        let sub = expanded
            .or_else(|| mount.sub_path.clone())
            .filter(|sub| !sub.is_empty());
        let host_path = match sub {
            None => volume.path.clone(),
            Some(sub) => volumes::resolve(&volume.path, &sub).map_err(|reason| {
                let (volume, container) = (&mount.name, &self.container.name);
                tracing::warn!(pod = self.pod.name, container, volume, reason, "cannot prepare a subPath");
                // As upstream, users are not told what exists on the host.
                format!("failed to prepare subPath for volumeMount {volume:?} of container {container:?}")
            })?,
        };
        let propagation = match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => pb::MountPropagation::PropagationHostToContainer,
            Some("Bidirectional") => pb::MountPropagation::PropagationBidirectional,
            _ => pb::MountPropagation::PropagationPrivate,
        };
        let inside = match mount.mount_path.starts_with('/') {
            true => mount.mount_path.clone(),
            false => format!("/{}", mount.mount_path),
        };
        Ok(pb::Mount {
            container_path: inside,
            host_path: host_path.to_string_lossy().into_owned(),
            readonly: volume.read_only || mount.read_only.unwrap_or(false),
            propagation: propagation.into(),
            ..pb::Mount::default()
        })
    }
}

fn bind_mount(inside: &str, outside: &Path) -> pb::Mount {
    pb::Mount {
        container_path: inside.to_owned(),
        host_path: outside.to_string_lossy().into_owned(),
        ..pb::Mount::default()
    }
}

fn key_values(env: Environment) -> Vec<pb::KeyValue> {
    env.into_pairs()
        .into_iter()
        .map(|(key, value)| pb::KeyValue { key, value })
        .collect()
}
