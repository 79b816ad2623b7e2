//! Which addresses of nodes are dialed, and how.
//!
//! A node writes its own address and port, so that a hostile one could make the server connect
//! anywhere. Upstream refuses such addresses for `nodes/proxy` with another port than the kubelet's
//! (`proxyutil.IsProxyableHostname`); here they are refused for all requests, with the same words.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    sync::Arc,
};

use hyper_util::client::legacy::connect::HttpConnector;
use nix::{ifaddrs::getifaddrs, sys::socket::SockaddrStorage};
use pandaemon_runtime::net::{Keepalive, connector};
use parking_lot::Mutex;
use tokio::{net::TcpStream, sync::Semaphore, task::spawn_blocking};
use tower::Service as _;

use super::Agent;

/// Names that are resolved at once. A lookup takes a thread, for as long as a node's name server
/// likes. Our agents have addresses, which are not looked up.
const LOOKUPS: usize = 16;

/// Why an agent is not dialed, or not reached. For the log: who asks is not told.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// The port of the node is none.
    #[error("{0} is no port")]
    Port(i64),
    /// The address of the node is none, and no name either.
    #[error("look up {name}: {why}")]
    Lookup {
        /// What the Node has as its address.
        name: String,
        /// The error of the resolver.
        why: io::Error,
    },
    /// The address is not dialed.
    #[error("address not allowed: {0} is {1}")]
    NotAllowed(SocketAddr, &'static str),
    /// No address can be connected to.
    #[error("connect to {0}: {1}")]
    Connect(SocketAddr, String),
}

/// Connects to what nodes say is their address, within the rules.
pub(super) struct Dialer {
    allow_loopback: bool,
    /// The addresses that this server listens on, and those by which others reach it.
    own: Mutex<BTreeSet<SocketAddr>>,
    lookups: Arc<Semaphore>,
    connector: HttpConnector,
}

impl Dialer {
    /// A dialer that connects to loopback addresses only if they are allowed.
    pub(super) fn new(allow_loopback: bool) -> Self {
        // A log that is followed may be silent for hours: only the kernel can tell whether its
        // agent is there. A command may leave its input unread as long, which is why bytes that
        // are not taken are no error.
        let keepalive = Keepalive {
            unacknowledged: None,
            ..Keepalive::default()
        };
        Self {
            allow_loopback,
            own: Mutex::default(),
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            connector: connector(keepalive, None),
        }
    }

    /// No node is at this address: the server is.
    pub(super) fn is_at(&self, address: SocketAddr) {
        self.own.lock().insert(address);
    }

    /// Connects to the agent's address. Of a name each address has to be allowed.
    pub(super) async fn dial(&self, agent: &Agent) -> Result<TcpStream, DialError> {
        let port = u16::try_from(agent.port).ok().filter(|port| *port > 0);
        let port = port.ok_or(DialError::Port(agent.port))?;
        let addresses = self.resolve(&agent.host, port).await?;
        for address in &addresses {
            if let Some(why) = self.refusal(*address) {
                return Err(DialError::NotAllowed(*address, why));
            }
        }
        let mut last = None;
        for address in addresses {
            match self.connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(why) => last = Some(DialError::Connect(address, why)),
            }
        }
        Err(last.unwrap_or_else(|| DialError::Lookup {
            name: agent.host.clone(),
            why: io::Error::other("No addresses for hostname"),
        }))
    }

    async fn connect(&self, address: SocketAddr) -> Result<TcpStream, String> {
        let uri = http::Uri::builder()
            .scheme("https")
            .authority(address.to_string())
            .path_and_query("/")
            .build()
            .map_err(|error| error.to_string())?;
        // The authority is an address, which is not looked up again.
        let connected = self.connector.clone().call(uri).await;
        let connected = connected.map(hyper_util::rt::TokioIo::into_inner);
        connected.map_err(|error| error.to_string())
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, DialError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let failed = |why| DialError::Lookup {
            name: host.to_owned(),
            why,
        };
        let permit = Arc::clone(&self.lookups).acquire_owned().await;
        let permit = permit.map_err(|closed| failed(io::Error::other(closed)))?;
        let name = host.to_owned();
        let found = spawn_blocking(move || {
            let found = (name.as_str(), port).to_socket_addrs();
            // The lookup goes on when its caller has left.
            drop(permit);
            found.map(Vec::from_iter)
        });
        let found = found.await.map_err(io::Error::other).flatten();
        found.map_err(failed)
    }

    /// Why this address is not dialed, if it is not.
    fn refusal(&self, address: SocketAddr) -> Option<&'static str> {
        if let Some(why) = refusal(address.ip(), self.allow_loopback) {
            return Some(why);
        }
        let is_own = is_own(address, &self.own.lock(), is_local);
        is_own.then_some("an address of this server")
    }
}

