//! `pandaemon`: a daemon on every node. The one binary; it only joins the crates.

mod args;
mod command;
mod exit;
mod steps;

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

/// A third of the time of a write is spent in the system's allocator (docs/benchmarks.md), and its heap does not shrink.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let args = args::Cli::parse();
    exit::report(command::run(args))
}
