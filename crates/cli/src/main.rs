//! The binary `pandaemon`: arguments, exit statuses, and the parts of each subcommand.

mod args;
mod command;
mod exit;
mod progress;
mod table;

use std::{path::Path, process::ExitCode};

use clap::Parser as _;
use mimalloc::MiMalloc;

/// A third of the time of a write was spent in the system's allocator (docs/benchmarks.md), and its
/// heap does not shrink.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    if called_as_plugin() {
        return exit::report(command::run_plugin(pandaemon_kubectl_ds::Plugin::parse()));
    }
    let args = args::Cli::parse();
    exit::report(command::run(args))
}

/// Whether this binary was started as `kubectl-ds`, the name of the plugin `kubectl ds`: a link of
/// that name is enough.
fn called_as_plugin() -> bool {
    let name = std::env::args_os().next();
    name.is_some_and(|name| {
        Path::new(&name)
            .file_stem()
            .is_some_and(|stem| stem == "kubectl-ds")
    })
}
