//! Making and starting sandboxes and containers.

use std::sync::Arc;

use futures::lock::Mutex;
use k8s_openapi::api::core::v1::Container;
use pandaemon_cri::{CriError, pb};
use tokio_util::sync::CancellationToken;

use super::{
    PodRef,
    act::Outcome,
    container::{Recipe, hosts_file, termination_log},
    env::Surroundings,
    hooks::{self, Target},
    inputs::Snapshot,
    resources,
    sandbox::{self, CONTAINER_NAME, POD_UID},
};
use crate::{
    api::events,
    context::Context,
    files,
    images::{ImageError, Present, PullPolicy, name},
    logs,
    volumes::{self, Volumes},
};

/// Everything that starting needs; a copy is taken for each action.
#[derive(Clone)]
pub(crate) struct Starter {
    /// The agent.
    pub context: Arc<Context>,
    /// The pod.
    pub pod: Arc<PodRef>,
    /// Config maps and secrets as known now.
    pub inputs: Arc<Snapshot>,
    /// The node and the sandbox.
    pub around: Surroundings,
    /// Volumes of one pod are prepared by one at a time.
    pub volumes: Arc<Mutex<()>>,
    /// Ends a pull whose pod goes away.
    pub cancel: CancellationToken,
}

/// Why a container did not start: the waiting reason and the words.
struct Refused {
    reason: &'static str,
    message: String,
}

fn refused(reason: &'static str) -> impl Fn(String) -> Refused {
    move |message| Refused { reason, message }
}

impl Starter {
    /// Makes volumes and control group, then the sandbox.
    pub(crate) async fn sandbox(&self, attempt: u32) -> Outcome {
        let about = events::subject(&self.pod.object, None);
        if let Err(message) = self.prepare().await {
            self.context
                .events
                .warning(&about, "FailedMount", message.clone());
            return Outcome::SandboxFailed(message);
        }
        match self.make_sandbox(attempt).await {
            Ok(_id) => Outcome::SandboxMade,
            Err(message) => {
                let message = format!("Failed to create pod sandbox: {message}");
                let events = &self.context.events;
                events.warning(&about, "FailedCreatePodSandBox", message.clone());
                Outcome::SandboxFailed(message)
            }
        }
    }

    async fn make_sandbox(&self, attempt: u32) -> Result<String, String> {
        let (context, pod) = (&self.context, &self.pod);
        let group = context.cgroups.pod(&pod.uid, resources::qos(pod));
        context
            .cgroups
            .create(&group, resources::pod(pod))
            .map_err(|error| format!("make control group {group}: {error}"))?;
        let logs = context.paths.pod_logs(&pod.namespace, &pod.name, &pod.uid);
        std::fs::create_dir_all(&logs)
            .map_err(|error| format!("make {}: {error}", logs.display()))?;
        let config = sandbox::config(context, pod, attempt);
        context
            .runtime
            .run_sandbox(config)
            .await
            .map_err(|error| error.to_string())
    }

    /// Makes the pod's volumes what they should be.
    ///
    /// # Errors
    /// The kubelet's words about the first that cannot be.
    pub(crate) async fn prepare(&self) -> Result<Volumes, String> {
        let _alone = self.volumes.lock().await;
        let made = volumes::prepare(&self.context, &self.pod, &self.inputs, &self.around).await;
        if let Ok(_volumes) = &made {
            let path = hosts_file(&self.context, &self.pod);
            sandbox::write_hosts(&path, &self.pod, &self.around.pod_ips)
                .map_err(|error| format!("write {}: {error}", path.display()))?;
        }
        made
    }

    /// Pulls, makes and starts a container, and runs its postStart hook.
    pub(crate) async fn container(&self, sandbox: String, name: String, attempt: u32) -> Outcome {
        let Some((container, init)) = self.pod.container(&name) else {
            return Outcome::Nothing;
        };
        let about = events::subject(&self.pod.object, Some((&name, init)));
        let image = match self.image(container, &about).await {
            Ok(image) => image,
            Err(outcome) => return outcome,
        };
        let started = self
            .create_and_start(&sandbox, container, attempt, &image, &about)
            .await;
        match started {
            Err(Refused { reason, message }) => {
                self.context
                    .events
                    .warning(&about, "Failed", format!("Error: {message}"));
                Outcome::Failed {
                    name,
                    reason,
                    message,
                }
            }
            Ok(id) => {
                self.post_start(container, &id, &about).await;
                Outcome::Started { name }
            }
        }
    }

