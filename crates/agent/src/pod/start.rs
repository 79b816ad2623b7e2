//! Creates and starts sandboxes and containers.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Container;
use pandaemon_client::events::EventType;
use pandaemon_cri::pb;
use tokio_util::sync::CancellationToken;

use super::{
    PodRef,
    action_result::ActionResult,
    container::{ContainerInputs, hosts_file, termination_log},
    env::NodeInfo,
    handlers::{self, ContainerTarget},
    references::ReferencedObjects,
    resources,
    sandbox::{self, CONTAINER_NAME, POD_UID},
};
use crate::{
    api::events,
    context::Context,
    files,
    images::{ImageError, LocalImage, PullPolicy, name},
    logs,
    volumes::{self, Occasion, Volumes},
};

/// Everything needed to create sandboxes and containers. Each action has its own copy.
#[derive(Clone)]
pub(crate) struct Starter {
    pub context: Arc<Context>,
    pub pod: Arc<PodRef>,
    /// The ConfigMaps and Secrets that the pod references.
    pub references: Arc<ReferencedObjects>,
    /// Node and sandbox properties.
    pub node_info: NodeInfo,
    /// Cancels a pull when the pod is deleted.
    pub cancel: CancellationToken,
}

/// Why a container did not start: reason and message of its waiting state.
struct StartError {
    reason: &'static str,
    message: String,
}

fn start_error(reason: &'static str) -> impl Fn(String) -> StartError {
    move |message| StartError { reason, message }
}

impl Starter {
    /// Sets up volumes and cgroup, then creates the sandbox.
    pub(crate) async fn create_sandbox(&self, attempt: u32) -> ActionResult {
        let reference = events::object_reference(&self.pod.object, None);
        if let Err(message) = self.set_up_volumes(Occasion::Start).await {
            if self.cancel.is_cancelled() {
                return ActionResult::Skipped;
            }
            self.context.events.event(
                &reference,
                EventType::Warning,
                "FailedMount",
                message.clone(),
            );
            return ActionResult::SandboxFailed(message);
        }
        match self.run_sandbox(attempt).await {
            Ok(_id) => ActionResult::SandboxCreated,
            Err(message) => {
                let message = format!("Failed to create pod sandbox: {message}");
                let events = &self.context.events;
                events.event(
                    &reference,
                    EventType::Warning,
                    "FailedCreatePodSandBox",
                    message.clone(),
                );
                ActionResult::SandboxFailed(message)
            }
        }
    }

    async fn run_sandbox(&self, attempt: u32) -> Result<String, String> {
        let (context, pod) = (&self.context, &self.pod);
        let group = context.cgroups.pod(&pod.uid, resources::qos(pod));
        context
            .cgroups
            .create(&group, resources::pod(pod))
            .map_err(|error| format!("create cgroup {group}: {error}"))?;
        let logs = context.paths.pod_logs(&pod.namespace, &pod.name, &pod.uid);
        std::fs::create_dir_all(&logs)
            .map_err(|error| format!("create {}: {error}", logs.display()))?;
        let config = sandbox::config(context, pod, attempt);
        context
            .runtime
            .run_sandbox(config)
            .await
            .map_err(|error| error.to_string())
    }

    /// Updates the content of the volumes of a running pod.
    pub(crate) async fn update_volumes(&self) -> ActionResult {
        match self.set_up_volumes(Occasion::Update).await {
            Ok(_volumes) => ActionResult::Done,
            Err(error) => {
                let pod = &self.pod.name;
                tracing::debug!(error, pod, "cannot update the volumes of a pod");
                ActionResult::Skipped
            }
        }
    }

    /// Sets up the pod's volumes, or updates their content. Two of these may wait for tokens at the
    /// same time. What they write they write without waiting, and one task polls both.
    ///
    /// # Errors
    /// The kubelet's message for the first volume that cannot be set up; or the pod is deleted.
    async fn set_up_volumes(&self, occasion: Occasion) -> Result<Volumes, String> {
        let inputs = volumes::Inputs {
            context: &self.context,
            pod: &self.pod,
            references: &self.references,
            node_info: &self.node_info,
            occasion,
        };
        let volumes = self.cancel.run_until_cancelled(inputs.set_up()).await;
        let volumes = volumes.ok_or("the pod is being deleted")??;
        let path = hosts_file(&self.context, &self.pod);
        sandbox::write_hosts(&path, &self.pod, &self.node_info.pod_ips)
            .map_err(|error| format!("write {}: {error}", path.display()))?;
        Ok(volumes)
    }

