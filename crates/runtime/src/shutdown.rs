//! Shutdown as a value that is handed around: the first signal asks for an orderly end.

use tokio_util::sync::CancellationToken;

/// Asks for and waits for the end of the process (or of one part of it).
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A shutdown that SIGTERM, SIGINT or [`Shutdown::trigger`] starts.
    ///
    /// # Errors
    /// When the process cannot listen for signals.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let shutdown = Self::default();
        let (mut term, mut int) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let token = shutdown.0.clone();
        crate::spawn("signals", async move {
            tokio::select! {
                _ = term.recv() => tracing::info!("SIGTERM: stopping"),
                _ = int.recv() => tracing::info!("SIGINT: stopping"),
                () = token.cancelled() => (),
            }
            token.cancel();
        });
        Ok(shutdown)
    }

    /// Asks everybody to stop.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether a stop has been asked for.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when a stop is asked for.
    pub async fn triggered(&self) {
        self.0.cancelled().await;
    }

    /// A part that can be stopped alone, and stops with the whole.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Runs `future` until it ends or a stop is asked for.
    pub async fn guard<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.run_until_cancelled(future).await
    }
}
