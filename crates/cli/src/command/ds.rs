//! `pandaemon explain` and `pandaemon status`, which are also `kubectl ds`.

use pandaemon_kubectl_ds::Failed;
use pandaemon_runtime::Shutdown;

/// What a shell reports of a command that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Runs until the answer is told or a signal stops it.
pub(crate) async fn run(
    work: impl Future<Output = Result<(), Failed>>,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let interrupted = || {
        Err(Failed {
            status: INTERRUPTED,
            message: String::new(),
        })
    };
    Ok(shutdown.guard(work).await.unwrap_or_else(interrupted)?)
}