    /// Pulls the image, creates and starts the container, and runs its postStart hook.
    pub(crate) async fn start_container(
        &self,
        sandbox: String,
        name: String,
        attempt: u32,
    ) -> ActionResult {
        let Some((container, init)) = self.pod.container(&name) else {
            return ActionResult::Skipped;
        };
        let reference = events::object_reference(&self.pod.object, Some((&name, init)));
        let image = match self.ensure_image(container, &reference).await {
            Ok(image) => image,
            Err(result) => return result,
        };
        let started = self
            .create_and_start(&sandbox, container, attempt, &image, &reference)
            .await;
        match started {
            Err(_) if self.cancel.is_cancelled() => ActionResult::Skipped,
            Err(StartError { reason, message }) => {
                self.context.events.event(
                    &reference,
                    EventType::Warning,
                    "Failed",
                    format!("Error: {message}"),
                );
                ActionResult::StartFailed {
                    name,
                    reason,
                    message,
                }
            }
            Ok(id) => {
                self.post_start(container, &id, &reference).await;
                ActionResult::Started { name }
            }
        }
    }

    async fn create_and_start(
        &self,
        sandbox: &str,
        container: &Container,
        attempt: u32,
        image: &LocalImage,
        reference: &pandaemon_client::events::ObjectReference,
    ) -> Result<String, StartError> {
        let (context, pod, name) = (&self.context, &self.pod, container.name.as_str());
        let volumes = self
            .set_up_volumes(Occasion::Start)
            .await
            .map_err(start_error("CreateContainerConfigError"))?;
        let inputs = ContainerInputs {
            context,
            pod,
            container,
            attempt,
            image,
            volumes: &volumes,
            references: &self.references,
            node_info: &self.node_info,
        };
        let mut config = inputs
            .config()
            .map_err(start_error("CreateContainerConfigError"))?;
        if let Some(target) = pod.target(name) {
            let id = self.running_container(target).await;
            let id = id.map_err(start_error("CreateContainerConfigError"))?;
            share_process_namespace(&mut config, id);
        }
        let message_file = termination_log(context, pod, name, attempt);
        let log = context
            .paths
            .pod_logs(&pod.namespace, &pod.name, &pod.uid)
            .join(name);
        create_writable_by_all(&message_file)
            .and_then(|()| std::fs::create_dir_all(log))
            .map_err(|error| start_error("CreateContainerError")(error.to_string()))?;
        let sandbox_config = sandbox::config(context, pod, 0);
        let id = context
            .runtime
            .create_container(sandbox.to_owned(), config, sandbox_config)
            .await
            .map_err(|error| start_error("CreateContainerError")(error.message()))?;
        context.events.event(
            reference,
            EventType::Normal,
            "Created",
            format!("Created container: {name}"),
        );
        logs::link(context, pod, name, &id, attempt);
        context
            .runtime
            .start_container(&id)
            .await
            .map_err(|error| start_error("RunContainerError")(error.message()))?;
        context.events.event(
            reference,
            EventType::Normal,
            "Started",
            format!("Started container {name}"),
        );
        Ok(id)
    }

