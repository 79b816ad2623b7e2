//! Where nodes and pods reach this server, and the loop that keeps it in the endpoints of the
//! Service `default/kubernetes`.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use pandaemon_runtime::{Shutdown, catch_panic, net::outward_address};
use tokio::sync::watch;

use crate::registry::{
    Registry,
    kubernetes_service::{self, Servers},
};

/// How often the objects are looked at (upstream: `DefaultEndpointReconcilerInterval`).
const INTERVAL: Duration = Duration::from_secs(10);

/// Nodes and pods cannot reach the address that is to be advertised.
#[derive(Debug, thiserror::Error)]
#[error(
    "advertise {0}: other machines cannot reach this address; choose another --advertise-address"
)]
pub struct AdvertiseError(Ipv4Addr);

/// The advertised address of this server; `None` if it can be reached from this machine only.
#[derive(Debug)]
pub(crate) struct Advertised(Arc<watch::Sender<Option<SocketAddrV4>>>);

impl Advertised {
    /// Advertises this address if other machines and pods can reach it.
    #[must_use]
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self(Arc::new(watch::Sender::new(reachable(address))))
    }

    /// Advertises another address from now on; false if it is of no use to others.
    pub(crate) fn set(&self, address: SocketAddr) -> bool {
        let address = reachable(address);
        if address.is_some() {
            self.0.send_replace(address);
        }
        address.is_some()
    }

    /// Keeps the endpoints of the Service until the shutdown. They stay then, as upstream leaves
    /// those of the last server.
    pub(crate) fn keep_endpoints(
        &self,
        registry: Arc<Registry>,
        shutdown: Shutdown,
    ) -> impl Future<Output = ()> + use<> {
        let advertised = Arc::clone(&self.0);
        async move {
            let mut address = advertised.subscribe();
            loop {
                let own = *address.borrow_and_update();
                // The store belongs to this process, so that there are no other servers.
                let servers = Servers {
                    addresses: own.iter().map(|own| *own.ip()).collect::<BTreeSet<_>>(),
                    port: own.map_or(0, |own| own.port()),
                };
                let round = kubernetes_service::reconcile(&registry, &servers);
                // A panic is logged there.
                if let Some(Err(status)) = catch_panic("kubernetes-service", round).await {
                    tracing::warn!(
                        error = %status,
                        "cannot write the endpoints of default/kubernetes; retrying in {INTERVAL:?}"
                    );
                }
                let next = tokio::time::timeout(INTERVAL, address.changed());
                if shutdown.guard(next).await.is_none() {
                    return;
                }
            }
        }
    }
}

/// The address if endpoints may have it: upstream's `ValidateNonSpecialIP`, and the family of
/// cluster IPs.
fn reachable(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => is_reachable(*address.ip()).then_some(address),
        SocketAddr::V6(_) => None,
    }
}

/// Whether other machines may reach this address.
fn is_reachable(ip: Ipv4Addr) -> bool {
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast())
}

/// The address under which clients reach a server that listens on this one, if none is asked for.
///
/// # Errors
/// If the one that is asked for is of no use to others.
pub(crate) fn address_for(
    listen: SocketAddr,
    asked_for: Option<Ipv4Addr>,
) -> Result<SocketAddr, AdvertiseError> {
    let ip = match (asked_for, listen.ip()) {
        (Some(ip), _) if !is_reachable(ip) => return Err(AdvertiseError(ip)),
        (Some(ip), _) => ip.into(),
        (None, ip) if ip.is_unspecified() => outward_address().unwrap_or(ip),
        (None, ip) => ip,
    };
    Ok(SocketAddr::new(ip, listen.port()))
}
