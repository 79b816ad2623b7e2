//! The client of a runtime that speaks CRI v1 over a Unix socket, such as containerd.

use std::{collections::BTreeMap, path::Path, pin::Pin, time::Duration};

use tonic::transport::{Channel, Endpoint};

use crate::{
    CriError, ExecOutput, Reply, Result, Runtime,
    pb::{
        self, image_service_client::ImageServiceClient,
        runtime_service_client::RuntimeServiceClient,
    },
};

/// Timeout of calls that change nothing. A healthy runtime responses in milliseconds.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout of calls that change something: the kubelet's default for all runtime calls.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(120);
/// Timeout of a pull. A large image over a slow network takes long; the runtime itself gives up on
/// a pull that makes no progress.
const PULL_TIMEOUT: Duration = Duration::from_secs(3600);
/// How much longer than the grace period stopping a container may take.
const STOP_MARGIN: Duration = Duration::from_secs(120);
/// Largest response in bytes. containerd cuts the output of `ExecSync` at 16 MiB.
const MAX_MESSAGE: usize = 20 << 20;

/// A client of a CRI runtime. Clones share the connection, which is made by the first call and made
/// again after it was lost.
#[derive(Debug, Clone)]
pub struct CriClient {
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl CriClient {
    /// A client of the runtime that listens at `socket`.
    ///
    /// # Errors
    /// If the path cannot be an address. Whether a runtime listens there only the first call shows.
    pub fn new(socket: &Path) -> Result<Self> {
        let channel = channel(socket)?;
        let runtime =
            RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE);
        let images = ImageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        Ok(Self { runtime, images })
    }
}

/// A channel to a Unix socket that connects with the first call.
pub(crate) fn channel(socket: &Path) -> Result<Channel> {
    let address = format!("unix://{}", socket.display());
    let endpoint = Endpoint::try_from(address)
        .map_err(|error| CriError::Unreachable(format!("{}: {error}", socket.display())))?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(5))
        .connect_lazy())
}

/// Runs one call with a timeout and returns the message of the response.
async fn call<T>(
    name: &'static str,
    after: Duration,
    future: Pin<Box<impl Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>>>,
) -> Result<T> {
    match tokio::time::timeout(after, future).await {
        Ok(response) => Ok(response?.into_inner()),
        Err(_elapsed) => Err(CriError::TimedOut { call: name, after }),
    }
}

fn allow_not_found<T>(result: Result<T>) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// One CRI call: the client to clone, the method, its timeout and the request.
macro_rules! cri {
    ($client:expr, $method:ident, $after:expr, $request:expr) => {{
        let mut client = $client.clone();
        let request = $request;
        // Boxed, as the layers above would hold it several times.
        let future = Box::pin(async move { client.$method(request).await });
        call(stringify!($method), $after, future)
    }};
}

