//! The back-off before failed pods of a node are deleted.

use pandaemon_types::Timestamp;

/// The back-off before a failed pod of a node is deleted: 1 s at first, doubled each time, at most
/// 15 minutes. Upstream keys it by node and generation, too (`failedPodsBackoff`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackOff {
    pub(crate) generation: i64,
    pub(crate) seconds: i64,
    pub(crate) since: Timestamp,
}

/// The longest back-off in seconds.
const BACK_OFF_MAX: i64 = 15 * 60;

impl BackOff {
    /// The back-off after one more failed pod was deleted. It starts over after twice the maximum.
    pub(crate) fn next(last: Option<Self>, generation: i64, now: Timestamp) -> Self {
        let fresh = Self {
            generation,
            seconds: 1,
            since: now,
        };
        match last {
            Some(last)
                if last.generation == generation
                    && now.millis_since(last.since) <= 2 * BACK_OFF_MAX * 1000 =>
            {
                Self {
                    seconds: (last.seconds * 2).min(BACK_OFF_MAX),
                    ..fresh
                }
            }
            _ => fresh,
        }
    }

    pub(crate) const fn until(self) -> Timestamp {
        self.since.plus_seconds(self.seconds)
    }
}

/// The end of the back-off before the next failed pod of a node is deleted, after this number of
/// deletions of failed pods with the last one at `last`. `None` if there is none, or it is
/// forgotten.
#[must_use]
pub fn failed_pod_back_off(failures: u32, last: Timestamp, now: Timestamp) -> Option<Timestamp> {
    if now.millis_since(last) > 2 * BACK_OFF_MAX * 1000 {
        return None;
    }
    // The longest back-off is reached long before.
    let failures = failures.min(32);
    let back_off = (0..failures).fold(None, |earlier, _| Some(BackOff::next(earlier, 0, last)));
    back_off.map(BackOff::until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_back_off_doubles_up_to_15_minutes_and_is_forgotten_after_30() {
        let seconds = |failures| {
            let end = failed_pod_back_off(failures, Timestamp(0), Timestamp(0));
            end.map(|end| end.millis_since(Timestamp(0)) / 1000)
        };
        assert_eq!(seconds(0), None);
        assert_eq!(
            [1, 2, 3, 10, 11, 99].map(seconds),
            [1, 2, 4, 512, 900, 900].map(Some)
        );
        let later = Timestamp(0).plus_seconds(2 * BACK_OFF_MAX + 1);
        assert_eq!(failed_pod_back_off(3, Timestamp(0), later), None);
    }
}
