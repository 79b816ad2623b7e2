//! Runs a subcommand.

mod agent;
mod backup;
mod bench;
mod confirm;
mod control_plane;
mod ds;
mod hollow;
mod kubeconfig;
mod repair;
mod restore;
mod rotate_keys;
mod server;
mod staged;
mod store;
mod token;
mod up;

use std::num::NonZeroUsize;

use anyhow::Context as _;
use pandaemon_kubectl_ds::Plugin;
use pandaemon_runtime::{Shutdown, logs};

use crate::args::{Cli, Command};

/// Most worker threads. Each one costs memory, and the server does not use more cores than this.
const WORKERS_MAX: usize = 8;
/// Soft limit of open files to set, up to the hard limit of the process.
const OPEN_FILES: u64 = 1 << 20;

/// Runs a subcommand until it is done or a signal stops it.
///
/// # Errors
/// Those of the subcommand; [`crate::exit::report`] maps them to exit statuses.
pub(crate) fn run(args: Cli) -> anyhow::Result<()> {
    logs::init(&args.logs)?;
    raise_open_files();
    let workers = match &args.command {
        // An agent mostly waits.
        Command::Agent(_) => 2,
        _ => std::thread::available_parallelism()
            .map_or(2, NonZeroUsize::get)
            .clamp(2, WORKERS_MAX),
    };
    block_on(workers, run_command(args.command))
}

/// Runs the plugin `kubectl ds`.
pub(crate) fn run_plugin(plugin: Plugin) -> anyhow::Result<()> {
    block_on(2, async {
        let shutdown = Shutdown::on_signals().context("install the signal handlers")?;
        Box::pin(ds::run(plugin.run(), shutdown)).await
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
    let shutdown = Shutdown::on_signals().context("install the signal handlers")?;
    match command {
        Command::Up(args) => up::run(args, shutdown).await,
        Command::Server(args) => server::run(args, shutdown).await,
        Command::Agent(args) => Box::pin(agent::run(args, shutdown)).await,
        Command::Kubeconfig(args) => kubeconfig::run(args).await,
        Command::Token(command) => token::run(command).await,
        Command::Hollow(args) => hollow::run(args, shutdown).await,
        Command::Controller(args) => pandaemon_controllers::standalone::run(args, shutdown).await,
        Command::RotateKeys(args) => rotate_keys::run(args).await,
        Command::Backup(args) => backup::run(args).await,
        Command::Restore(args) => restore::run(&args),
        Command::Store(command) => repair::run(command),
        Command::Bench(args) => bench::run(args, shutdown).await,
        Command::Explain(args) => ds::run(pandaemon_kubectl_ds::run_explain(args), shutdown).await,
        Command::Status(args) => ds::run(pandaemon_kubectl_ds::run_status(args), shutdown).await,
    }
}

/// Raises the soft limit of open files: watches, connections and containers need them, and shells
/// often set it to 1,024.
fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        let wanted = hard.min(OPEN_FILES).max(soft);
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard)
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files; many watches or containers may exhaust it");
    }
}
