//! Renews the node's lease: the heartbeat of the node.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use pandaemon_types::time::rfc3339_micros;
use serde_json::json;

use crate::context::Context;

/// How often the lease is renewed; the kubelet's default.
const LEASE_RENEWAL: Duration = Duration::from_secs(10);
/// The lease's `leaseDurationSeconds`; the kubelet's default.
const LEASE_SECONDS: i32 = 40;
/// Timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The delay before a failed request is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The delay before the first retry of a lease renewal: the server may have closed the idle
/// connection, and the retry opens a new one.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Renews the node's lease in namespace `kube-node-lease`; does not return.
pub(crate) async fn renew_lease(context: Arc<Context>) {
    let api: Api<Lease> = Api::namespaced(context.client.clone(), "kube-node-lease");
    let name = context.config.node_name.as_str();
    let mut delay = LEASE_RENEWAL;
    loop {
        delay = match tokio::time::timeout(REQUEST_TIMEOUT, renew(&api, name)).await {
            Ok(Ok(())) => LEASE_RENEWAL,
            Ok(Err(error)) => {
                tracing::debug!(%error, "cannot renew the node lease; trying again");
                if delay == LEASE_RENEWAL {
                    FIRST_RETRY_DELAY
                } else {
                    RETRY_DELAY
                }
            }
            Err(_elapsed) => RETRY_DELAY,
        };
        tokio::time::sleep(delay).await;
    }
}

async fn renew(api: &Api<Lease>, name: &str) -> kube::Result<()> {
    let time = rfc3339_micros(jiff::Timestamp::now());
    let spec = json!({
        "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": time,
    });
    let patch = json!({ "spec": spec });
    match api
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
    {
        Ok(_lease) => Ok(()),
        Err(kube::Error::Api(error)) if error.code == 404 => {
            let lease = json!({ "metadata": { "name": name }, "spec": spec });
            let lease: Lease = serde_json::from_value(lease).map_err(kube::Error::SerdeError)?;
            api.create(&PostParams::default(), &lease).await.map(|_| ())
        }
        Err(error) => Err(error),
    }
}
