//! Runs the chosen subcommand.

mod agent;
mod hollow;
mod plane;
mod server;
mod up;

use std::num::NonZeroUsize;

use anyhow::Context as _;
use pandaemon_runtime::{Shutdown, logs};

use crate::args::{Cli, Command};

/// Worker threads: enough to serve from several cores, few enough to stay small.
const WORKERS_MAX: usize = 8;

/// Runs until the work ends or a signal stops it.
pub(crate) fn run(args: Cli) -> anyhow::Result<()> {
    logs::init(&args.logs)?;
    let workers = match &args.command {
        // A node's work is waiting, not computing.
        Command::Agent(_) => 2,
        _ => std::thread::available_parallelism()
            .map_or(2, NonZeroUsize::get)
            .clamp(2, WORKERS_MAX),
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .context("start the async runtime")?
        .block_on(run_command(args.command))
}

async fn run_command(command: Command) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("listen for signals")?;
    match command {
        Command::Up(args) => up::run(args, shutdown).await,
        Command::Server(args) => server::run(args, shutdown).await,
        Command::Agent(args) => agent::run(args, shutdown).await,
        Command::Hollow(args) => hollow::run(args, shutdown).await,
    }
}
