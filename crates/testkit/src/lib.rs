//! Helpers of tests and of the demo: container images made from Debian packages, a cluster of real
//! nodes that is controlled through the `pandaemon` program and kubectl, the log of a test and what
//! must not be in it, and (feature `server`) an API server in the process of a test, with parties
//! that send requests to it and to agents.

pub mod client_hello;
pub mod cluster;
pub mod disk;
pub mod environment;
pub mod fixtures;
pub mod images;
#[cfg(feature = "server")]
pub mod join;
pub mod kubectl;
pub mod leaks;
#[cfg(feature = "server")]
pub mod parties;
pub mod rights;
#[cfg(feature = "server")]
pub mod rights_table;
#[cfg(feature = "server")]
pub mod server;
pub mod server_process;
pub mod skip;
pub mod wait;

pub use cluster::Cluster;
pub use kubectl::Kubectl;
#[cfg(feature = "server")]
pub use pandaemon_client::rest::Patch;
#[cfg(feature = "server")]
pub use server::{Server, ServerOptions};
pub use server_process::ServerProcess;
pub use skip::{skipped, skipped_here};
