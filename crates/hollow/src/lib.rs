//! Pretend nodes by the thousand: they register, renew leases, and report pods as running, against any
//! Kubernetes API. For load tests and for trying rollouts without machines.
//!
//! The machine of the pods and the API objects are pure ([`machine`], [`pod`], [`node`]); the other
//! modules send what they say.

mod api;
mod args;
mod follow;
mod health;
mod leases;
mod machine;
mod node;
mod pod;
mod pods;
mod register;

use std::{
    io::Write as _,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use kube::Client;
use pandaemon_runtime::{Shutdown, spawn};

pub use args::{HollowArgs, Labels};

use self::{machine::Machine, node::Fleet, pods::Counts, register::Uids};

/// Runs the nodes until a stop is asked for. They stay registered unless `cleanup` is set.
///
/// # Errors
/// When the nodes cannot be registered.
pub async fn run(client: Client, args: HollowArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let parallel = usize::try_from(args.parallel.get())?;
    let fleet = Arc::new(fleet(&args));
    let uids: Uids = (0..fleet.count).map(|_| OnceLock::new()).collect();
    let counts = Arc::new(Counts::default());
    let machine = Machine::new(Arc::clone(&fleet), args.start_latency, args.failure_rate);
    // Everything stops before the nodes are deleted.
    let work = shutdown.child();
    let tasks = [
        spawn("hollow-pods", {
            let (client, work, counts) = (client.clone(), work.clone(), Arc::clone(&counts));
            async move {
                work.guard(pods::run(client, machine, parallel, counts))
                    .await
            }
        }),
        spawn("hollow-health", {
            let (client, work, fleet) = (client.clone(), work.clone(), Arc::clone(&fleet));
            async move { work.guard(health::run(client, &fleet, parallel)).await }
        }),
        spawn("hollow-leases", {
            let (client, work, uids) = (client.clone(), work.clone(), Arc::clone(&uids));
            let fleet = Arc::clone(&fleet);
            async move {
                work.guard(leases::run(client, &fleet, uids, parallel))
                    .await
            }
        }),
    ];
    let registered = shutdown.guard(join(&client, &fleet, &uids, parallel)).await;
    if let Some(Ok(())) = registered {
        shutdown.triggered().await;
    }
    work.trigger();
    futures::future::join_all(tasks).await;
    let (started, finished) = (&counts.started, &counts.finished);
    let (started, finished) = (
        started.load(Ordering::Relaxed),
        finished.load(Ordering::Relaxed),
    );
    if args.cleanup {
        let deleted = register::delete(&client, &fleet, parallel).await;
        say(&format!(
            "{started} pods started, {finished} finished, {deleted} nodes deleted"
        ));
    } else {
        say(&format!("{started} pods started, {finished} finished"));
    }
    registered.unwrap_or(Ok(()))
}

fn fleet(args: &HollowArgs) -> Fleet {
    Fleet {
        prefix: args.name_prefix.clone(),
        count: args.count.get(),
        labels: args.labels.0.clone(),
        lease_interval: args.lease_interval,
    }
}

/// Registers the nodes with a progress bar (on a terminal), and says how it went.
async fn join(client: &Client, fleet: &Fleet, uids: &Uids, parallel: usize) -> anyhow::Result<()> {
    let start = Instant::now();
    let bar = ProgressBar::new(fleet.count.into());
    let style = ProgressStyle::with_template("registering nodes {bar:40} {pos}/{len} {per_sec}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let registered = register::register(client, fleet, uids, parallel, || bar.inc(1)).await;
    bar.finish_and_clear();
    registered?;
    say(&registration(fleet.count, start.elapsed()));
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

/// A line for the person at the terminal. One that cannot be written is of no use to anybody.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_is_one_line() {
        let line = registration(1000, Duration::from_millis(250));
        assert_eq!(line, "1000 nodes registered in 0.25 s (4000/s)");
        assert!(registration(1, Duration::from_secs(1)).starts_with("1 node registered"));
    }
}
