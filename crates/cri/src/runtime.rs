//! The interface between the agent and a container runtime.

use std::{collections::BTreeMap, time::Duration};

use futures::future::BoxFuture;

use crate::{Result, pb};

/// The future of a call.
pub type Reply<'a, T> = BoxFuture<'a, Result<T>>;

/// Output and exit code of a command in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
    /// Its exit code.
    pub exit_code: i32,
}

/// A container runtime. Every call has a timeout, and its error has the runtime's message.
pub trait Runtime: Send + Sync + 'static {
    /// Name and version of the runtime.
    fn version(&self) -> Reply<'_, pb::VersionResponse>;
    /// The runtime's conditions: whether the runtime and the pod network are ready.
    fn status(&self) -> Reply<'_, pb::RuntimeStatus>;

    /// Creates and starts a sandbox and returns its id.
    fn run_sandbox(&self, config: pb::PodSandboxConfig) -> Reply<'_, String>;
    /// Stops a sandbox and every container in it. Succeeds if the sandbox does not exist.
    fn stop_sandbox<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// Removes a sandbox and every container in it. Succeeds if the sandbox does
    /// not exist.
    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// Status of one sandbox, with its addresses.
    fn sandbox_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::PodSandboxStatus>;
    /// All sandboxes that have these labels.
    fn list_sandboxes(&self, labels: BTreeMap<String, String>) -> Reply<'_, Vec<pb::PodSandbox>>;

    /// Creates a container in a sandbox and returns its id.
    fn create_container(
        &self,
        sandbox: String,
        config: pb::ContainerConfig,
        sandbox_config: pb::PodSandboxConfig,
    ) -> Reply<'_, String>;
    /// Starts a created container.
    fn start_container<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// Sends the stop signal to a container, and SIGKILL after `grace`.
    fn stop_container<'a>(&'a self, id: &'a str, grace: Duration) -> Reply<'a, ()>;
    /// Removes a container. Succeeds if it does not exist.
    fn remove_container<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// Status of one container.
    fn container_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::ContainerStatus>;
    /// All containers that have these labels.
    fn list_containers(&self, labels: BTreeMap<String, String>) -> Reply<'_, Vec<pb::Container>>;
    /// Makes the runtime reopen a container's log file, after the old file was renamed.
    fn reopen_log<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// Resource use of all containers.
    fn list_stats(&self) -> Reply<'_, Vec<pb::ContainerStats>>;

    /// Runs a command in a container and waits for its end.
    fn exec_sync<'a>(
        &'a self,
        id: &'a str,
        command: Vec<String>,
        timeout: Duration,
    ) -> Reply<'a, ExecOutput>;
    /// The URL at which the runtime serves the streams of a command that it starts.
    fn exec_url(&self, request: pb::ExecRequest) -> Reply<'_, String>;
    /// The URL at which the runtime serves the streams of a container's own process.
    fn attach_url(&self, request: pb::AttachRequest) -> Reply<'_, String>;
    /// The URL at which the runtime serves connections to ports of a sandbox.
    fn port_forward_url(&self, request: pb::PortForwardRequest) -> Reply<'_, String>;

    /// Pulls an image and returns its reference.
    fn pull_image(&self, image: String, auth: Option<pb::AuthConfig>) -> Reply<'_, String>;
    /// The image with this name or id, if the runtime has it.
    fn image(&self, name: String) -> Reply<'_, Option<pb::Image>>;
}
