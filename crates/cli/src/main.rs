//! `pandaemon`: a daemon on every node. The one binary; it only joins the crates.

mod args;
mod command;
mod exit;
mod steps;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Cli::parse();
    exit::report(command::run(args))
}
