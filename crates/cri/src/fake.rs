//! A runtime in memory, for tests: containers run until they are stopped or a test makes them exit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::{CriError, ExecOutput, Reply, Result, Runtime, pb};

#[derive(Debug, Default)]
struct State {
    next: u64,
    sandboxes: BTreeMap<String, pb::PodSandboxStatus>,
    containers: BTreeMap<String, (String, pb::ContainerStatus)>,
    images: BTreeSet<String>,
    calls: Vec<String>,
    failures: BTreeMap<&'static str, String>,
}

/// A runtime in memory. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct FakeRuntime(Arc<Mutex<State>>);

impl FakeRuntime {
    /// A runtime that holds these images.
    #[must_use]
    pub fn with_images(images: &[&str]) -> Self {
        let fake = Self::default();
        fake.0.lock().images = images.iter().map(|&image| image.to_owned()).collect();
        fake
    }

    /// All calls so far: the method and its subject, separated by a blank.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.0.lock().calls.clone()
    }

    /// Makes `call` fail with this message until [`FakeRuntime::recover`].
    pub fn fail(&self, call: &'static str, message: &str) {
        self.0.lock().failures.insert(call, message.to_owned());
    }

    /// Makes `call` succeed again.
    pub fn recover(&self, call: &'static str) {
        self.0.lock().failures.remove(call);
    }

    /// Makes a container's process exit with `code` at `at` (nanoseconds since 1970).
    pub fn exit(&self, id: &str, code: i32, at: i64) {
        if let Some((_, container)) = self.0.lock().containers.get_mut(id) {
            container.state = pb::ContainerState::ContainerExited.into();
            container.exit_code = code;
            container.finished_at = at;
            container.reason = if code == 0 { "Completed" } else { "Error" }.to_owned();
        }
    }

    fn record<T>(
        &self,
        call: &'static str,
        subject: &str,
        act: impl FnOnce(&mut State) -> Result<T>,
    ) -> Reply<'static, T>
    where
        T: Send + 'static,
    {
        let mut state = self.0.lock();
        state.calls.push(format!("{call} {subject}"));
        let result = match state.failures.get(call) {
            Some(message) => Err(CriError::Failed {
                code: "Unknown",
                message: message.clone(),
            }),
            None => act(&mut state),
        };
        Box::pin(std::future::ready(result))
    }
}

impl State {
    fn id(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    fn container(&mut self, id: &str) -> Result<&mut pb::ContainerStatus> {
        let found = self.containers.get_mut(id).map(|(_, container)| container);
        found.ok_or_else(|| missing("container", id))
    }
}

fn missing(what: &str, id: &str) -> CriError {
    CriError::Failed {
        code: "NotFound",
        message: format!("{what} {id:?} not found"),
    }
}

fn matches<'a>(
    labels: &'a BTreeMap<String, String>,
) -> impl Fn(&std::collections::HashMap<String, String>) -> bool + 'a {
    |have| {
        labels
            .iter()
            .all(|(key, value)| have.get(key) == Some(value))
    }
}

