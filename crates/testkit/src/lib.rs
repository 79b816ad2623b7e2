//! Helpers of tests and of the demo: container images made from Debian packages, and a cluster of real
//! nodes that is controlled through the `pandaemon` program and kubectl.

pub mod cluster;
pub mod disk;
pub mod fixtures;
pub mod images;
pub mod kubectl;
pub mod skip;
pub mod wait;

pub use cluster::Cluster;
pub use kubectl::Kubectl;
pub use skip::{skipped, skipped_here};