    async fn create_and_start(
        &self,
        sandbox: &str,
        container: &Container,
        attempt: u32,
        image: &Present,
        about: &k8s_openapi::api::core::v1::ObjectReference,
    ) -> Result<String, Refused> {
        let (context, pod, name) = (&self.context, &self.pod, container.name.as_str());
        let volumes = self
            .prepare()
            .await
            .map_err(refused("CreateContainerConfigError"))?;
        let recipe = Recipe {
            context,
            pod,
            container,
            attempt,
            image,
            volumes: &volumes,
            inputs: &self.inputs,
            around: &self.around,
        };
        let mut config = recipe
            .config()
            .map_err(refused("CreateContainerConfigError"))?;
        if let Some(target) = pod.target(name) {
            let id = self.running(target).await;
            let id = id.map_err(refused("CreateContainerConfigError"))?;
            see_processes_of(&mut config, id);
        }
        let words = termination_log(context, pod, name, attempt);
        let log = context
            .paths
            .pod_logs(&pod.namespace, &pod.name, &pod.uid)
            .join(name);
        files::replace(&words, b"", 0o666)
            .and_then(|()| open_to_all(&words))
            .and_then(|()| std::fs::create_dir_all(log))
            .map_err(|error| refused("CreateContainerError")(error.to_string()))?;
        let sandbox_config = sandbox::config(context, pod, 0);
        let id = context
            .runtime
            .create_container(sandbox.to_owned(), config, sandbox_config)
            .await
            .map_err(|error| refused("CreateContainerError")(words_of(&error)))?;
        context
            .events
            .normal(about, "Created", format!("Created container: {name}"));
        logs::link(context, pod, name, &id, attempt);
        context
            .runtime
            .start_container(&id)
            .await
            .map_err(|error| refused("RunContainerError")(words_of(&error)))?;
        context
            .events
            .normal(about, "Started", format!("Started container {name}"));
        Ok(id)
    }

    /// The runtime's id of a container of this pod that runs.
    async fn running(&self, name: &str) -> Result<String, String> {
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
        about: &k8s_openapi::api::core::v1::ObjectReference,
    ) {
        let hook = container
            .lifecycle
            .as_ref()
            .and_then(|one| one.post_start.as_ref());
        let Some(hook) = hook else { return };
        let ip = self.around.pod_ips.first().and_then(|ip| ip.parse().ok());
        let target = Target {
            id: id.to_owned(),
            ip: ip.unwrap_or(self.context.address),
        };
        if let Err(message) = hooks::run(&self.context, &target, container, hook).await {
            let events = &self.context.events;
            events.warning(
                about,
                "FailedPostStartHook",
                format!("PostStartHook failed: {message}"),
            );
            events.normal(about, "Killing", "FailedPostStartHook".to_owned());
            let grace = u64::try_from(self.pod.grace_seconds()).unwrap_or(30);
            let stop = self
                .context
                .runtime
                .stop_container(id, std::time::Duration::from_secs(grace));
            if let Err(error) = stop.await {
                tracing::warn!(%error, "stop a container whose postStart hook failed");
            }
        }
    }

    /// The container's image, pulled if need be.
    async fn image(
        &self,
        container: &Container,
        about: &k8s_openapi::api::core::v1::ObjectReference,
    ) -> Result<Present, Outcome> {
        let (name, events) = (container.name.clone(), &self.context.events);
        let image = container.image.clone().unwrap_or_default();
        let failed = |reason: &'static str, message: String| {
            let words = match reason {
                "InvalidImageName" => format!("Failed to apply default image tag: {message}"),
                _ => message.clone(),
            };
            events.warning(about, "Failed", words);
            Outcome::Failed {
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
                    events.normal(about, "Pulled", text);
                    Ok(present)
                }
                None => {
                    let error = ImageError::NeverPull(image);
                    Err(failed("ErrImageNeverPull", error.to_string()))
                }
            };
        }
        events.normal(about, "Pulling", format!("Pulling image \"{image}\""));
        let secrets = self.inputs.pull_secrets(&self.pod);
        let pull = self.context.images.pull(&image, &secrets);
        match self.cancel.run_until_cancelled(pull).await {
            None => Err(Outcome::Nothing),
            Some(Ok(present)) => {
                let took = present.pulled.unwrap_or_default();
                let text = format!(
                    "Successfully pulled image \"{image}\" in {took:.3?}. Image size: {} bytes.",
                    present.size
                );
                events.normal(about, "Pulled", text);
                Ok(present)
            }
            Some(Err(error)) => {
                let text = format!("Failed to pull image \"{image}\": {error}");
                events.warning(about, "Failed", text);
                events.warning(about, "Failed", "Error: ErrImagePull".to_owned());
                Err(Outcome::PullFailed {
                    name,
                    image,
                    message: error.to_string(),
                })
            }
        }
    }
}

/// Puts a container among the processes of another one.
fn see_processes_of(config: &mut pb::ContainerConfig, id: String) {
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

fn words_of(error: &CriError) -> String {
    error.message()
}

/// Containers of any user may write their last words.
fn open_to_all(path: &std::path::Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))
}
