//! Graceful shutdown as a value that is passed to all parts of a process.

use tokio_util::sync::CancellationToken;

/// A cancellation token for the whole process or for one part of it. Clones share the state.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A shutdown that is triggered by SIGTERM, SIGINT or [`Shutdown::trigger`].
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
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
                _ = term.recv() => tracing::info!("received SIGTERM, stopping"),
                _ = int.recv() => tracing::info!("received SIGINT, stopping"),
                () = token.cancelled() => (),
            }
            token.cancel();
        });
        Ok(shutdown)
    }

    /// Triggers the shutdown of this part and of its children.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// Whether the shutdown has been triggered.
    #[must_use]
    pub fn is_triggered(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Resolves when the shutdown is triggered.
    pub async fn triggered(&self) {
        self.0.cancelled().await;
    }

    /// A shutdown that can be triggered alone and is triggered together with this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Runs `future`; drops it and returns `None` when the shutdown is triggered first.
    pub async fn guard<F: Future>(&self, future: F) -> Option<F::Output> {
        self.0.run_until_cancelled(future).await
    }
}
