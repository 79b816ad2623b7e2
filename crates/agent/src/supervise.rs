//! Starts the agent's tasks so that a panic does not end them for good.

use pandaemon_client::supervise::restart_on_panic;
use pandaemon_runtime::Shutdown;

/// Runs a loop until the shutdown, and starts it again if it panics.
pub(crate) fn spawn_loop<R>(
    name: &'static str,
    shutdown: &Shutdown,
    run: impl Fn() -> R + Send + Sync + 'static,
) where
    R: Future<Output = ()> + Send + 'static,
{
    let shutdown = shutdown.clone();
    pandaemon_runtime::spawn(name, async move {
        shutdown.guard(restart_on_panic(name, run)).await;
    });
}
