//! `pandaemon explain` and `pandaemon status`, also known as `kubectl ds explain` and `kubectl ds
//! status`.

use pandaemon_kubectl_ds::CommandError;
use pandaemon_runtime::Shutdown;

/// The exit status of a command that SIGINT or SIGTERM stopped, as shells report SIGINT.
const INTERRUPTED: u8 = 130;

/// Runs a command until it is done or a signal stops it.
pub(crate) async fn run(
    work: impl Future<Output = Result<(), CommandError>>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let interrupted = || {
        Err(CommandError {
            status: INTERRUPTED,
            message: String::new(),
        })
    };
    Ok(shutdown.guard(work).await.unwrap_or_else(interrupted)?)
}
