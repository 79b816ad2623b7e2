//! What tests and the demo share: images made from Debian packages, and a cluster of real nodes that is
//! driven through the `pandaemon` program and plain `kubectl`.

pub mod cluster;
pub mod images;
pub mod kubectl;
pub mod wait;

pub use cluster::Cluster;
pub use kubectl::Kubectl;
