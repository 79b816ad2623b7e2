//! Runs a server on a data directory and a port, for experiments and for replaying recorded API cases:
//! `serve DATA ADDRESS:PORT [KUBECONFIG]`.

use std::{path::PathBuf, sync::Arc};

use pandaemon_runtime::{Shutdown, metrics::Metrics};
use pandaemon_server::{Config, start};
use pandaemon_store::{Embedded, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let data_dir = PathBuf::from(arguments.next().ok_or("usage: serve DATA ADDRESS:PORT")?);
    let listen = arguments
        .next()
        .ok_or("usage: serve DATA ADDRESS:PORT")?
        .parse()?;
    std::fs::create_dir_all(&data_dir)?;
    let store = Arc::new(Embedded::open(data_dir.join("store"), Options::default())?);
    let shutdown = Shutdown::on_signals()?;
    let config = Config {
        data_dir: data_dir.clone(),
        listen,
        extra_sans: Vec::new(),
        store,
        metrics: Metrics::default(),
    };
    let running = start(config, &shutdown).await?;
    let url = format!("https://{}", running.address());
    let path = arguments
        .next()
        .map_or_else(|| data_dir.join("kubeconfig"), PathBuf::from);
    std::fs::write(&path, running.kubeconfig(&url))?;
    tracing::info!(url, kubeconfig = %path.display(), "ready");
    running.wait().await;
    Ok(())
}
