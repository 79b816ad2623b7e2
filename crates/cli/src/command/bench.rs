//! `pandaemon bench`: measures a control plane with hollow nodes.

use pandaemon_client::connect;
use pandaemon_runtime::Shutdown;

use crate::args::{BenchArgs, BenchCommand};

/// Runs the benchmark once, and deletes what it created.
pub(crate) async fn run(args: BenchArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let config = connect::config(Some(&args.kubeconfig), None).await?;
    let out = &mut std::io::stdout();
    match args.command {
        Some(BenchCommand::OtherClients) => pandaemon_hollow::run_other_clients(config, out).await,
        Some(BenchCommand::Hostile(hostile)) => {
            let measured =
                pandaemon_hollow::hostile::hostile(connect::direct(config)?, hostile, out);
            shutdown.guard(measured).await.unwrap_or(Ok(()))
        }
        None => {
            let mut bench = args.bench;
            bench.other_clients.kubeconfig = args.kubeconfig;
            pandaemon_hollow::bench(connect::direct(config)?, bench, shutdown, out).await
        }
    }
}