impl Runtime for FakeRuntime {
    fn version(&self) -> Reply<'_, pb::VersionResponse> {
        self.record("version", "", |_| Ok(pb::VersionResponse::default()))
    }

    fn status(&self) -> Reply<'_, pb::RuntimeStatus> {
        self.record("status", "", |_| Ok(pb::RuntimeStatus::default()))
    }

    fn run_sandbox(&self, config: pb::PodSandboxConfig) -> Reply<'_, String> {
        let name = config
            .metadata
            .as_ref()
            .map(|meta| meta.name.clone())
            .unwrap_or_default();
        self.record("run_sandbox", &name, |state| {
            let id = state.id("sandbox");
            let status = pb::PodSandboxStatus {
                id: id.clone(),
                metadata: config.metadata,
                state: pb::PodSandboxState::SandboxReady.into(),
                network: Some(pb::PodSandboxNetworkStatus {
                    ip: "10.0.0.1".into(),
                    additional_ips: Vec::new(),
                }),
                labels: config.labels,
                annotations: config.annotations,
                ..Default::default()
            };
            state.sandboxes.insert(id.clone(), status);
            Ok(id)
        })
    }

    fn stop_sandbox<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.record("stop_sandbox", id, |state| {
            if let Some(sandbox) = state.sandboxes.get_mut(id) {
                sandbox.state = pb::PodSandboxState::SandboxNotready.into();
            }
            Ok(())
        })
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.record("remove_sandbox", id, |state| {
            state.sandboxes.remove(id);
            state.containers.retain(|_, (sandbox, _)| sandbox != id);
            Ok(())
        })
    }

    fn sandbox_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::PodSandboxStatus> {
        self.record("sandbox_status", id, |state| {
            state
                .sandboxes
                .get(id)
                .cloned()
                .ok_or_else(|| missing("sandbox", id))
        })
    }

    fn list_sandboxes(&self, labels: BTreeMap<String, String>) -> Reply<'_, Vec<pb::PodSandbox>> {
        self.record("list_sandboxes", "", |state| {
            let wanted = matches(&labels);
            let found = state
                .sandboxes
                .values()
                .filter(|sandbox| wanted(&sandbox.labels));
            Ok(found
                .map(|sandbox| pb::PodSandbox {
                    id: sandbox.id.clone(),
                    metadata: sandbox.metadata.clone(),
                    state: sandbox.state,
                    created_at: sandbox.created_at,
                    labels: sandbox.labels.clone(),
                    annotations: sandbox.annotations.clone(),
                    runtime_handler: String::new(),
                })
                .collect())
        })
    }

    fn create_container(
        &self,
        sandbox: String,
        config: pb::ContainerConfig,
        _sandbox_config: pb::PodSandboxConfig,
    ) -> Reply<'_, String> {
        let name = config
            .metadata
            .as_ref()
            .map(|meta| meta.name.clone())
            .unwrap_or_default();
        self.record("create_container", &name, |state| {
            let id = state.id("container");
            let status = pb::ContainerStatus {
                id: id.clone(),
                metadata: config.metadata,
                state: pb::ContainerState::ContainerCreated.into(),
                image: config.image,
                labels: config.labels,
                annotations: config.annotations,
                log_path: config.log_path,
                ..Default::default()
            };
            state.containers.insert(id.clone(), (sandbox, status));
            Ok(id)
        })
    }

    fn start_container<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.record("start_container", id, |state| {
            state.container(id)?.state = pb::ContainerState::ContainerRunning.into();
            Ok(())
        })
    }

    fn stop_container<'a>(&'a self, id: &'a str, _grace: Duration) -> Reply<'a, ()> {
        self.record("stop_container", id, |state| {
            let container = state.container(id)?;
            container.state = pb::ContainerState::ContainerExited.into();
            container.exit_code = 137;
            Ok(())
        })
    }

    fn remove_container<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.record("remove_container", id, |state| {
            state.containers.remove(id);
            Ok(())
        })
    }

    fn container_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::ContainerStatus> {
        self.record("container_status", id, |state| state.container(id).cloned())
    }

    fn list_containers(&self, labels: BTreeMap<String, String>) -> Reply<'_, Vec<pb::Container>> {
        self.record("list_containers", "", |state| {
            let wanted = matches(&labels);
            let found = state
                .containers
                .values()
                .filter(|(_, one)| wanted(&one.labels));
            Ok(found
                .map(|(sandbox, one)| pb::Container {
                    id: one.id.clone(),
                    pod_sandbox_id: sandbox.clone(),
                    metadata: one.metadata.clone(),
                    image: one.image.clone(),
                    state: one.state,
                    created_at: one.created_at,
                    labels: one.labels.clone(),
                    annotations: one.annotations.clone(),
                    ..Default::default()
                })
                .collect())
        })
    }

    fn reopen_log<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.record("reopen_log", id, |_| Ok(()))
    }

    fn list_stats(&self) -> Reply<'_, Vec<pb::ContainerStats>> {
        self.record("list_stats", "", |_| Ok(Vec::new()))
    }

    fn exec_sync<'a>(
        &'a self,
        id: &'a str,
        command: Vec<String>,
        _timeout: Duration,
    ) -> Reply<'a, ExecOutput> {
        let subject = format!("{id} {}", command.join(" "));
        self.record("exec_sync", &subject, |_| Ok(ExecOutput::default()))
    }

    fn exec_url(&self, request: pb::ExecRequest) -> Reply<'_, String> {
        self.record("exec_url", &request.container_id, |_| {
            Ok("http://127.0.0.1:1/".into())
        })
    }

    fn attach_url(&self, request: pb::AttachRequest) -> Reply<'_, String> {
        self.record("attach_url", &request.container_id, |_| {
            Ok("http://127.0.0.1:1/".into())
        })
    }

    fn port_forward_url(&self, request: pb::PortForwardRequest) -> Reply<'_, String> {
        self.record("port_forward_url", &request.pod_sandbox_id, |_| {
            Ok("http://127.0.0.1:1/".into())
        })
    }

    fn pull_image(&self, image: String, _auth: Option<pb::AuthConfig>) -> Reply<'_, String> {
        self.record("pull_image", &image.clone(), |state| {
            state.images.insert(image.clone());
            Ok(image)
        })
    }

    fn image(&self, name: String) -> Reply<'_, Option<pb::Image>> {
        self.record("image", &name.clone(), |state| {
            let found = state.images.contains(&name);
            Ok(found.then(|| pb::Image {
                id: name,
                ..Default::default()
            }))
        })
    }

    fn list_images(&self) -> Reply<'_, Vec<pb::Image>> {
        self.record("list_images", "", |state| {
            let images = state.images.iter();
            Ok(images
                .map(|id| pb::Image {
                    id: id.clone(),
                    ..Default::default()
                })
                .collect())
        })
    }

    fn remove_image(&self, name: String) -> Reply<'_, ()> {
        self.record("remove_image", &name.clone(), |state| {
            state.images.remove(&name);
            Ok(())
        })
    }
}
