//! `pandaemon`: a daemon on every node. The one binary; it only joins the crates.

mod args;
mod command;
mod exit;
mod steps;

use std::{path::Path, process::ExitCode};

use clap::Parser as _;
use mimalloc::MiMalloc;

/// A third of the time of a write is spent in the system's allocator (docs/benchmarks.md), and its heap does not shrink.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    if called_as_plugin() {
        return exit::report(command::run_plugin(pandaemon_kubectl_ds::Plugin::parse()));
    }
    let args = args::Cli::parse();
    exit::report(command::run(args))
}

/// Whether this binary was called `kubectl-ds`, as kubectl calls its plugin `ds`: a link of that name suffices.
fn called_as_plugin() -> bool {
    let name = std::env::args_os().next();
    name.is_some_and(|name| {
        Path::new(&name)
            .file_stem()
            .is_some_and(|stem| stem == "kubectl-ds")
    })
}
