//! When a node's last heartbeat was seen, by the clock of this process. Pure; time is an argument.
//!
//! A node's own timestamps may be minutes off, so a heartbeat is a change of them.

use std::time::Duration;

use tokio::time::Instant;

/// The two values that a live node changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// The renewal time of its lease, as text.
    pub lease: String,
    /// The Ready condition's heartbeat time and status, as text.
    pub status: String,
}

/// When a node's last heartbeat was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeHealth {
    heartbeat: Heartbeat,
    last_seen: Instant,
}

impl NodeHealth {
    /// A node that is seen for the first time has the whole grace period.
    #[must_use]
    pub const fn new(heartbeat: Heartbeat, now: Instant) -> Self {
        Self {
            heartbeat,
            last_seen: now,
        }
    }

    /// Notes the renewal time of the node's lease.
    pub fn saw_lease(&mut self, renewed: &str, now: Instant) {
        if self.heartbeat.lease != renewed {
            renewed.clone_into(&mut self.heartbeat.lease);
            self.last_seen = now;
        }
    }

    /// Notes the node's status.
    pub fn saw_status(&mut self, heartbeat: &str, now: Instant) {
        if self.heartbeat.status != heartbeat {
            heartbeat.clone_into(&mut self.heartbeat.status);
            self.last_seen = now;
        }
    }

    /// Notes a status that this controller has written: no heartbeat.
    pub fn saw_own_status(&mut self, status: &str) {
        status.clone_into(&mut self.heartbeat.status);
    }

    /// Starts the grace period anew, as this process missed events.
    pub fn restart_grace_period(&mut self, now: Instant) {
        self.last_seen = now;
    }

    /// Whether the last heartbeat is longer ago than `grace`.
    #[must_use]
    pub fn is_unresponsive(&self, grace: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.last_seen) > grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_changed_time_is_a_heartbeat() {
        let (start, grace) = (Instant::now(), Duration::from_secs(40));
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut health = NodeHealth::new(Heartbeat::default(), start);
        health.saw_lease("2020-01-01T00:00:00Z", after(30));
        assert!(
            !health.is_unresponsive(grace, after(70)),
            "an old time is a heartbeat when it differs from the time before"
        );
        health.saw_lease("2020-01-01T00:00:00Z", after(60));
        assert!(health.is_unresponsive(grace, after(71)));
        health.saw_status("x", after(72));
        assert!(!health.is_unresponsive(grace, after(100)));
    }
}
