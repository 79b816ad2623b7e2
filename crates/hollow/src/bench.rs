//! `pandaemon bench`: drives a control plane, ours or another, through the life of a DaemonSet on
//! hollow nodes, and measures it: [`run`] has the phases, [`progress`] the watches, [`phase_timer`]
//! the measured processes, [`mod@report`] the result. [`mod@hostile`] measures single requests.

mod args;
mod ceiling;
mod cluster;
pub mod hostile;
mod nodes;
mod other_clients;
mod phase_timer;
mod process;
mod progress;
mod progress_bar;
mod report;
mod run;

use std::io::Write;

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;
use kube::Client;
use pandaemon_runtime::Shutdown;
use pandaemon_types::time::rfc3339_seconds;
use tokio::signal::unix::{SignalKind, signal};

pub use args::BenchArgs;
pub use other_clients::run_other_clients;

use self::{
    report::{Options, Report, SCHEMA, Server},
    run::Run,
};
use crate::say;

/// Measures, writes the result, and removes everything that it created, also when it is
/// interrupted.
///
/// # Errors
/// When the cluster cannot be used, a phase takes too long, or the run is interrupted.
pub async fn bench(
    client: Client,
    args: BenchArgs,
    shutdown: Shutdown,
    out: &mut (impl Write + Send),
) -> Result<()> {
    let (machine, started) = (process::machine(), rfc3339_seconds(Timestamp::now()));
    // The hollow nodes run until everything is cleaned up.
    let work = Shutdown::default();
    let prepared = shutdown.guard(Run::prepare(client, args, &work)).await;
    let mut run = prepared.context("interrupted")??;
    let measured = shutdown.guard(run.measure()).await;
    let measured = measured.unwrap_or_else(|| Err(anyhow!("interrupted")));
    let processes = run.timer.processes();
    if measured.is_err() {
        say("  --  cleaning up; a second Ctrl-C leaves everything as it is");
    }
    let cleanup_commands = run.cleanup_commands();
    let cleaned = tokio::select! {
        cleaned = run.clean() => cleaned,
        stopped = second_signal(&shutdown) => stopped.and(Err(anyhow!("not cleaned up"))),
    };
    let cleaned = cleaned.with_context(|| format!("left behind; to clean up: {cleanup_commands}"));
    work.trigger();
    run.ended().await;
    if let Err(error) = measured {
        if let Err(also) = cleaned {
            say(&format!("{also:#}"));
        }
        return Err(error);
    }
    let report = report(run, machine, started, processes?)?;
    write(&report.0, report.1, out)?;
    cleaned
}

fn report(
    run: Run,
    machine: process::Machine,
    started: String,
    processes: Vec<report::Process>,
) -> Result<(Report, bool)> {
    let args = run.args;
    let nodes = args.nodes.get();
    let leases = args.behaviour.renewal(nodes + args.joining());
    let report = Report {
        schema: SCHEMA,
        label: args.label.unwrap_or_else(|| run.version.clone()),
        started,
        machine,
        server: Server {
            version: run.version,
        },
        options: Options {
            client: env!("CARGO_PKG_VERSION"),
            nodes,
            joins: if args.hollow_external { 0 } else { args.joins },
            max_unavailable: args.roll,
            start_latency_seconds: args.behaviour.start_latency.as_secs_f64(),
            lease_interval_seconds: leases.as_secs_f64(),
            parallel: args.behaviour.parallel.get(),
            hollow_external: args.hollow_external,
        },
        phases: run.timer.phases,
        ceiling: run.ceiling,
        results: run.results,
        processes,
    };
    Ok((report, args.json))
}

fn write(report: &Report, json: bool, out: &mut impl Write) -> Result<()> {
    let text = if json {
        serde_json::to_string_pretty(report)? + "\n"
    } else {
        report.table()
    };
    out.write_all(text.as_bytes()).context("write the result")
}

/// Resolves at the next SIGINT or SIGTERM after the one that triggered the shutdown.
async fn second_signal(shutdown: &Shutdown) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    shutdown.triggered().await;
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