impl Runtime for CriClient {
    fn version(&self) -> Reply<'_, pb::VersionResponse> {
        let request = pb::VersionRequest {
            version: "v1".into(),
        };
        Box::pin(cri!(self.runtime, version, Duration::from_secs(5), request))
    }

    fn status(&self) -> Reply<'_, pb::RuntimeStatus> {
        Box::pin(async move {
            let request = pb::StatusRequest { verbose: false };
            let response = cri!(self.runtime, status, READ_TIMEOUT, request).await?;
            response.status.ok_or(CriError::Incomplete("Status"))
        })
    }

    fn run_sandbox(&self, config: pb::PodSandboxConfig) -> Reply<'_, String> {
        Box::pin(async move {
            let request = pb::RunPodSandboxRequest {
                config: Some(config),
                runtime_handler: String::new(),
            };
            Ok(
                cri!(self.runtime, run_pod_sandbox, CHANGE_TIMEOUT * 2, request)
                    .await?
                    .pod_sandbox_id,
            )
        })
    }

    fn stop_sandbox<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = pb::StopPodSandboxRequest {
                pod_sandbox_id: id.to_owned(),
            };
            allow_not_found(cri!(self.runtime, stop_pod_sandbox, CHANGE_TIMEOUT, request).await)
        })
    }

    fn remove_sandbox<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = pb::RemovePodSandboxRequest {
                pod_sandbox_id: id.to_owned(),
            };
            allow_not_found(cri!(self.runtime, remove_pod_sandbox, CHANGE_TIMEOUT, request).await)
        })
    }

    fn sandbox_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::PodSandboxStatus> {
        Box::pin(async move {
            let request = pb::PodSandboxStatusRequest {
                pod_sandbox_id: id.to_owned(),
                verbose: false,
            };
            let response = cri!(self.runtime, pod_sandbox_status, READ_TIMEOUT, request).await?;
            response
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
            Ok(cri!(self.runtime, list_pod_sandbox, READ_TIMEOUT, request)
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
            Ok(
                cri!(self.runtime, create_container, CHANGE_TIMEOUT, request)
                    .await?
                    .container_id,
            )
        })
    }

    fn start_container<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = pb::StartContainerRequest {
                container_id: id.to_owned(),
            };
            cri!(self.runtime, start_container, CHANGE_TIMEOUT, request)
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
            let after = grace.saturating_add(STOP_MARGIN);
            allow_not_found(cri!(self.runtime, stop_container, after, request).await)
        })
    }

    fn remove_container<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = pb::RemoveContainerRequest {
                container_id: id.to_owned(),
            };
            allow_not_found(cri!(self.runtime, remove_container, CHANGE_TIMEOUT, request).await)
        })
    }

    fn container_status<'a>(&'a self, id: &'a str) -> Reply<'a, pb::ContainerStatus> {
        Box::pin(async move {
            let request = pb::ContainerStatusRequest {
                container_id: id.to_owned(),
                verbose: false,
            };
            let response = cri!(self.runtime, container_status, READ_TIMEOUT, request).await?;
            response
                .status
                .ok_or(CriError::Incomplete("ContainerStatus"))
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
            Ok(cri!(self.runtime, list_containers, READ_TIMEOUT, request)
                .await?
                .containers)
        })
    }

    fn reopen_log<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let request = pb::ReopenContainerLogRequest {
                container_id: id.to_owned(),
            };
            cri!(self.runtime, reopen_container_log, READ_TIMEOUT, request)
                .await
                .map(|_| ())
        })
    }

    fn list_stats(&self) -> Reply<'_, Vec<pb::ContainerStats>> {
        Box::pin(async move {
            let request = pb::ListContainerStatsRequest { filter: None };
            Ok(
                cri!(self.runtime, list_container_stats, READ_TIMEOUT, request)
                    .await?
                    .stats,
            )
        })
    }

    fn exec_sync<'a>(
        &'a self,
        id: &'a str,
        command: Vec<String>,
        timeout: Duration,
    ) -> Reply<'a, ExecOutput> {
        Box::pin(async move {
            // The field has whole seconds, and 0 means "no timeout".
            let seconds = timeout.as_secs().max(1);
            let request = pb::ExecSyncRequest {
                container_id: id.to_owned(),
                cmd: command,
                timeout: i64::try_from(seconds).unwrap_or(i64::MAX),
            };
            let after = Duration::from_secs(seconds).saturating_add(Duration::from_secs(5));
            let response = cri!(self.runtime, exec_sync, after, request).await?;
            Ok(ExecOutput {
                stdout: response.stdout,
                stderr: response.stderr,
                exit_code: response.exit_code,
            })
        })
    }

    fn exec_url(&self, request: pb::ExecRequest) -> Reply<'_, String> {
        Box::pin(async move { Ok(cri!(self.runtime, exec, READ_TIMEOUT, request).await?.url) })
    }

    fn attach_url(&self, request: pb::AttachRequest) -> Reply<'_, String> {
        Box::pin(async move { Ok(cri!(self.runtime, attach, READ_TIMEOUT, request).await?.url) })
    }

    fn port_forward_url(&self, request: pb::PortForwardRequest) -> Reply<'_, String> {
        Box::pin(async move {
            Ok(cri!(self.runtime, port_forward, READ_TIMEOUT, request)
                .await?
                .url)
        })
    }

    fn pull_image(&self, image: String, auth: Option<pb::AuthConfig>) -> Reply<'_, String> {
        Box::pin(async move {
            let request = pb::PullImageRequest {
                image: Some(spec(image)),
                auth,
                sandbox_config: None,
            };
            Ok(cri!(self.images, pull_image, PULL_TIMEOUT, request)
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
            Ok(cri!(self.images, image_status, READ_TIMEOUT, request)
                .await?
                .image)
        })
    }
}

fn spec(image: String) -> pb::ImageSpec {
    pb::ImageSpec {
        image,
        ..Default::default()
    }
}
