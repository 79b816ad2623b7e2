//! Names that nodes may have: they are in certificates.

use std::net::IpAddr;

use pandaemon_types::names;
use rustls_pki_types::DnsName;

/// Names of the API server and of this machine, with all names below them.
const RESERVED: [&str; 4] = ["localhost", "kubernetes", "svc", "cluster.local"];

/// Checks the name of a node that asks for certificates.
///
/// # Errors
/// The reason, for a person.
pub(crate) fn check_node_name(name: &str) -> Result<(), String> {
    let is_address = name.parse::<IpAddr>().is_ok();
    let is_dns = names::dns_subdomain(name).is_empty() && DnsName::try_from(name).is_ok();
    if is_address || !is_dns {
        return Err(format!(
            "node name {name:?} is not a DNS name: use lower case letters, digits, '-' and '.', and at least one letter"
        ));
    }
    let is_reserved = |reserved: &&str| {
        name.strip_suffix(*reserved)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    // `kubernetes.default` and `kubernetes.default.svc`, which clients in pods use.
    match RESERVED.iter().any(is_reserved) || name.starts_with("kubernetes.default") {
        true => Err(format!(
            "node name {name:?} is reserved for the API server or for names of the machine itself: choose another --node-name"
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::check_node_name;

    #[test]
    fn names_of_the_server_and_addresses_are_no_names_of_nodes() {
        for good in [
            "n1",
            "a-b.example",
            "localhost1",
            "kubernetes-1",
            "1a.2b",
            "my.kubernetes1",
        ] {
            assert_eq!(check_node_name(good), Ok(()), "{good}");
        }
        let bad = [
            "",
            "N1",
            "a_b",
            "-a",
            "a.",
            "..",
            "a..b",
            "10.0.0.7",
            "fd00::1",
            "localhost",
            "a.localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "x.svc",
            "system:node:a",
            "*",
            "*.example",
        ];
        for bad in bad {
            assert!(check_node_name(bad).is_err(), "{bad}");
        }
        assert!(check_node_name(&"a".repeat(64)).is_err());
    }
}
