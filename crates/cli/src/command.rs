//! Runs the chosen subcommand.

mod agent;
mod bench;
mod ds;
mod hollow;
mod plane;
mod server;
mod up;

use std::num::NonZeroUsize;

use anyhow::Context as _;
use pandaemon_kubectl_ds::Plugin;
use pandaemon_runtime::{Shutdown, logs};

use crate::args::{Cli, Command};

/// Worker threads: enough to serve from several cores, few enough to stay small.
const WORKERS_MAX: usize = 8;
/// Open files asked for, where the machine's hard limit allows them.
const OPEN_FILES: u64 = 1 << 20;

/// Runs until the work ends or a signal stops it.
pub(crate) fn run(args: Cli) -> anyhow::Result<()> {
    logs::init(&args.logs)?;
    raise_open_files();
    let workers = match &args.command {
        // A node's work is waiting, not computing.
        Command::Agent(_) => 2,
        _ => std::thread::available_parallelism()
            .map_or(2, NonZeroUsize::get)
            .clamp(2, WORKERS_MAX),
    };
    block_on(workers, run_command(args.command))
}

/// Runs as `kubectl ds`.
pub(crate) fn run_plugin(plugin: Plugin) -> anyhow::Result<()> {
    block_on(2, async {
        let shutdown = Shutdown::on_signals().context("listen for signals")?;
        ds::run(plugin.run(), shutdown).await
    })
}

fn block_on(workers: usize, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .context("start the async runtime")?
        .block_on(work)
}

async fn run_command(command: Command) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("listen for signals")?;
    match command {
        Command::Up(args) => up::run(args, shutdown).await,
        Command::Server(args) => server::run(args, shutdown).await,
        Command::Agent(args) => agent::run(args, shutdown).await,
        Command::Hollow(args) => hollow::run(args, shutdown).await,
        Command::Controller(args) => pandaemon_controllers::standalone::run(args, shutdown).await,
        Command::Bench(args) => bench::run(args, shutdown).await,
        Command::Explain(args) => ds::run(pandaemon_kubectl_ds::run_explain(args), shutdown).await,
        Command::Status(args) => ds::run(pandaemon_kubectl_ds::run_status(args), shutdown).await,
    }
}

/// A watch, a connection and a container each need open files, and the usual limit of a shell is 1,024.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(OPEN_FILES).max(soft);
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
