//! The DaemonSet loop.

use pandaemon_runtime::Shutdown;

/// Runs the loop until a stop is asked for.
///
/// # Errors
/// When the loop cannot go on.
pub async fn run(_client: kube::Client, _embedded: bool, stop: Shutdown) -> anyhow::Result<()> {
    stop.triggered().await;
    Ok(())
}
