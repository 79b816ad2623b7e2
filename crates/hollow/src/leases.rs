//! Renews the leases of all nodes, spread evenly over the interval.

use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use futures::{StreamExt as _, stream};
use http::Method;
use jiff::Timestamp;
use kube::Client;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    api::{self, Body},
    node::{Fleet, renewal},
    register::Uids,
};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// Between two complaints about leases.
const COMPLAINTS: Duration = Duration::from_secs(10);

/// Which renewals are due, counted from the start; the node is the number modulo the count.
#[derive(Debug)]
struct Pace {
    count: u32,
    interval: Duration,
    sent: u64,
}

impl Pace {
    /// The renewals that became due. Whole rounds that were missed are left out.
    fn due(&mut self, elapsed: Duration) -> std::ops::Range<u64> {
        let per_round = u128::from(self.count);
        let due = elapsed.as_nanos() * per_round / self.interval.as_nanos().max(1);
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        let first = self.sent.max(due.saturating_sub(self.count.into()));
        self.sent = due;
        first..due
    }
}

/// Renews for ever.
pub(crate) async fn run(client: Client, fleet: &Fleet, uids: Uids, parallel: usize) {
    if fleet.lease_interval.is_zero() {
        return std::future::pending().await;
    }
    let tick =
        (fleet.lease_interval / 100).clamp(Duration::from_millis(10), Duration::from_secs(1));
    let mut ticks = interval(tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let made: Vec<AtomicBool> = (0..fleet.count).map(|_| AtomicBool::new(false)).collect();
    let mut pace = Pace {
        count: fleet.count,
        interval: fleet.lease_interval,
        sent: 0,
    };
    let start = Instant::now();
    let (failed, mut said) = (AtomicU32::new(0), start);
    loop {
        ticks.tick().await;
        let due = pace
            .due(start.elapsed())
            .map(|number| number % u64::from(fleet.count));
        let due = due.filter_map(|node| u32::try_from(node).ok());
        let renewals = stream::iter(due).for_each_concurrent(parallel, |index| {
            let (client, uids, made, failed) = (&client, &uids, &made, &failed);
            async move {
                let Some((uid, made)) = cells(uids, made, index) else {
                    return;
                };
                if let Err(error) = renew(client, fleet, index, uid, made).await {
                    tracing::debug!(node = fleet.name(index), %error, "cannot renew the lease");
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        renewals.await;
        if said.elapsed() > COMPLAINTS && failed.load(Ordering::Relaxed) > 0 {
            said = Instant::now();
            let failed = failed.swap(0, Ordering::Relaxed);
            tracing::warn!(failed, "leases could not be renewed");
        }
    }
}

/// The uid of a registered node, and whether its lease exists.
fn cells<'a>(
    uids: &'a Uids,
    made: &'a [AtomicBool],
    index: u32,
) -> Option<(&'a str, &'a AtomicBool)> {
    let index = usize::try_from(index).ok()?;
    Some((uids.get(index)?.get()?, made.get(index)?))
}

async fn renew(
    client: &Client,
    fleet: &Fleet,
    index: u32,
    uid: &str,
    made: &AtomicBool,
) -> kube::Result<()> {
    let now = Timestamp::now();
    if !made.load(Ordering::Relaxed) {
        let lease = fleet.lease(index, uid, now);
        let created = api::tell(client, Method::POST, LEASES, Body::Json, lease).await;
        match created {
            Err(error) if api::code(&error) == Some(409) => (),
            result => {
                made.store(result.is_ok(), Ordering::Relaxed);
                return result;
            }
        }
    }
    let path = format!("{LEASES}/{}", fleet.name(index));
    let renewed = api::tell(client, Method::PATCH, &path, Body::MergePatch, renewal(now)).await;
    made.store(renewed.is_ok(), Ordering::Relaxed);
    renewed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_are_spread_and_missed_rounds_are_left_out() {
        let second = Duration::from_secs;
        let mut pace = Pace {
            count: 100,
            interval: second(10),
            sent: 0,
        };
        assert_eq!(pace.due(second(0)), 0..0);
        assert_eq!(pace.due(second(1)), 0..10);
        assert_eq!(pace.due(second(1)), 10..10);
        assert_eq!(pace.due(second(10)), 10..100);
        // A minute of sleep: one round, not six.
        assert_eq!(pace.due(second(70)), 600..700);
    }
}
