//! `pandaemon explain` and `pandaemon status`, which are also `kubectl ds`.

use pandaemon_kubectl_ds::CommandError;
use pandaemon_runtime::Shutdown;

/// The exit status of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Runs a command until it ends or a signal stops it.
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