/// Why no address like this is dialed. Upstream: `IsGlobalUnicast`.
fn refusal(ip: IpAddr, allow_loopback: bool) -> Option<&'static str> {
    // `::ffff:169.254.0.1` is `169.254.0.1`.
    match ip.to_canonical() {
        ip if ip.is_loopback() => {
            (!allow_loopback).then_some("a loopback address; see --allow-loopback-nodes")
        }
        ip if ip.is_multicast() => Some("a multicast address"),
        IpAddr::V4(ip) if ip.is_link_local() => Some("a link-local address"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => Some("the broadcast address"),
        // Linux takes 0.0.0.0 for the machine itself.
        IpAddr::V4(ip) if ip.octets()[0] == 0 => Some("an unspecified address"),
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Some("an unspecified address"),
        // ::/96, which stood for IPv4 addresses once (RFC 4291, 2.5.5.1).
        IpAddr::V6(ip) if ip.to_bits() >> 32 == 0 => Some("a reserved address"),
        _ => None,
    }
}

/// Whether a server with these addresses is at this one: it is one of them, or one of this machine
/// with the port of one of them. A server that listens on one address only does not listen on
/// others with the same port, but no agent needs those.
fn is_own(
    address: SocketAddr,
    own: &BTreeSet<SocketAddr>,
    is_local: impl Fn(IpAddr) -> bool,
) -> bool {
    let ip = address.ip().to_canonical();
    let mut of_port = own.iter().filter(|own| own.port() == address.port());
    of_port.any(|own| own.ip().to_canonical() == ip || is_local(ip))
}

/// Whether this machine has the address. If that cannot be read, it may.
fn is_local(ip: IpAddr) -> bool {
    if ip.is_loopback() {
        return true;
    }
    let of = |address: &SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|one| IpAddr::V4(one.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|one| IpAddr::V6(one.ip())))
    };
    getifaddrs().map_or(true, |mut all| {
        all.any(|one| one.address.as_ref().and_then(of) == Some(ip))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_addresses_are_refused_in_every_form() {
        for (ip, why) in [
            ("169.254.169.254", Some("a link-local address")),
            ("169.254.0.0", Some("a link-local address")),
            ("169.254.255.255", Some("a link-local address")),
            ("::ffff:169.254.169.254", Some("a link-local address")),
            ("fe80::1", Some("a link-local address")),
            ("febf:ffff::1", Some("a link-local address")),
            ("224.0.0.1", Some("a multicast address")),
            ("239.255.255.250", Some("a multicast address")),
            ("ff02::1", Some("a multicast address")),
            ("::ffff:224.0.0.1", Some("a multicast address")),
            ("255.255.255.255", Some("the broadcast address")),
            ("::ffff:255.255.255.255", Some("the broadcast address")),
            ("0.0.0.0", Some("an unspecified address")),
            ("0.1.2.3", Some("an unspecified address")),
            ("::", Some("an unspecified address")),
            ("::ffff:0.0.0.0", Some("an unspecified address")),
            ("::169.254.169.254", Some("a reserved address")),
            ("::127.0.0.1", Some("a reserved address")),
            ("10.0.0.1", None),
            ("100.64.0.1", None),
            ("192.168.1.1", None),
            ("169.253.255.255", None),
            ("169.255.0.0", None),
            ("8.8.8.8", None),
            ("::ffff:10.0.0.1", None),
            ("fd00::1", None),
            ("2001:db8::1", None),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(refusal(ip, false), why, "{ip}");
            assert_eq!(refusal(ip, true), why, "{ip}");
        }
        for ip in ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"] {
            let ip: IpAddr = ip.parse().unwrap();
            assert!(
                refusal(ip, false).unwrap().starts_with("a loopback"),
                "{ip}"
            );
            assert_eq!(refusal(ip, true), None, "{ip}");
        }
    }

    #[test]
    fn addresses_of_the_server_are_its_own_and_other_ports_are_not() {
        let own = ["0.0.0.0:6443", "10.0.0.1:7443", "203.0.113.5:443"];
        let own = own.map(|one| one.parse().unwrap()).into();
        let is_local = |ip: IpAddr| {
            ["127.0.0.1", "10.0.0.1", "10.0.0.2", "fd00::1"].contains(&&*ip.to_string())
        };
        for (address, expected) in [
            ("127.0.0.1:6443", true),
            ("10.0.0.1:6443", true),
            ("[fd00::1]:6443", true),
            ("[::ffff:10.0.0.1]:6443", true),
            ("10.0.0.2:7443", true),
            // The address that is advertised may be that of a router.
            ("203.0.113.5:443", true),
            ("203.0.113.5:10250", false),
            ("10.0.0.1:10250", false),
            ("127.0.0.1:10250", false),
            ("10.0.0.9:6443", false),
        ] {
            let found = is_own(address.parse().unwrap(), &own, is_local);
            assert_eq!(found, expected, "{address}");
        }
    }

    #[test]
    fn the_addresses_of_this_machine_are_local() {
        assert!(is_local([127, 0, 0, 1].into()));
        let interfaces = getifaddrs().unwrap().filter_map(|one| one.address);
        let addresses = interfaces.filter_map(|one| one.as_sockaddr_in().map(|one| one.ip()));
        for address in addresses {
            assert!(is_local(address.into()), "{address}");
        }
        assert!(!is_local([203, 0, 113, 77].into()));
    }
}
