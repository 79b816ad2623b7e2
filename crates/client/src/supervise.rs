//! Restarts loops: a panic or an error ends only that run, and the loop starts again after a back-off.
//!
//! ```ignore
//! supervise("binder", stop, move |stop| binder::run(client.clone(), stop)).await;
//! ```

use std::time::{Duration, Instant};

use pandaemon_runtime::Shutdown;

use crate::backoff::jittered;

/// The shortest and the longest wait before a failed loop starts again.
const RESTART: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Runs `start` again and again until a stop is asked for. Each run is a task of its own.
pub async fn supervise<F, R>(name: &'static str, stop: Shutdown, start: F)
where
    F: Fn(Shutdown) -> R,
    R: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut wait = RESTART.0;
    while !stop.is_triggered() {
        let began = Instant::now();
        // The child token ends what a failed run has started (its watches) before the next one.
        let part = stop.child();
        let outcome = pandaemon_runtime::spawn(name, start(part.clone())).await;
        part.trigger();
        if stop.is_triggered() {
            return;
        }
        match outcome {
            Ok(Some(Ok(()))) => tracing::warn!(controller = name, "loop ended: starting it again"),
            Ok(Some(Err(error))) => {
                tracing::warn!(
                    controller = name,
                    error = format!("{error:#}"),
                    "loop failed"
                );
            }
            Ok(None) | Err(_) => tracing::error!(controller = name, "loop panicked"),
        }
        if began.elapsed() > RESTART.1 {
            wait = RESTART.0;
        }
        stop.guard(tokio::time::sleep(jittered(wait))).await;
        wait = (wait * 2).min(RESTART.1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test]
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
}
