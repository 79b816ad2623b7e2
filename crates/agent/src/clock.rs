//! The wall clock of the agent. Tests set it, so that no test waits for a back-off.

use std::time::Duration;

/// The wall clock, in milliseconds since 1970.
#[derive(Debug, Clone, Default)]
pub(crate) enum Clock {
    /// The clock of the machine.
    #[default]
    System,
    /// A clock that stands still until a test advances it.
    #[cfg(test)]
    Manual(tokio::sync::watch::Sender<i64>),
}

impl Clock {
    /// The present time.
    #[must_use]
    pub(crate) fn now(&self) -> i64 {
        match self {
            Self::System => jiff::Timestamp::now().as_millisecond(),
            #[cfg(test)]
            Self::Manual(time) => *time.borrow(),
        }
    }

    /// Waits until this time.
    pub(crate) async fn sleep_until(&self, at: i64) {
        match self {
            Self::System => {
                let left = u64::try_from(at - self.now()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(left)).await;
            }
            #[cfg(test)]
            Self::Manual(time) => {
                let mut time = time.subscribe();
                let _closed = time.wait_for(|now| at <= *now).await;
            }
        }
    }
}
