//! Starts tasks again that panic.

use std::time::Duration;

use pandaemon_client::supervise::supervise;
use pandaemon_runtime::Shutdown;

/// The first delay before a task that panicked is started again; it doubles with each panic.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest delay. A task that has run this long starts again with the first one.
const MAX_DELAY: Duration = Duration::from_secs(30);

/// Starts a loop that has no end, and starts it again if it panics.
pub(crate) fn spawn_loop<R>(
    name: &'static str,
    shutdown: &Shutdown,
    run: impl Fn() -> R + Send + Sync + 'static,
) where
    R: Future<Output = ()> + Send + 'static,
{
    let start = move |stop: Shutdown| {
        let run = run();
        async move {
            stop.guard(run).await;
            Ok(())
        }
    };
    pandaemon_runtime::spawn(name, supervise(name, shutdown.clone(), start));
}

/// Runs a task to its end. If it panics, it is started again after a delay. Returns `None` if a
/// shutdown came first.
///
/// Unlike `pandaemon_client::supervise`, this is for tasks that have an end.
pub(crate) async fn run_to_end<R, T>(
    name: &'static str,
    shutdown: Shutdown,
    start: impl Fn() -> R,
) -> Option<T>
where
    R: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let mut delay = FIRST_DELAY;
    loop {
        let began = tokio::time::Instant::now();
        let (task, stop) = (start(), shutdown.clone());
        let run = pandaemon_runtime::spawn(name, async move { stop.guard(task).await });
        if let Ok(Some(ended)) = AbortOnDrop(run).join().await {
            return ended;
        }
        if began.elapsed() > MAX_DELAY {
            delay = FIRST_DELAY;
        }
        tracing::error!(task = name, ?delay, "a task panicked; starting it again");
        shutdown.guard(tokio::time::sleep(delay)).await?;
        delay = (delay * 2).min(MAX_DELAY);
    }
}

/// Ends a task with the future that waits for it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_is_started_again_until_it_ends() {
        let runs = AtomicU32::new(0);
        let start = || {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(run == 2, "run {run} panics");
                run
            }
        };
        let ended = run_to_end("test", Shutdown::default(), start).await;
        assert_eq!(ended, Some(2));
    }

    #[tokio::test]
    async fn a_shutdown_ends_the_task() {
        let shutdown = Shutdown::default();
        shutdown.trigger();
        let ended = run_to_end("test", shutdown, std::future::pending::<()>).await;
        assert_eq!(ended, None);
    }
}
