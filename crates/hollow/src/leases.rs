//! Renews the leases of all nodes, spread evenly over the interval.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use http::Method;
use jiff::Timestamp;
use pandaemon_client::{
    errors,
    rest::{JSON, Patch, Rest},
};
use pandaemon_runtime::Shutdown;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    node::{HollowNodes, renewal},
    register::NodeUids,
};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// Least time between two warnings about failed renewals.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Numbers the renewals of all nodes from the start, evenly spread over the interval.
/// Renewal `n` is due after `n * interval / count` and belongs to node `n % count`.
#[derive(Debug)]
struct RenewalSchedule {
    count: u32,
    interval: Duration,
    sent: u64,
}

impl RenewalSchedule {
    /// The renewals that became due since the last call. Missed intervals are left out.
    fn due(&mut self, elapsed: Duration) -> std::ops::Range<u64> {
        let per_round = u128::from(self.count);
        let due = elapsed.as_nanos() * per_round / self.interval.as_nanos().max(1);
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        let first = self.sent.max(due.saturating_sub(self.count.into()));
        self.sent = due;
        first..due
    }
}

/// Runs until a stop.
pub(crate) async fn run(
    rest: Rest,
    nodes: Arc<HollowNodes>,
    uids: NodeUids,
    parallel: usize,
    stop: Shutdown,
) -> anyhow::Result<()> {
    stop.guard(renew_all(&rest, &nodes, &uids, parallel)).await;
    Ok(())
}

async fn renew_all(rest: &Rest, nodes: &HollowNodes, uids: &NodeUids, parallel: usize) {
    if nodes.lease_interval.is_zero() {
        return std::future::pending().await;
    }
    let tick =
        (nodes.lease_interval / 100).clamp(Duration::from_millis(10), Duration::from_secs(1));
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let created: Vec<AtomicBool> = (0..nodes.count).map(|_| AtomicBool::new(false)).collect();
    let mut schedule = RenewalSchedule {
        count: nodes.count,
        interval: nodes.lease_interval,
        sent: 0,
    };
    let start = Instant::now();
    let (failed, mut logged) = (AtomicU32::new(0), start);
    loop {
        ticks.tick().await;
        let due = schedule
            .due(start.elapsed())
            .map(|number| number % u64::from(nodes.count));
        let due = due.filter_map(|node| u32::try_from(node).ok());
        let renewals = stream::iter(due).for_each_concurrent(parallel, |index| {
            let (created, failed) = (&created, &failed);
            async move {
                let Some((uid, created)) = lease_state(uids, created, index) else {
                    return;
                };
                if let Err(error) = renew(rest, nodes, index, uid, created).await {
                    tracing::debug!(node = nodes.name(index), %error, "cannot renew the lease");
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        renewals.await;
        if logged.elapsed() > LOG_INTERVAL && failed.load(Ordering::Relaxed) > 0 {
            logged = Instant::now();
            let failed = failed.swap(0, Ordering::Relaxed);
            tracing::warn!(
                failed,
                "leases could not be renewed; they are tried again in the next interval"
            );
        }
    }
}

/// The uid of a node and whether its lease was created; `None` until the node is registered.
fn lease_state<'a>(
    uids: &'a NodeUids,
    created: &'a [AtomicBool],
    index: u32,
) -> Option<(&'a str, &'a AtomicBool)> {
    let index = usize::try_from(index).ok()?;
    Some((uids.get(index)?.get()?, created.get(index)?))
}

async fn renew(
    rest: &Rest,
    nodes: &HollowNodes,
    index: u32,
    uid: &str,
    created: &AtomicBool,
) -> kube::Result<()> {
    let (rest, now) = (nodes.rest(rest, index)?, Timestamp::now());
    if !created.load(Ordering::Relaxed) {
        let lease = nodes.lease(index, uid, now);
        let posted = rest.send_only(Method::POST, LEASES, JSON, lease).await;
        match posted {
            Err(error) if errors::is_conflict(&error) => (),
            result => {
                created.store(result.is_ok(), Ordering::Relaxed);
                return result;
            }
        }
    }
    let path = format!("{LEASES}/{}", nodes.name(index));
    let form = Patch::Merge.media_type();
    let renewed = rest
        .send_only(Method::PATCH, &path, form, renewal(now))
        .await;
    created.store(renewed.is_ok(), Ordering::Relaxed);
    renewed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_are_spread_and_missed_intervals_are_left_out() {
        let second = Duration::from_secs;
        let mut schedule = RenewalSchedule {
            count: 100,
            interval: second(10),
            sent: 0,
        };
        assert_eq!(schedule.due(second(0)), 0..0);
        assert_eq!(schedule.due(second(1)), 0..10);
        assert_eq!(schedule.due(second(1)), 10..10);
        assert_eq!(schedule.due(second(10)), 10..100);
        // After a minute without a call: one interval, not six.
        assert_eq!(schedule.due(second(70)), 600..700);
    }
}
