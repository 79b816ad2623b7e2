//! List and watch of one collection: an endless series of events that survives lost connections and
//! never goes back.
//!
//! ```ignore
//! let mut nodes = watch::<Node>(client, ListWatch::all("/api/v1/nodes"), stop.clone());
//! while let Some(delta) = nodes.recv().await {
//!     match delta {
//!         Delta::Listed(all) => state.replace(all),   // first, and after the server's history was lost
//!         Delta::Applied(node) => state.apply(node),
//!         Delta::Deleted(node) => state.remove(node), // its last state
//!     }
//! }
//! ```
//!
//! [`run`] is the loop itself, for readers with a [`Handler`] of their own: it tells the pages of a list as they come,
//! and the versions of lists. Upstream: `cache.Reflector`. What it promises is in `docs/design/client.md`.

mod attempt;
mod decode;
mod deltas;
mod event;
mod lines;
mod metrics;
mod request;
#[cfg(test)]
mod tests;
mod versions;

use std::time::Duration;

use kube::Client;
use tokio::time::Instant;

use self::attempt::{Attempt, End};
pub use self::{
    deltas::{Delta, watch},
    event::{Handler, ListWatchEvent, ObjectIdentity},
    metrics::ListWatchMetrics,
    request::ListWatch,
};
use crate::{
    backoff::{Backoff, jittered},
    errors,
};

const BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(50),
    max: Duration::from_secs(15),
};
/// A watch that ends before this although nothing came is a failure. Upstream calls it a very short
/// watch.
const SHORT_WATCH: Duration = Duration::from_secs(1);
/// How long the server may refuse lists that are not older than what was seen, before any state of
/// it is taken.
const PATIENCE_WITH_VERSION: Duration = Duration::from_secs(30);
/// Lines in a row that cannot be decoded at all, before the collection is listed again.
const GARBLED: u32 = 3;
/// The failure in a row that is logged as a warning; missing rights, for example.
const LOUD: u32 = 5;

/// Lists and watches until the handler wants no more.
pub async fn run<H: Handler>(client: &Client, source: &ListWatch, handler: H) {
    let attempt = Attempt::new(client, source, handler);
    let streams = !source.paged;
    let reflector = Reflector {
        attempt,
        path: &source.path,
        synced: false,
        from_now: source.without_list,
        streams,
        pages_once: false,
        refused_since: None,
        garbled: 0,
        failures: 0,
    };
    reflector.run().await;
}

/// Decides what to ask for next, and when.
struct Reflector<'a, H: Handler> {
    attempt: Attempt<'a, H>,
    path: &'a str,
    /// A watch may go on from the newest version seen.
    synced: bool,
    from_now: bool,
    /// The server may be asked for streamed lists.
    streams: bool,
    /// The next list is read in pages.
    pages_once: bool,
    /// Since when the server has refused lists that are not older than the newest version seen.
    refused_since: Option<Instant>,
    /// Lines in a row that could not be decoded at all.
    garbled: u32,
    /// Attempts in a row that brought nothing.
    failures: u32,
}

impl<H: Handler> Reflector<'_, H> {
    async fn run(mut self) {
        loop {
            self.forget_lost_versions();
            let began = Instant::now();
            let outcome = if self.synced {
                self.attempt.watch().await
            } else if self.from_now {
                self.attempt.start_from_now().await
            } else if self.streams && !self.pages_once {
                self.attempt.stream().await
            } else {
                self.attempt.pages().await
            };
            let wait = match outcome {
                Ok(End::Closed) => return,
                Ok(end) => self.ended(end, began),
                Err(error) => self.failed(&error, began),
            };
            if !wait.is_zero() {
                tokio::time::sleep(jittered(wait)).await;
            }
        }
    }

    /// After a restore the server may never reach the newest version seen. Then only its own state
    /// counts.
    fn forget_lost_versions(&mut self) {
        let lost = |since: Instant| since.elapsed() >= PATIENCE_WITH_VERSION;
        if self.refused_since.is_some_and(lost) {
            tracing::warn!(
                path = self.path,
                newest = self.attempt.newest(),
                "the server does not know the versions that were seen, perhaps after a restore: \
                 taking its present state"
            );
            self.attempt.forget();
            self.refused_since = None;
        }
    }

    /// What follows the end of an attempt, and after which wait.
    fn ended(&mut self, end: End, began: Instant) -> Duration {
        let heard = self.attempt.heard();
        let lasted = began.elapsed();
        if heard || (end == End::Ended && lasted >= SHORT_WATCH) {
            self.failures = 0;
            self.garbled = 0;
        }
        match end {
            End::Listed => {
                self.list_done();
                return Duration::ZERO;
            }
            End::Ended => {
                self.list_done();
                if lasted >= SHORT_WATCH {
                    return Duration::ZERO;
                }
            }
            End::Expired | End::Behind => self.synced = false,
            End::Silent => {
                self.pages_once = true;
                self.refused_since.get_or_insert(began);
                return Duration::ZERO;
            }
            End::NotStreamed { ever } => {
                self.pages_once = true;
                self.streams &= ever;
                return Duration::ZERO;
            }
            // The caller has returned.
            End::Closed => {}
        }
        self.failures = self.failures.saturating_add(1);
        BACKOFF.delay(self.failures)
    }

    fn list_done(&mut self) {
        self.synced = true;
        self.from_now = false;
        self.pages_once = false;
        self.refused_since = None;
    }

    fn failed(&mut self, error: &kube::Error, began: Instant) -> Duration {
        self.attempt.counters().failures.inc();
        if self.attempt.heard() {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        if !self.synced {
            if self.attempt.is_listed() {
                // A stream that broke after its list.
                self.list_done();
            } else if errors::is_gone(error) || errors::is_too_large_version(error) {
                self.refused_since.get_or_insert(began);
            } else {
                self.refused_since = None;
            }
        }
        let garbled = matches!(error, kube::Error::SerdeError(_));
        self.garbled = if garbled { self.garbled + 1 } else { 0 };
        if errors::is_gone(error) || self.garbled >= GARBLED {
            self.garbled = 0;
            self.synced = false;
        }
        if self.failures == LOUD {
            tracing::warn!(path = self.path, %error, "list-watch fails again and again");
        } else {
            tracing::debug!(path = self.path, %error, self.failures, "list-watch failed");
        }
        let wait = BACKOFF.delay(self.failures);
        errors::retry_after(error).map_or(wait, |asked| asked.max(wait))
    }
}
