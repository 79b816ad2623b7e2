//! How many large requests run at a time, see [`crate::handlers::large`].

use std::{num::NonZeroUsize, sync::Arc, thread};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Lets as many large requests run as there are cores.
#[derive(Debug)]
pub(crate) struct LargeRequests(Arc<Semaphore>);

impl Default for LargeRequests {
    fn default() -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self(Arc::new(Semaphore::new(cores)))
    }
}

impl LargeRequests {
    /// Waits until one more may run; it does as long as the permit exists.
    pub(crate) async fn wait(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}
