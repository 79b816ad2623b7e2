//! Detection of failed tasks without which the server cannot work.

use std::sync::Arc;

use pandaemon_runtime::{Shutdown, catch_panic};
use tokio::sync::watch;

/// The tasks that the server cannot work without. The first that ends before the shutdown is
/// remembered.
#[derive(Debug, Clone)]
pub(crate) struct Essentials {
    failed: Arc<watch::Sender<Option<&'static str>>>,
    shutdown: Shutdown,
}

impl Essentials {
    pub(crate) fn new(shutdown: Shutdown) -> Self {
        let failed = Arc::new(watch::Sender::new(None));
        Self { failed, shutdown }
    }

    /// Runs such a task. A panic is logged with its name.
    pub(crate) async fn run(self, name: &'static str, task: impl Future<Output = ()>) {
        // A panic of the task is logged there.
        let _panicked = catch_panic(name, task).await;
        if !self.shutdown.is_triggered() {
            tracing::error!(task = name, "the API server cannot work without this task");
            self.failed.send_if_modified(|failed| {
                let is_first = failed.is_none();
                failed.get_or_insert(name);
                is_first
            });
        }
    }

    /// Waits until such a task has ended before the shutdown, and returns its name.
    pub(crate) async fn failed(&self) -> &'static str {
        let mut failed = self.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|name| *name) {
            Ok(Some(name)) => name,
            // The sender lives as long as this value.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}
