//! Periodic work of the server.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use pandaemon_runtime::{Shutdown, catch_panic};

use crate::{
    api::Api,
    pki::Pki,
    registry::{bootstrap, extension_authentication},
};

/// How long a round waits for the next.
const INTERVAL: Duration = Duration::from_secs(2);
/// How many rounds are between two of what is done once in a minute, and once in an hour.
const MINUTE: u32 = 30;
const HOUR: u32 = 60 * MINUTE;

/// Probes a store that refused a write, drops unused list states, deletes old Events, expired
/// tokens and records of nodes deleted long ago, rotates keys, publishes CAs again, looks after
/// the objects of flow control.
pub(crate) async fn run(api: Arc<Api>, shutdown: Shutdown) {
    let mut rounds: u32 = 0;
    let mut flow_control = api.flow_control.last_changed();
    while shutdown.guard(tokio::time::sleep(INTERVAL)).await.is_some() {
        rounds = rounds.wrapping_add(1);
        let changed = api.flow_control.last_changed();
        if std::mem::replace(&mut flow_control, changed) != changed {
            let statuses = bootstrap::keep_flow_schema_statuses(&api.registry);
            let _panicked = catch_panic("housekeeping", statuses).await;
        }
        // A panic of one round is logged; the next round runs all the same.
        let _panicked = catch_panic("housekeeping", round(&api, rounds)).await;
    }
}

async fn round(api: &Api, round: u32) {
    let registry = &api.registry;
    registry.probe_store().await;
    registry.cache.paged_lists.expire(Instant::now());
    if !round.is_multiple_of(MINUTE) {
        return;
    }
    let now = Timestamp::now();
    if let Err(status) = bootstrap::expire_events(registry, now).await {
        tracing::warn!(error = %status, "cannot delete old events; retrying in a minute");
    }
    if let Err(status) = registry.expire_bootstrap_tokens(now).await {
        tracing::warn!(error = %status, "cannot delete expired tokens; retrying in a minute");
    }
    if let Err(error) = api.service_accounts.keys.rotate(now) {
        tracing::warn!(%error, "cannot rotate the signing keys; retrying in a minute");
    }
    bootstrap::keep_flow_control(registry).await;
    publish_authentication(api).await;
    if round.is_multiple_of(HOUR)
        && let Err(status) = registry.forget_deleted_nodes(now).await
    {
        tracing::warn!(error = %status, "cannot delete records of deleted nodes; retrying in an hour");
    }
}

/// Publishes the CAs of clients. A plugin may refuse that, which is no reason to end.
pub(crate) async fn publish_authentication(api: &Api) {
    let published = extension_authentication::publish(&api.registry, &api.pki).await;
    if let Err(status) = published {
        tracing::warn!(error = %status, "cannot publish the CAs of clients; retrying in a minute");
    }
}

/// Renews the server's own certificates when they are due.
pub(crate) async fn renew_certificates(pki: Arc<Pki>, shutdown: Shutdown) {
    let interval = pki.renewal_interval();
    while shutdown.guard(tokio::time::sleep(interval)).await.is_some() {
        if let Err(error) = pki.renew() {
            tracing::warn!(%error, "cannot renew a certificate; retrying in {interval:?}");
        }
    }
}
