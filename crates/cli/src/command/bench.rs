//! `pandaemon bench`: measures a control plane with hollow nodes.

use pandaemon_client::connect;
use pandaemon_runtime::Shutdown;

use crate::args::BenchArgs;

/// Runs the benchmark once, and deletes what it created.
pub(crate) async fn run(args: BenchArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let client = connect::direct(connect::config(Some(&args.kubeconfig), None).await?)?;
    pandaemon_hollow::bench(client, args.bench, shutdown, &mut std::io::stdout()).await
}
