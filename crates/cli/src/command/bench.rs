//! `pandaemon bench`: measures a control plane.

use pandaemon_client::connect;
use pandaemon_runtime::Shutdown;

use crate::args::BenchArgs;

/// Measures once, and cleans up.
pub(crate) async fn run(args: BenchArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let client = connect::direct(connect::config(Some(&args.kubeconfig), None).await?)?;
    pandaemon_hollow::bench(client, args.bench, shutdown, &mut std::io::stdout()).await
}
