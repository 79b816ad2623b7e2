//! A real runtime behind a unix socket: containerd, or any other that speaks CRI v1.

use std::{collections::BTreeMap, path::Path, time::Duration};

use tonic::transport::{Channel, Endpoint};

use crate::{
    CriError, ExecOutput, Reply, Result, Runtime,
    pb::{
        self, image_service_client::ImageServiceClient,
        runtime_service_client::RuntimeServiceClient,
    },
};

/// Calls that only look. A healthy runtime answers in milliseconds.
const LOOK: Duration = Duration::from_secs(30);
/// Calls that change something: kubelet's default for all runtime calls.
const CHANGE: Duration = Duration::from_secs(120);
/// A large image over a slow line takes long; the runtime itself gives up on a stalled pull.
const PULL: Duration = Duration::from_secs(3600);
/// How much longer than the grace period a stop may take.
const AFTER_GRACE: Duration = Duration::from_secs(120);
/// The answers to `exec_sync` may be this large (the runtime cuts at 16 MiB itself).
const MAX_MESSAGE: usize = 20 << 20;

/// A client of a CRI runtime. Cheap to clone; connects when first used and again after a loss.
#[derive(Debug, Clone)]
pub struct Containerd {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl Containerd {
    /// A client of the runtime that listens at `socket`.
    ///
    /// # Errors
    /// When the path cannot be an address. That nobody listens shows with the first call.
    pub fn new(socket: &Path) -> Result<Self> {
        let channel = channel(socket)?;
        let runtime =
            RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        let images = ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        Ok(Self { runtime, images })
    }
}

/// A lazily connected channel to a unix socket.
pub(crate) fn channel(socket: &Path) -> Result<Channel> {
    let address = format!("unix://{}", socket.display());
    let endpoint = Endpoint::try_from(address)
        .map_err(|error| CriError::Unreachable(format!("{}: {error}", socket.display())))?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(5))
        .connect_lazy())
}

/// Runs one call under its timeout and keeps only the message of the answer.
async fn call<T>(
    name: &'static str,
    after: Duration,
    future: impl Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T> {
    match tokio::time::timeout(after, future).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_elapsed) => Err(CriError::TimedOut { call: name, after }),
    }
}

fn missing_is_fine<T>(result: Result<T>) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// One CRI call: the client to clone, the method, its limit and the request.
macro_rules! cri {
    ($client:expr, $method:ident, $after:expr, $request:expr) => {{
        let mut client = $client.clone();
        let request = $request;
        call(stringify!($method), $after, async move {
            client.$method(request).await
        })
    }};
}

