//! When a node was last heard of, by our own clock only. Pure: time is an argument.
//!
//! A node's own timestamps may be minutes off; what counts is when we saw them change.

use std::time::Duration;

use tokio::time::Instant;

/// What a node changes when it lives: the renewal of its lease and the heartbeat in its status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beat {
    /// The lease's renewal time, as text.
    pub lease: String,
    /// The Ready condition's heartbeat time and status, as text.
    pub status: String,
}

/// When a node was last heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    beat: Beat,
    heard: Instant,
}

impl Health {
    /// A node that is seen for the first time is given the whole grace time.
    #[must_use]
    pub const fn new(beat: Beat, now: Instant) -> Self {
        Self { beat, heard: now }
    }

    /// The node's lease was seen.
    pub fn saw_lease(&mut self, renewed: &str, now: Instant) {
        if self.beat.lease != renewed {
            renewed.clone_into(&mut self.beat.lease);
            self.heard = now;
        }
    }

    /// The node's status was seen.
    pub fn saw_status(&mut self, heartbeat: &str, now: Instant) {
        if self.beat.status != heartbeat {
            heartbeat.clone_into(&mut self.beat.status);
            self.heard = now;
        }
    }

    /// The node's status was seen, but it is we who wrote it.
    pub fn saw_own_words(&mut self, status: &str) {
        status.clone_into(&mut self.beat.status);
    }

    /// It has its whole grace time again: we were not listening.
    pub fn forgive(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether nothing was heard for longer than `grace`.
    #[must_use]
    pub fn is_silent(&self, grace: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.heard) > grace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_change_counts_as_life() {
        let (start, grace) = (Instant::now(), Duration::from_secs(40));
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut health = Health::new(Beat::default(), start);
        health.saw_lease("2020-01-01T00:00:00Z", after(30));
        assert!(
            !health.is_silent(grace, after(70)),
            "an old time is a sign of life when it is new to us"
        );
        health.saw_lease("2020-01-01T00:00:00Z", after(60));
        assert!(health.is_silent(grace, after(71)));
        health.saw_status("x", after(72));
        assert!(!health.is_silent(grace, after(100)));
    }
}
