//! Hollow nodes by the thousand: they register, renew leases, and report pods as running, against
//! any Kubernetes API. For load tests and for trying rollouts without machines.
//!
//! The life of the pods and the API objects are pure ([`pod_lifecycle`], [`pod`], [`node`]); the
//! other modules do the IO.

mod args;
mod bench;
mod condition;
mod leases;
mod node;
mod node_ready;
mod node_tasks;
mod pod;
mod pod_lifecycle;
mod pod_loop;
mod register;

use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use kube::Client;
use pandaemon_runtime::Shutdown;

pub use args::{Behaviour, HollowArgs, Labels};
pub use bench::{BenchArgs, bench, hostile, run_other_clients};

use self::{node::HollowNodes, node_tasks::NodeTasks};

/// Runs the nodes until a stop is asked for. They stay registered unless `cleanup` is set.
///
/// # Errors
/// When the nodes cannot be registered.
pub async fn run(client: Client, args: HollowArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let nodes = Arc::new(HollowNodes::new(&args.behaviour, args.count.get(), &[]));
    if let Some(warning) = lease_warning(nodes.count, nodes.lease_interval) {
        say(&warning);
    }
    // The tasks stop before the nodes are deleted.
    let work = shutdown.child();
    let mut tasks = NodeTasks::start(client, &args.behaviour, nodes, None, &work);
    let registered = shutdown.guard(register_all(&tasks)).await;
    if let Some(Ok(())) = registered {
        shutdown.triggered().await;
    }
    work.trigger();
    tasks.ended().await;
    let (started, deleted) = tasks.counts();
    let mut summary = format!("{started} pods started, {deleted} deleted");
    if args.cleanup {
        let nodes = tasks.delete(0..tasks.nodes().count, || ()).await;
        summary = format!("{summary}, {nodes} nodes deleted");
    }
    say(&summary);
    registered.unwrap_or(Ok(()))
}

/// A warning about leases that come too late or cost more than 1,000 writes a second.
fn lease_warning(count: u32, interval: Duration) -> Option<String> {
    let seconds = interval.as_secs_f64();
    if interval.is_zero() {
        Some("leases are not renewed: the nodes count as lost after 50 s".to_owned())
    } else if interval >= args::GRACE {
        Some(format!(
            "leases are renewed every {seconds} s: nodes count as lost after 50 s unless the control plane has a longer grace period"
        ))
    } else {
        let rate = f64::from(count) / seconds;
        (rate > 1000.0).then(|| {
            format!(
                "leases are renewed every {seconds} s: {rate:.0} writes a second for {count} nodes"
            )
        })
    }
}

/// Registers all nodes with a progress bar (on a terminal) and prints the rate.
async fn register_all(tasks: &NodeTasks) -> anyhow::Result<()> {
    let (start, count) = (Instant::now(), tasks.nodes().count);
    let bar = ProgressBar::new(count.into());
    let style = ProgressStyle::with_template("registering nodes {bar:40} {pos}/{len} {per_sec}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let registered = tasks.register(0..count, || bar.inc(1)).await;
    bar.finish_and_clear();
    registered?;
    say(&registration(count, start.elapsed()));
    Ok(())
}

fn registration(count: u32, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let nodes = if count == 1 { "node" } else { "nodes" };
    format!(
        "{count} {nodes} registered in {seconds:.2} s ({:.0}/s)",
        f64::from(count) / seconds
    )
}

/// Prints a line to standard error; a failure to write is ignored.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registration_summary_has_count_time_and_rate() {
        let line = registration(1000, Duration::from_millis(250));
        assert_eq!(line, "1000 nodes registered in 0.25 s (4000/s)");
        assert!(registration(1, Duration::from_secs(1)).starts_with("1 node registered"));
    }

    #[test]
    fn late_or_costly_leases_are_warned_of() {
        let warning = |count, seconds| lease_warning(count, Duration::from_secs(seconds));
        assert_eq!(warning(5_000, 10), None);
        let many = "leases are renewed every 30 s: 3333 writes a second for 100000 nodes";
        assert_eq!(warning(100_000, 30).as_deref(), Some(many));
        assert!(warning(1, 60).unwrap().contains("count as lost"));
        assert!(warning(1, 0).unwrap().contains("not renewed"));
    }
}
