//! `pandaemon bench`: measures a control plane with hollow nodes.

use pandaemon_client::connect;
use pandaemon_runtime::Shutdown;

use crate::args::{BenchArgs, BenchCommand};

/// Runs the benchmark once, and deletes what it created.
pub(crate) async fn run(args: BenchArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let client = connect::direct(connect::config(Some(&args.kubeconfig), None).await?)?;
    let out = &mut std::io::stdout();
    match args.command {
        Some(BenchCommand::Hostile(hostile)) => {
            let measured = pandaemon_hollow::hostile::hostile(client, hostile, out);
            shutdown.guard(measured).await.unwrap_or(Ok(()))
        }
        None => pandaemon_hollow::bench(client, args.bench, shutdown, out).await,
    }
}