impl Runtime for Containerd {
    fn version(&self) -> Reply<'_, pb::VersionResponse> {
        let request = pb::VersionRequest {
            version: "v1".into(),
        };
        Box::pin(cri!(self.runtime, version, Duration::from_secs(5), request))
    }

    fn status(&self) -> Reply<'_, pb::RuntimeStatus> {
        Box::pin(async move {
            let request = pb::StatusRequest { verbose: false };
            let answer = cri!(self.runtime, status, LOOK, request).await?;
            answer.status.ok_or(CriError::Incomplete("Status"))
        })
    }

    fn run_sandbox(&self, config: pb::PodSandboxConfig) -> Reply<'_, String> {
        Box::pin(async move {
            let request = pb::RunPodSandboxRequest {
                config: Some(config),
                runtime_handler: String::new(),
            };
            Ok(cri!(self.runtime, run_pod_sandbox, CHANGE * 2, request)
                .await?
                .pod_sandbox_id)
        })
    }

    fn stop_sandbox<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = pb::StopPodSandboxRequest {
                pod_sandbox_id: id.to_owned(),
            };
            missing_is_fine(cri!(self.runtime, stop_pod_sandbox, CHANGE, request).await)
        })
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = pb::RemovePodSandboxRequest {
                pod_sandbox_id: id.to_owned(),
            };
            missing_is_fine(cri!(self.runtime, remove_pod_sandbox, CHANGE, request).await)
        })
    }

    fn sandbox_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::PodSandboxStatus> {
        Box::pin(async move {
            let request = pb::PodSandboxStatusRequest {
                pod_sandbox_id: id.to_owned(),
                verbose: false,
            };
            let answer = cri!(self.runtime, pod_sandbox_status, LOOK, request).await?;
            answer
                .status
                .ok_or(CriError::Incomplete("PodSandboxStatus"))
        })
    }

    fn list_sandboxes(&self, labels: BTreeMap<String, String>) -> Reply<'_, Vec<pb::PodSandbox>> {
        Box::pin(async move {
            let label_selector = labels.into_iter().collect();
            let filter = pb::PodSandboxFilter {
                label_selector,
                ..Default::default()
            };
            let request = pb::ListPodSandboxRequest {
                filter: Some(filter),
            };
            Ok(cri!(self.runtime, list_pod_sandbox, LOOK, request)
                .await?
                .items)
        })
    }

    fn create_container(
        &self,
        sandbox: String,
        config: pb::ContainerConfig,
        sandbox_config: pb::PodSandboxConfig,
    ) -> Reply<'_, String> {
        Box::pin(async move {
            let request = pb::CreateContainerRequest {
                pod_sandbox_id: sandbox,
                config: Some(config),
                sandbox_config: Some(sandbox_config),
            };
            Ok(cri!(self.runtime, create_container, CHANGE, request)
                .await?
                .container_id)
        })
    }

    fn start_container<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = pb::StartContainerRequest {
                container_id: id.to_owned(),
            };
            cri!(self.runtime, start_container, CHANGE, request)
                .await
                .map(|_| ())
        })
    }

    fn stop_container<'a>(&'a self, id: &'a str, grace: Duration) -> Reply<'a, ()> {
        Box::pin(async move {
            let timeout = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
            let request = pb::StopContainerRequest {
                container_id: id.to_owned(),
                timeout,
            };
            let after = grace.saturating_add(AFTER_GRACE);
            missing_is_fine(cri!(self.runtime, stop_container, after, request).await)
        })
    }

    fn remove_container<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = pb::RemoveContainerRequest {
                container_id: id.to_owned(),
            };
            missing_is_fine(cri!(self.runtime, remove_container, CHANGE, request).await)
        })
    }

    fn container_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::ContainerStatus> {
        Box::pin(async move {
            let request = pb::ContainerStatusRequest {
                container_id: id.to_owned(),
                verbose: false,
            };
            let answer = cri!(self.runtime, container_status, LOOK, request).await?;
            answer.status.ok_or(CriError::Incomplete("ContainerStatus"))
        })
    }

    fn list_containers(&self, labels: BTreeMap<String, String>) -> Reply<'_, Vec<pb::Container>> {
        Box::pin(async move {
            let label_selector = labels.into_iter().collect();
            let filter = pb::ContainerFilter {
                label_selector,
                ..Default::default()
            };
            let request = pb::ListContainersRequest {
                filter: Some(filter),
            };
            Ok(cri!(self.runtime, list_containers, LOOK, request)
                .await?
                .containers)
        })
    }

    fn reopen_log<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = pb::ReopenContainerLogRequest {
                container_id: id.to_owned(),
            };
            cri!(self.runtime, reopen_container_log, LOOK, request)
                .await
                .map(|_| ())
        })
    }

    fn list_stats(&self) -> Reply<'_, Vec<pb::ContainerStats>> {
        Box::pin(async move {
            let request = pb::ListContainerStatsRequest { filter: None };
            Ok(cri!(self.runtime, list_container_stats, LOOK, request)
                .await?
                .stats)
        })
    }

    fn exec_sync<'a>(
        &'a self,
        id: &'a str,
        command: Vec<String>,
        timeout: Duration,
    ) -> Reply<'a, ExecOutput> {
        Box::pin(async move {
            // Whole seconds, and 0 would mean "without a limit".
            let seconds = timeout.as_secs().max(1);
            let request = pb::ExecSyncRequest {
                container_id: id.to_owned(),
                cmd: command,
                timeout: i64::try_from(seconds).unwrap_or(i64::MAX),
            };
            let after = Duration::from_secs(seconds).saturating_add(Duration::from_secs(5));
            let answer = cri!(self.runtime, exec_sync, after, request).await?;
            Ok(ExecOutput {
                stdout: answer.stdout,
                stderr: answer.stderr,
                exit_code: answer.exit_code,
            })
        })
    }

    fn exec_url(&self, request: pb::ExecRequest) -> Reply<'_, String> {
        Box::pin(async move { Ok(cri!(self.runtime, exec, LOOK, request).await?.url) })
    }

    fn attach_url(&self, request: pb::AttachRequest) -> Reply<'_, String> {
        Box::pin(async move { Ok(cri!(self.runtime, attach, LOOK, request).await?.url) })
    }

    fn port_forward_url(&self, request: pb::PortForwardRequest) -> Reply<'_, String> {
        Box::pin(async move { Ok(cri!(self.runtime, port_forward, LOOK, request).await?.url) })
    }

    fn pull_image(&self, image: String, auth: Option<pb::AuthConfig>) -> Reply<'_, String> {
        Box::pin(async move {
            let request = pb::PullImageRequest {
                image: Some(spec(image)),
                auth,
                sandbox_config: None,
            };
            Ok(cri!(self.images, pull_image, PULL, request)
                .await?
                .image_ref)
        })
    }

    fn image(&self, name: String) -> Reply<'_, Option<pb::Image>> {
        Box::pin(async move {
            let request = pb::ImageStatusRequest {
                image: Some(spec(name)),
                verbose: false,
            };
            Ok(cri!(self.images, image_status, LOOK, request).await?.image)
        })
    }

    fn list_images(&self) -> Reply<'_, Vec<pb::Image>> {
        Box::pin(async move {
            let request = pb::ListImagesRequest { filter: None };
            Ok(cri!(self.images, list_images, LOOK, request).await?.images)
        })
    }

    fn remove_image(&self, name: String) -> Reply<'_, ()> {
        Box::pin(async move {
            let request = pb::RemoveImageRequest {
                image: Some(spec(name)),
            };
            missing_is_fine(cri!(self.images, remove_image, CHANGE, request).await)
        })
    }
}

fn spec(image: String) -> pb::ImageSpec {
    pb::ImageSpec {
        image,
        ..Default::default()
    }
}
