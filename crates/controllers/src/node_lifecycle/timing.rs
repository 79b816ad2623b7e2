//! The delays of the node lifecycle controller.

use std::time::Duration;

/// The delays of the node lifecycle controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A node without a heartbeat for so long becomes Unknown; upstream's
    /// `--node-monitor-grace-period`.
    pub node_monitor_grace_period: Duration,
    /// Pods of a node that was never seen are deleted after so long; upstream's quarantine of pod
    /// garbage collection.
    pub unknown_node_delay: Duration,
    /// Pods of a node whose deletion was seen are deleted after so long.
    pub deleted_node_delay: Duration,
}

impl Default for Timing {
    /// As upstream. After a deletion that was seen, the short delay is for a node that is created
    /// again.
    fn default() -> Self {
        Self {
            node_monitor_grace_period: Duration::from_secs(50),
            unknown_node_delay: Duration::from_secs(40),
            deleted_node_delay: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// How often nodes are checked.
    pub(super) fn monitor_period(&self) -> Duration {
        let shortest = self
            .node_monitor_grace_period
            .min(self.unknown_node_delay)
            .min(self.deleted_node_delay);
        (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(5))
    }
}
