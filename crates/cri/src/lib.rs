//! Clients of the container runtime: CRI v1, and containerd's task service.
//!
//! The agent uses the trait [`Runtime`]. [`CriClient`] implements it for a runtime behind a Unix
//! socket, [`FakeRuntime`] in memory for tests. [`TaskService`] is containerd's own interface below
//! CRI; `exec` needs it, since CRI only returns the URL of a streaming server that speaks SPDY.

mod client;
mod error;
mod fake;
pub mod health;
pub mod pb;
mod runtime;
pub mod tasks;

pub use client::CriClient;
pub use error::{CriError, Result};
pub use fake::FakeRuntime;
pub use runtime::{ExecOutput, Reply, Runtime};
pub use tasks::TaskService;
