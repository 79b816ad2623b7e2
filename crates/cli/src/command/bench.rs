//! `pandaemon bench`: measures a control plane.

use pandaemon_runtime::{Shutdown, client};

use crate::args::BenchArgs;

/// Measures once, and cleans up.
pub(crate) async fn run(args: BenchArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let client = client::direct(client::config(Some(&args.kubeconfig), None).await?)?;
    pandaemon_hollow::bench(client, args.bench, shutdown).await
}
