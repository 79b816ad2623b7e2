//! The container runtime as the agent sees it: CRI v1 over a unix socket.
//!
//! [`Runtime`] is the seam. [`Containerd`] talks to a real runtime, [`Fake`] keeps containers in
//! memory for tests. [`Tasks`] is containerd's own interface below CRI; `exec` needs it, since CRI
//! only hands out the address of a streaming server that speaks a protocol older than WebSocket.

mod containerd;
mod error;
mod fake;
pub mod health;
pub mod pb;
mod runtime;
pub mod tasks;

pub use containerd::Containerd;
pub use error::{CriError, Result};
pub use fake::Fake;
pub use runtime::{ExecOutput, Reply, Runtime};
pub use tasks::Tasks;
