//! containerd's task service, as far as it is needed to run a command in a container and to hear of
//! container exits.
//!
//! The messages are written by hand. Their field numbers are those of containerd's stable v1
//! interface (`containerd.services.tasks.v1`, `containerd.services.containers.v1`).

use std::{path::Path, time::Duration};

use http::uri::PathAndQuery;
use tonic::{client::Grpc, metadata::MetadataValue, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{CriError, Result, client::channel};

/// The containerd namespace that CRI uses.
const NAMESPACE: &str = "k8s.io";
/// The type URL of an OCI process specification in an `Any`.
const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
/// Timeout of all calls except waiting for the end of a command.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The protobuf messages.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Empty {}

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct GetContainerRequest {
        #[prost(string, tag = "1")]
        pub(super) id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct GetContainerResponse {
        #[prost(message, optional, tag = "1")]
        pub(super) container: Option<Container>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Container {
        #[prost(message, optional, tag = "5")]
        pub(super) spec: Option<prost_types::Any>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExecRequest {
        #[prost(string, tag = "1")]
        pub(super) container_id: String,
        #[prost(string, tag = "2")]
        pub(super) stdin: String,
        #[prost(string, tag = "3")]
        pub(super) stdout: String,
        #[prost(string, tag = "4")]
        pub(super) stderr: String,
        #[prost(bool, tag = "5")]
        pub(super) terminal: bool,
        #[prost(message, optional, tag = "6")]
        pub(super) spec: Option<prost_types::Any>,
        #[prost(string, tag = "7")]
        pub(super) exec_id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct SubscribeRequest {
        #[prost(string, repeated, tag = "1")]
        pub(super) filters: Vec<String>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Envelope {
        #[prost(message, optional, tag = "4")]
        pub(super) event: Option<prost_types::Any>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TaskExit {
        #[prost(string, tag = "1")]
        pub(super) container_id: String,
        #[prost(string, tag = "2")]
        pub(super) id: String,
    }

    /// The request of Start, Wait and DeleteProcess.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExecRef {
        #[prost(string, tag = "1")]
        pub(super) container_id: String,
        #[prost(string, tag = "2")]
        pub(super) exec_id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct WaitResponse {
        #[prost(uint32, tag = "1")]
        pub(super) exit_status: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct KillRequest {
        #[prost(string, tag = "1")]
        pub(super) container_id: String,
        #[prost(string, tag = "2")]
        pub(super) exec_id: String,
        #[prost(uint32, tag = "3")]
        pub(super) signal: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ResizePtyRequest {
        #[prost(string, tag = "1")]
        pub(super) container_id: String,
        #[prost(string, tag = "2")]
        pub(super) exec_id: String,
        #[prost(uint32, tag = "3")]
        pub(super) width: u32,
        #[prost(uint32, tag = "4")]
        pub(super) height: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct CloseIoRequest {
        #[prost(string, tag = "1")]
        pub(super) container_id: String,
        #[prost(string, tag = "2")]
        pub(super) exec_id: String,
        #[prost(bool, tag = "3")]
        pub(super) stdin: bool,
    }
}

/// Paths of the named pipes for a command's streams; an empty path means that there is none.
#[derive(Debug, Clone, Default)]
pub struct Pipes {
    /// The command's standard input.
    pub stdin: String,
    /// The command's standard output.
    pub stdout: String,
    /// The command's standard error; unused with a terminal.
    pub stderr: String,
    /// Whether the command gets a terminal.
    pub terminal: bool,
}

/// A command that was started in a container.
#[derive(Debug, Clone)]
pub struct Exec {
    tasks: TaskService,
    container: String,
    id: String,
}

/// A client of containerd's task service. Clones share the connection.
#[derive(Debug, Clone)]
pub struct TaskService(Channel);

impl TaskService {
    /// A client of the containerd that listens at `socket`.
    ///
    /// # Errors
    /// If the path cannot be an address.
    pub fn new(socket: &Path) -> Result<Self> {
        channel(socket).map(Self)
    }

    /// The container's OCI runtime specification as JSON.
    ///
    /// # Errors
    /// If containerd does not know the container.
    pub async fn specification(&self, container: &str) -> Result<Vec<u8>> {
        let request = wire::GetContainerRequest {
            id: container.to_owned(),
        };
        let path = "/containerd.services.containers.v1.Containers/Get";
        let response: wire::GetContainerResponse = self.unary(path, request, Some(TIMEOUT)).await?;
        let spec = response.container.and_then(|container| container.spec);
        Ok(spec.ok_or(CriError::Incomplete("Containers/Get"))?.value)
    }

    /// Starts a command; `process` is its OCI process specification as JSON.
    ///
    /// # Errors
    /// If it cannot be started, with containerd's message.
    pub async fn exec(
        &self,
        container: &str,
        id: &str,
        process: Vec<u8>,
        pipes: Pipes,
    ) -> Result<Exec> {
        let request = wire::ExecRequest {
            container_id: container.to_owned(),
            stdin: pipes.stdin,
            stdout: pipes.stdout,
            stderr: pipes.stderr,
            terminal: pipes.terminal,
            spec: Some(prost_types::Any {
                type_url: PROCESS.to_owned(),
                value: process,
            }),
            exec_id: id.to_owned(),
        };
        let _: wire::Empty = self.task("Exec", request, Some(TIMEOUT)).await?;
        let exec = Exec {
            tasks: self.clone(),
            container: container.to_owned(),
            id: id.to_owned(),
        };
        match self
            .task::<_, wire::Empty>("Start", exec.reference(), Some(TIMEOUT))
            .await
        {
            Ok(_started) => Ok(exec),
            Err(error) => {
                // containerd keeps a record of the command although it never ran.
                let _ = exec.delete().await;
                Err(error)
            }
        }
    }

    /// Subscribes to container exits.
    ///
    /// # Errors
    /// If containerd cannot be reached.
    pub async fn exits(&self) -> Result<Exits> {
        let filters = vec![format!("topic==\"/tasks/exit\",namespace=={NAMESPACE}")];
        let request = tonic::Request::new(wire::SubscribeRequest { filters });
        let path = PathAndQuery::from_static("/containerd.services.events.v1.Events/Subscribe");
        let mut grpc = Grpc::new(self.0.clone());
        let subscribe = async move {
            grpc.ready()
                .await
                .map_err(|error| CriError::Unreachable(error.to_string()))?;
            let codec: ProstCodec<wire::SubscribeRequest, wire::Envelope> = ProstCodec::default();
            let response = grpc.server_streaming(request, path, codec).await?;
            Ok(Exits(response.into_inner()))
        };
        let subscribed = tokio::time::timeout(TIMEOUT, subscribe).await;
        subscribed.unwrap_or(Err(CriError::TimedOut {
            call: "Subscribe",
            after: TIMEOUT,
        }))
    }

    async fn task<Q, A>(&self, method: &str, request: Q, timeout: Option<Duration>) -> Result<A>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let path = format!("/containerd.services.tasks.v1.Tasks/{method}");
        self.unary(&path, request, timeout).await
    }

    async fn unary<Q, A>(&self, path: &str, request: Q, timeout: Option<Duration>) -> Result<A>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let path: PathAndQuery = path
            .parse()
            .map_err(|_| CriError::Incomplete("the path of the method"))?;
        let mut request = tonic::Request::new(request);
        let namespace = MetadataValue::from_static(NAMESPACE);
        request
            .metadata_mut()
            .insert("containerd-namespace", namespace);
        let mut grpc = Grpc::new(self.0.clone());
        let call = async move {
            grpc.ready()
                .await
                .map_err(|error| CriError::Unreachable(error.to_string()))?;
            let codec: ProstCodec<Q, A> = ProstCodec::default();
            Ok(grpc.unary(request, path, codec).await?.into_inner())
        };
        match timeout {
            None => call.await,
            Some(after) => match tokio::time::timeout(after, call).await {
                Ok(response) => response,
                Err(_elapsed) => Err(CriError::TimedOut {
                    call: "task",
                    after,
                }),
            },
        }
    }
}

/// A subscription to container exits.
#[derive(Debug)]
pub struct Exits(tonic::Streaming<wire::Envelope>);

impl Exits {
    /// Waits for the next exit and returns the container's id; `None` once the connection has
    /// ended.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let event = self.0.message().await.ok()??.event?;
            let exit: wire::TaskExit = prost::Message::decode(event.value.as_slice()).ok()?;
            // The exit of a command has an id of its own.
            if exit.id == exit.container_id {
                return Some(exit.id);
            }
        }
    }
}

impl Exec {
    fn reference(&self) -> wire::ExecRef {
        wire::ExecRef {
            container_id: self.container.clone(),
            exec_id: self.id.clone(),
        }
    }

    /// Waits for the command's end and returns its exit code.
    ///
    /// # Errors
    /// If the connection to containerd ends first.
    pub async fn wait(&self) -> Result<u32> {
        let response: wire::WaitResponse = self.tasks.task("Wait", self.reference(), None).await?;
        Ok(response.exit_status)
    }

    /// Deletes the record of an ended command. After that, all its output is in the pipes.
    ///
    /// # Errors
    /// If the command still runs.
    pub async fn delete(&self) -> Result<()> {
        let request = self.reference();
        let _: wire::Empty = self
            .tasks
            .task("DeleteProcess", request, Some(TIMEOUT))
            .await?;
        Ok(())
    }

    /// Sends a signal to the command.
    ///
    /// # Errors
    /// If the command has ended.
    pub async fn kill(&self, signal: u32) -> Result<()> {
        let request = wire::KillRequest {
            container_id: self.container.clone(),
            exec_id: self.id.clone(),
            signal,
        };
        let _: wire::Empty = self.tasks.task("Kill", request, Some(TIMEOUT)).await?;
        Ok(())
    }

    /// Sets the size of the command's terminal.
    ///
    /// # Errors
    /// If the command has ended or has no terminal.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let request = wire::ResizePtyRequest {
            container_id: self.container.clone(),
            exec_id: self.id.clone(),
            width,
            height,
        };
        let _: wire::Empty = self.tasks.task("ResizePty", request, Some(TIMEOUT)).await?;
        Ok(())
    }

    /// Closes the command's standard input.
    ///
    /// # Errors
    /// If the command has ended.
    pub async fn close_stdin(&self) -> Result<()> {
        let request = wire::CloseIoRequest {
            container_id: self.container.clone(),
            exec_id: self.id.clone(),
            stdin: true,
        };
        let _: wire::Empty = self.tasks.task("CloseIO", request, Some(TIMEOUT)).await?;
        Ok(())
    }
}
