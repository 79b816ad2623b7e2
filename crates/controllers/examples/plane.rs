//! An API server, all controllers and hollow nodes in one process: for trying out kubectl and replaying cases.
//!
//! ```text
//! cargo run -p pandaemon-controllers --example plane -- --data-dir /tmp/plane --listen 127.0.0.1:7443 \
//!     --write-kubeconfig /tmp/plane/kubeconfig --hollow --count 3
//! ```

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use clap::Parser;
use pandaemon_controllers::{Options, Selection};
use pandaemon_hollow::HollowArgs;
use pandaemon_runtime::{Shutdown, logs::LogArgs, metrics::Metrics};
use pandaemon_server::Config;
use pandaemon_store::Embedded;

#[derive(Parser)]
struct Args {
    /// Where everything is kept
    #[arg(long)]
    data_dir: PathBuf,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to write the kubeconfig
    #[arg(long)]
    write_kubeconfig: PathBuf,
    /// Which controllers run
    #[arg(long, default_value = "*")]
    controllers: Selection,
    /// Also run hollow nodes
    #[arg(long)]
    hollow: bool,
    #[command(flatten)]
    nodes: HollowArgs,
    #[command(flatten)]
    logs: LogArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    pandaemon_runtime::logs::init(&args.logs)?;
    let shutdown = Shutdown::on_signals()?;
    std::fs::create_dir_all(&args.data_dir)?;
    let store = Embedded::open(
        args.data_dir.join("store"),
        pandaemon_store::Options::default(),
    )?;
    let config = Config {
        data_dir: args.data_dir,
        listen: args.listen,
        extra_sans: Vec::new(),
        store: Arc::new(store),
        metrics: Metrics::default(),
    };
    let server = pandaemon_server::start(config, &shutdown).await?;
    let kubeconfig = server.kubeconfig(&format!("https://{}", server.address()));
    std::fs::write(args.write_kubeconfig, kubeconfig)?;
    let options = Options {
        controllers: args.controllers,
        ca_pem: server.ca_pem(),
        embedded: true,
    };
    if args.hollow {
        let nodes = pandaemon_hollow::run(server.client(), args.nodes, shutdown.clone());
        pandaemon_runtime::spawn("hollow", nodes);
    }
    pandaemon_controllers::run(server.client(), options, shutdown).await?;
    server.wait().await;
    Ok(())
}
