//! Connections to other machines.

use std::{
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use hyper_util::client::legacy::connect::HttpConnector;

/// When a connection whose other end has vanished without a word (half-open) counts as broken. Such
/// a connection is silent, which is no error for a watch, so that only the kernel can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without an answer before the connection is broken.
    pub probes: u32,
    /// How long sent bytes may stay without acknowledgement, or with a receiver that takes none
    /// (TCP_USER_TIMEOUT). `None`: as long as the kernel tries to send them, some 15 minutes, and
    /// for ever while the receiver lives.
    pub unacknowledged: Option<Duration>,
}

impl Default for Keepalive {
    /// 25 s at most.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            interval: Duration::from_secs(5),
            probes: 3,
            unacknowledged: Some(Duration::from_secs(25)),
        }
    }
}

/// Makes TCP connections that notice when the other end vanishes.
#[must_use]
pub fn connector(keepalive: Keepalive, timeout: Option<Duration>) -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(timeout);
    tcp.set_keepalive(Some(keepalive.idle));
    tcp.set_keepalive_interval(Some(keepalive.interval));
    tcp.set_keepalive_retries(Some(keepalive.probes));
    tcp.set_tcp_user_timeout(keepalive.unacknowledged);
    tcp
}

/// The address of this machine on the route to other hosts. Connecting a UDP socket looks up the
/// route and sends nothing.
#[must_use]
pub fn outward_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("198.51.100.1", 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
