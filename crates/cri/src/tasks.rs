//! containerd's task service, as far as running a command in a container needs it.
//!
//! The messages are written by hand: seven small ones, whose field numbers are containerd's stable
//! v1 interface (`containerd.services.tasks.v1`, `containerd.services.containers.v1`).

use std::{path::Path, time::Duration};

use http::uri::PathAndQuery;
use tonic::{client::Grpc, metadata::MetadataValue, transport::Channel};
use tonic_prost::ProstCodec;

use crate::{CriError, Result, containerd::channel};

/// The containerd namespace that holds what CRI made.
const NAMESPACE: &str = "k8s.io";
/// What the runtime's process specification is called inside an `Any`.
const PROCESS: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const LIMIT: Duration = Duration::from_secs(30);

/// The messages on the wire.
mod wire {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Empty {}

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct GetContainer {
        #[prost(string, tag = "1")]
        pub(super) id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct GotContainer {
        #[prost(message, optional, tag = "1")]
        pub(super) container: Option<Container>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Container {
        #[prost(message, optional, tag = "5")]
        pub(super) spec: Option<prost_types::Any>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Exec {
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
    pub(super) struct Subscribe {
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

    /// Start, Wait and Delete of an exec all take this shape.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ExecRef {
        #[prost(string, tag = "1")]
        pub(super) container_id: String,
        #[prost(string, tag = "2")]
        pub(super) exec_id: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Waited {
        #[prost(uint32, tag = "1")]
        pub(super) exit_status: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Kill {
        #[prost(string, tag = "1")]
        pub(super) container_id: String,
        #[prost(string, tag = "2")]
        pub(super) exec_id: String,
        #[prost(uint32, tag = "3")]
        pub(super) signal: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Resize {
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
    pub(super) struct CloseIo {
        #[prost(string, tag = "1")]
        pub(super) container_id: String,
        #[prost(string, tag = "2")]
        pub(super) exec_id: String,
        #[prost(bool, tag = "3")]
        pub(super) stdin: bool,
    }
}

/// Named pipes that carry a command's streams; an empty path means "none".
#[derive(Debug, Clone, Default)]
pub struct Pipes {
    /// What the command reads.
    pub stdin: String,
    /// What the command prints.
    pub stdout: String,
    /// What the command complains about; unused with a terminal.
    pub stderr: String,
    /// Whether the command gets a terminal.
    pub terminal: bool,
}

/// One command in a container.
#[derive(Debug, Clone)]
pub struct Exec {
    tasks: Tasks,
    container: String,
    id: String,
}

/// A client of containerd's task service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks(Channel);

impl Tasks {
    /// A client of the containerd that listens at `socket`.
    ///
    /// # Errors
    /// When the path cannot be an address.
    pub fn new(socket: &Path) -> Result<Self> {
        channel(socket).map(Self)
    }

    /// The container's OCI specification as JSON.
    ///
    /// # Errors
    /// When containerd does not know the container.
    pub async fn specification(&self, container: &str) -> Result<Vec<u8>> {
        let request = wire::GetContainer {
            id: container.to_owned(),
        };
        let path = "/containerd.services.containers.v1.Containers/Get";
        let answer: wire::GotContainer = self.unary(path, request, Some(LIMIT)).await?;
        let spec = answer.container.and_then(|container| container.spec);
        Ok(spec.ok_or(CriError::Incomplete("Containers/Get"))?.value)
    }

    /// Starts a command; `process` is its OCI process specification as JSON.
    ///
    /// # Errors
    /// When it cannot be started, in the runtime's words.
    pub async fn exec(
        &self,
        container: &str,
        id: &str,
        process: Vec<u8>,
        pipes: Pipes,
    ) -> Result<Exec> {
        let request = wire::Exec {
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
        let _: wire::Empty = self.task("Exec", request, Some(LIMIT)).await?;
        let exec = Exec {
            tasks: self.clone(),
            container: container.to_owned(),
            id: id.to_owned(),
        };
        match self
            .task::<_, wire::Empty>("Start", exec.reference(), Some(LIMIT))
            .await
        {
            Ok(_started) => Ok(exec),
            Err(error) => {
                // The record of a command that never ran is of no use.
                let _ = exec.delete().await;
                Err(error)
            }
        }
    }

    /// Follows the ends of containers.
    ///
    /// # Errors
    /// When containerd is away.
    pub async fn exits(&self) -> Result<Exits> {
        let filters = vec![format!("topic==\"/tasks/exit\",namespace=={NAMESPACE}")];
        let request = tonic::Request::new(wire::Subscribe { filters });
        let path = PathAndQuery::from_static("/containerd.services.events.v1.Events/Subscribe");
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready()
            .await
            .map_err(|error| CriError::Unreachable(error.to_string()))?;
        let codec: ProstCodec<wire::Subscribe, wire::Envelope> = ProstCodec::default();
        let answer = grpc.server_streaming(request, path, codec).await?;
        Ok(Exits(answer.into_inner()))
    }

    async fn task<Q, A>(&self, method: &str, request: Q, limit: Option<Duration>) -> Result<A>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let path = format!("/containerd.services.tasks.v1.Tasks/{method}");
        self.unary(&path, request, limit).await
    }

    async fn unary<Q, A>(&self, path: &str, request: Q, limit: Option<Duration>) -> Result<A>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let path: PathAndQuery = path
            .parse()
            .map_err(|_| CriError::Incomplete("the method's path"))?;
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
        match limit {
            None => call.await,
            Some(after) => match tokio::time::timeout(after, call).await {
                Ok(answer) => answer,
                Err(_elapsed) => Err(CriError::TimedOut {
                    call: "task",
                    after,
                }),
            },
        }
    }
}

/// Ends of containers, as they happen.
#[derive(Debug)]
pub struct Exits(tonic::Streaming<wire::Envelope>);

impl Exits {
    /// Waits for the next one and yields its container; `None` when containerd is gone.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let event = self.0.message().await.ok()??.event?;
            let exit: wire::TaskExit = prost::Message::decode(event.value.as_slice()).ok()?;
            // Commands run in containers end too; theirs is another id.
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

    /// Waits for the command's end; yields the exit code.
    ///
    /// # Errors
    /// When containerd goes away meanwhile.
    pub async fn wait(&self) -> Result<u32> {
        let answer: wire::Waited = self.tasks.task("Wait", self.reference(), None).await?;
        Ok(answer.exit_status)
    }

    /// Forgets the ended command, after everything it printed has been written to the pipes.
    ///
    /// # Errors
    /// When the command still runs.
    pub async fn delete(&self) -> Result<()> {
        let request = self.reference();
        let _: wire::Empty = self
            .tasks
            .task("DeleteProcess", request, Some(LIMIT))
            .await?;
        Ok(())
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the command has ended.
    pub async fn kill(&self, signal: u32) -> Result<()> {
        let request = wire::Kill {
            container_id: self.container.clone(),
            exec_id: self.id.clone(),
            signal,
        };
        let _: wire::Empty = self.tasks.task("Kill", request, Some(LIMIT)).await?;
        Ok(())
    }

    /// Sets the terminal's size.
    ///
    /// # Errors
    /// When the command has ended or has no terminal.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        let request = wire::Resize {
            container_id: self.container.clone(),
            exec_id: self.id.clone(),
            width,
            height,
        };
        let _: wire::Empty = self.tasks.task("ResizePty", request, Some(LIMIT)).await?;
        Ok(())
    }

    /// Ends the command's standard input.
    ///
    /// # Errors
    /// When the command has ended.
    pub async fn close_stdin(&self) -> Result<()> {
        let request = wire::CloseIo {
            container_id: self.container.clone(),
            exec_id: self.id.clone(),
            stdin: true,
        };
        let _: wire::Empty = self.tasks.task("CloseIO", request, Some(LIMIT)).await?;
        Ok(())
    }
}
