//! `pandaemon hollow`: nodes without containers, for tests of a control plane.

use pandaemon_client::connect;
use pandaemon_runtime::Shutdown;

use crate::args::HollowArgs;

/// Runs the hollow nodes until a signal stops them.
pub(crate) async fn run(args: HollowArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let client = connect::direct(connect::config(Some(&args.kubeconfig), None).await?)?;
    pandaemon_hollow::run(client, args.hollow, shutdown).await
}