    /// The id of the running container of this name in the pod.
    async fn running_container(&self, name: &str) -> Result<String, String> {
        let labels = [(POD_UID, self.pod.uid.as_str()), (CONTAINER_NAME, name)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let listed = self.context.runtime.list_containers(labels.into()).await;
        let listed = listed.map_err(|error| error.message())?;
        let running = pb::ContainerState::ContainerRunning;
        let found = listed.into_iter().find(|one| one.state() == running);
        found
            .map(|one| one.id)
            .ok_or_else(|| format!("unable to find target container {name}"))
    }

    async fn post_start(
        &self,
        container: &Container,
        id: &str,
        reference: &pandaemon_client::events::ObjectReference,
    ) {
        let hook = container
            .lifecycle
            .as_ref()
            .and_then(|one| one.post_start.as_ref());
        let Some(hook) = hook else { return };
        let ip = self
            .node_info
            .pod_ips
            .first()
            .and_then(|ip| ip.parse().ok());
        let target = ContainerTarget {
            id: id.to_owned(),
            ip: ip.unwrap_or(self.context.address),
        };
        if let Err(message) = handlers::run(&self.context, &target, container, hook).await {
            let events = &self.context.events;
            events.event(
                reference,
                EventType::Warning,
                "FailedPostStartHook",
                format!("PostStartHook failed: {message}"),
            );
            events.event(
                reference,
                EventType::Normal,
                "Killing",
                "FailedPostStartHook".to_owned(),
            );
            let grace = u64::try_from(self.pod.grace_seconds()).unwrap_or(30);
            let stop = self
                .context
                .runtime
                .stop_container(id, std::time::Duration::from_secs(grace));
            if let Err(error) = stop.await {
                tracing::warn!(%error, "cannot stop a container whose postStart hook failed");
            }
        }
    }

    /// Makes sure that the container's image is present, by its pull policy; the kubelet's
    /// `EnsureImageExists`.
    async fn ensure_image(
        &self,
        container: &Container,
        reference: &pandaemon_client::events::ObjectReference,
    ) -> Result<LocalImage, ActionResult> {
        let (name, events) = (container.name.clone(), &self.context.events);
        let image = container.image.clone().unwrap_or_default();
        let failed = |reason: &'static str, message: String| {
            let event_message = match reason {
                "InvalidImageName" => format!("Failed to apply default image tag: {message}"),
                _ => message.clone(),
            };
            events.event(reference, EventType::Warning, "Failed", event_message);
            ActionResult::StartFailed {
                name: name.clone(),
                reason,
                message,
            }
        };
        if !name::is_valid(&image) {
            let error = ImageError::InvalidName(image);
            return Err(failed("InvalidImageName", error.to_string()));
        }
        let policy = PullPolicy::new(container.image_pull_policy.as_deref(), &image);
        let found = self.context.images.find(&image).await;
        let found = found.map_err(|error| failed("ImageInspectError", error.to_string()))?;
        if !self
            .context
            .images
            .must_pull(&image, policy, found.is_some())
        {
            return match found {
                Some(present) => {
                    let text = format!("Container image \"{image}\" already present on machine");
                    events.event(reference, EventType::Normal, "Pulled", text);
                    Ok(present)
                }
                None => {
                    let error = ImageError::NeverPull(image);
                    Err(failed("ErrImageNeverPull", error.to_string()))
                }
            };
        }
        events.event(
            reference,
            EventType::Normal,
            "Pulling",
            format!("Pulling image \"{image}\""),
        );
        let secrets = self.references.pull_secrets(&self.pod);
        let pull = self.context.images.pull(&image, &secrets);
        match self.cancel.run_until_cancelled(pull).await {
            None => Err(ActionResult::Skipped),
            Some(Ok(present)) => {
                let took = present.pulled.unwrap_or_default();
                let text = format!(
                    "Successfully pulled image \"{image}\" in {took:.3?}. Image size: {} bytes.",
                    present.size
                );
                events.event(reference, EventType::Normal, "Pulled", text);
                Ok(present)
            }
            Some(Err(error)) => {
                let text = format!("Failed to pull image \"{image}\": {error}");
                events.event(reference, EventType::Warning, "Failed", text);
                events.event(
                    reference,
                    EventType::Warning,
                    "Failed",
                    "Error: ErrImagePull".to_owned(),
                );
                Err(ActionResult::PullFailed {
                    name,
                    image,
                    message: error.to_string(),
                })
            }
        }
    }
}

/// Makes the container share the process namespace of another container.
fn share_process_namespace(config: &mut pb::ContainerConfig, id: String) {
    let security = config
        .linux
        .as_mut()
        .and_then(|linux| linux.security_context.as_mut());
    if let Some(security) = security {
        let options = security.namespace_options.get_or_insert_default();
        options.pid = pb::NamespaceMode::Target.into();
        options.target_id = id;
    }
}

/// Lets containers of any user write their termination message.
fn create_writable_by_all(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    path.parent().map_or(Ok(()), files::private_dir)?;
    std::fs::write(path, b"")?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
}
