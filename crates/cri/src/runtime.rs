//! The seam between the agent and a container runtime.

use std::{collections::BTreeMap, time::Duration};

use futures::future::BoxFuture;

use crate::{Result, pb};

/// A call under way.
pub type Reply<'a, T> = BoxFuture<'a, Result<T>>;

/// What a command inside a container printed and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// The exit code.
    pub exit_code: i32,
}

/// A container runtime. Every call has a timeout, and an error in the runtime's words.
pub trait Runtime: Send + Sync + 'static {
    /// Name and versions.
    fn version(&self) -> Reply<'_, pb::VersionResponse>;
    /// Whether runtime and network are ready.
    fn status(&self) -> Reply<'_, pb::RuntimeStatus>;

    /// Makes and starts a sandbox; yields its id.
    fn run_sandbox(&self, config: pb::PodSandboxConfig) -> Reply<'_, String>;
    /// Stops a sandbox and every container in it. Stopping a missing sandbox is a success.
    fn stop_sandbox<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// Removes a sandbox and every container in it. Removing a missing sandbox is a success.
    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// One sandbox in detail.
    fn sandbox_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::PodSandboxStatus>;
    /// All sandboxes with these labels.
    fn list_sandboxes(&self, labels: BTreeMap<String, String>) -> Reply<'_, Vec<pb::PodSandbox>>;

    /// Makes a container in a sandbox; yields its id.
    fn create_container(
        &self,
        sandbox: String,
        config: pb::ContainerConfig,
        sandbox_config: pb::PodSandboxConfig,
    ) -> Reply<'_, String>;
    /// Starts a created container.
    fn start_container<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// Asks a container to stop and kills it after `grace`.
    fn stop_container<'a>(&'a self, id: &'a str, grace: Duration) -> Reply<'a, ()>;
    /// Removes a container. Removing a missing one is a success.
    fn remove_container<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// One container in detail.
    fn container_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::ContainerStatus>;
    /// All containers with these labels.
    fn list_containers(&self, labels: BTreeMap<String, String>) -> Reply<'_, Vec<pb::Container>>;
    /// Makes the runtime open a container's log file anew, after the old one was moved away.
    fn reopen_log<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// Resource use of all containers.
    fn list_stats(&self) -> Reply<'_, Vec<pb::ContainerStats>>;

    /// Runs a command in a container and waits for it.
    fn exec_sync<'a>(
        &'a self,
        id: &'a str,
        command: Vec<String>,
        timeout: Duration,
    ) -> Reply<'a, ExecOutput>;
    /// The address at which the runtime serves a command's streams.
    fn exec_url(&self, request: pb::ExecRequest) -> Reply<'_, String>;
    /// The address at which the runtime serves a container's own streams.
    fn attach_url(&self, request: pb::AttachRequest) -> Reply<'_, String>;
    /// The address at which the runtime serves connections to a sandbox's ports.
    fn port_forward_url(&self, request: pb::PortForwardRequest) -> Reply<'_, String>;

    /// Pulls an image; yields its reference.
    fn pull_image(&self, image: String, auth: Option<pb::AuthConfig>) -> Reply<'_, String>;
    /// The image with this name or id, if present.
    fn image(&self, name: String) -> Reply<'_, Option<pb::Image>>;
    /// All images.
    fn list_images(&self) -> Reply<'_, Vec<pb::Image>>;
    /// Removes an image.
    fn remove_image(&self, name: String) -> Reply<'_, ()>;
}
