//! Restarts loops: a panic or an error ends only that run, and the loop starts again after a
//! back-off.
//!
//! ```ignore
//! supervise("scheduler", stop, move |stop| scheduler::run(client.clone(), stop)).await;
//! ```

use std::time::Duration;

use pandaemon_runtime::{Shutdown, catch_panic};
use tokio::time::Instant;

use crate::backoff::{Backoff, jittered};

/// The wait before a failed loop starts again.
const RESTART: Backoff = Backoff {
    min: Duration::from_millis(200),
    max: Duration::from_secs(30),
};

/// Counts runs that ended early.
struct Restarts {
    failures: u32,
    began: Instant,
}

impl Restarts {
    fn new() -> Self {
        let began = Instant::now();
        Self { failures: 0, began }
    }

    /// How long to wait before the next run. A run that lasted starts the count anew.
    fn next(&mut self) -> Duration {
        if self.began.elapsed() > RESTART.max {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        jittered(RESTART.delay(self.failures))
    }

    fn start(&mut self) {
        self.began = Instant::now();
    }
}

/// Runs `start` again and again until a stop is asked for. Each run is a task of its own.
pub async fn supervise<F, R>(name: &'static str, stop: Shutdown, start: F)
where
    F: Fn(Shutdown) -> R,
    R: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut restarts = Restarts::new();
    while !stop.is_triggered() {
        restarts.start();
        // The child token ends what a failed run has started (its watches) before the next one.
        let part = stop.child();
        let outcome = pandaemon_runtime::spawn(name, start(part.clone())).await;
        part.trigger();
        if stop.is_triggered() {
            return;
        }
        let wait = restarts.next();
        match outcome {
            Ok(Some(Ok(()))) => {
                tracing::warn!(name, ?wait, "loop ended: it starts again after the wait");
            }
            Ok(Some(Err(error))) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    name,
                    ?wait,
                    error,
                    "loop failed: it starts again after the wait"
                );
            }
            Ok(None) | Err(_) => {
                tracing::error!(name, ?wait, "loop panicked: it starts again after the wait");
            }
        }
        stop.guard(tokio::time::sleep(wait)).await;
    }
}

/// Runs `start` until it ends without a panic.
pub async fn restart_on_panic<F, R>(name: &'static str, start: F) -> R::Output
where
    F: Fn() -> R,
    R: Future,
{
    let mut restarts = Restarts::new();
    loop {
        restarts.start();
        if let Some(output) = catch_panic(name, Box::pin(start())).await {
            return output;
        }
        let wait = restarts.next();
        tracing::error!(name, ?wait, "loop panicked: it starts again after the wait");
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_panic_and_an_error_start_the_loop_again() {
        let (stop, runs) = (Shutdown::default(), Arc::new(AtomicUsize::new(0)));
        let (inner, counter) = (stop.clone(), runs.clone());
        supervise("test", stop, move |_| {
            let (stop, run) = (inner.clone(), counter.fetch_add(1, Ordering::Relaxed));
            async move {
                match run {
                    0 => panic!("first run"),
                    1 => anyhow::bail!("second run"),
                    _ => {
                        stop.trigger();
                        Ok(())
                    }
                }
            }
        })
        .await;
        assert_eq!(runs.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_panics_waits_longer_each_time_and_ends_when_it_ends() {
        let (runs, began) = (AtomicUsize::new(0), Instant::now());
        let last = restart_on_panic("test", || async {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            assert!(run >= 4, "run {run}");
            run
        })
        .await;
        assert_eq!(last, 4);
        assert!(began.elapsed() >= Duration::from_millis(200 + 400 + 800 + 1_600));
    }
}
