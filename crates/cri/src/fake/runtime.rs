//! The calls of the fake runtime.

use std::{collections::BTreeMap, time::Duration};

use super::{FakeRuntime, end, missing};
use crate::{ExecOutput, Reply, Runtime, pb};

/// The values of labels, as the subject of a call.
fn subject(labels: &BTreeMap<String, String>) -> String {
    let values: Vec<_> = labels.values().map(String::as_str).collect();
    values.join(" ")
}

/// Whether labels include all of the wanted ones.
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
        self.record("version", "", |_| {
            Ok(pb::VersionResponse {
                runtime_name: "fake".to_owned(),
                ..Default::default()
            })
        })
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
        self.record("run_sandbox", &name, move |state| {
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
        self.record("stop_sandbox", id, move |state| {
            if let Some(sandbox) = state.sandboxes.get_mut(id) {
                sandbox.state = pb::PodSandboxState::SandboxNotready.into();
            }
            let running: i32 = pb::ContainerState::ContainerRunning.into();
            let inside = state.containers.values_mut();
            inside
                .filter(|(sandbox, one)| sandbox == id && one.state == running)
                .for_each(|(_, one)| end(one, 137));
            Ok(())
        })
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.record("remove_sandbox", id, move |state| {
            state.sandboxes.remove(id);
            state.containers.retain(|_, (sandbox, _)| sandbox != id);
            Ok(())
        })
    }

    fn sandbox_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::PodSandboxStatus> {
        self.record("sandbox_status", id, move |state| {
            state
                .sandboxes
                .get(id)
                .cloned()
                .ok_or_else(|| missing("sandbox", id))
        })
    }

    fn list_sandboxes(&self, labels: BTreeMap<String, String>) -> Reply<'_, Vec<pb::PodSandbox>> {
        self.record("list_sandboxes", &subject(&labels), move |state| {
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
        self.record("create_container", &name, move |state| {
            let id = state.id("container");
            let status = pb::ContainerStatus {
                created_at: i64::try_from(state.next).unwrap_or_default(),
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
        self.record("start_container", id, move |state| {
            state.container(id)?.state = pb::ContainerState::ContainerRunning.into();
            Ok(())
        })
    }

    fn stop_container<'a>(&'a self, id: &'a str, grace: Duration) -> Reply<'a, ()> {
        let subject = format!("{id} {}s", grace.as_secs());
        self.record("stop_container", &subject, move |state| {
            end(state.container(id)?, 137);
            Ok(())
        })
    }

    fn remove_container<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.record("remove_container", id, move |state| {
            state.containers.remove(id);
            Ok(())
        })
    }

    fn container_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::ContainerStatus> {
        self.record("container_status", id, move |state| {
            state.container(id).cloned()
        })
    }

    fn list_containers(&self, labels: BTreeMap<String, String>) -> Reply<'_, Vec<pb::Container>> {
        self.record("list_containers", &subject(&labels), move |state| {
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
        self.record("reopen_log", id, move |_| Ok(()))
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
        self.record("exec_url", &request.container_id, |state| {
            state.tokens.url("exec")
        })
    }

    fn attach_url(&self, request: pb::AttachRequest) -> Reply<'_, String> {
        self.record("attach_url", &request.container_id, |state| {
            state.tokens.url("attach")
        })
    }

    fn port_forward_url(&self, request: pb::PortForwardRequest) -> Reply<'_, String> {
        self.record("port_forward_url", &request.pod_sandbox_id, |state| {
            state.tokens.url("portforward")
        })
    }

    fn pull_image(&self, image: String, _auth: Option<pb::AuthConfig>) -> Reply<'_, String> {
        self.record("pull_image", &image.clone(), move |state| {
            state.images.insert(image.clone());
            Ok(image)
        })
    }

    fn image(&self, name: String) -> Reply<'_, Option<pb::Image>> {
        self.record("image", &name.clone(), move |state| {
            let found = state.images.contains(&name);
            Ok(found.then(|| pb::Image {
                id: name,
                ..Default::default()
            }))
        })
    }
}
