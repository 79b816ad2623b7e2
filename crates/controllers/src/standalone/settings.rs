//! What the standalone controller runs with, apart from its clients.

use crate::{flow_control::concurrency::Bounds, leader_election::config::LeaderElectionConfig};

/// What the standalone controller runs with, apart from its clients.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// The leader election; without one, this process acts at once.
    pub leader_election: Option<LeaderElectionConfig>,
    /// Bounds of the number of requests under way.
    pub bounds: Bounds,
    /// A cap on requests per second, and the burst that may exceed it.
    pub cap: Option<(f64, u32)>,
    /// Ask for initial lists as streams (WatchList), where the server supports it.
    pub streamed: bool,
}
