//! Addresses of Services.

use std::net::Ipv4Addr;

/// The range of cluster IPs, `10.96.0.0/12`: first address and length of the prefix (upstream:
/// `--service-cluster-ip-range`; kubeadm has the same range).
pub const RANGE: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 12);

/// The cluster IP of the Service `default/kubernetes`: the first of the range after that of the
/// network.
pub const KUBERNETES: Ipv4Addr = Ipv4Addr::from_bits(RANGE.0.to_bits() + 1);

/// The port of that Service.
pub const KUBERNETES_PORT: u16 = 443;

/// Whether an address is in the range.
#[must_use]
pub const fn is_cluster_ip(ip: Ipv4Addr) -> bool {
    ip.to_bits() & (u32::MAX << (32 - RANGE.1)) == RANGE.0.to_bits()
}
