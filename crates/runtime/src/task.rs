//! The one place that spawns tasks: each has a name and a span, and its panic is logged.

use std::{future::Future, panic::AssertUnwindSafe};

use futures::FutureExt as _;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

/// Spawns a task. A panic is logged with the task's name and ends only that task; the handle then
/// yields `None`.
///
/// The future is boxed: every layer around an unboxed one would hold it twice, as an argument and
/// as what it awaits, so that a task of a few KB would take tens.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that may call tokio::spawn"
)]
pub fn spawn<F>(name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let span = tracing::info_span!("task", name);
    tokio::spawn(catch_panic(name, Box::pin(future)).instrument(span))
}

/// Runs a future; a panic in it is logged with the name and yields `None`.
pub async fn catch_panic<F: Future>(name: &'static str, future: F) -> Option<F::Output> {
    match AssertUnwindSafe(future).catch_unwind().await {
        Ok(output) => Some(output),
        Err(panic) => {
            tracing::error!(task = name, panic = panic_text(&*panic), "task panicked");
            None
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("the panic has no message")
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn a_panic_ends_only_its_own_task() {
        let handle = super::spawn("test", async { panic!("boom") });
        assert!(handle.await.unwrap().is_none());
    }
}
