//! The rules that lead the cluster IP of the Service `default/kubernetes` to the API server, as
//! this node reaches it: one for its pods and one for its own processes (and pods of its network).
//!
//! They stand in for a service proxy, and work as well when the control plane is away.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use pandaemon_types::cluster_ip;
use parking_lot::Mutex;

use super::{cni, tools};
use crate::config::{Config, Paths};

/// How often the rules and the server's address are looked at.
const INTERVAL: Duration = Duration::from_secs(30);
/// How long the resolver may take for the server's name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// The chains of the nat table: for packets of pods, and for those of the node's own network.
const CHAINS: [&str; 2] = ["PREROUTING", "OUTPUT"];

/// The way from the Service's cluster IP to the API server.
#[derive(Debug)]
pub(crate) struct ApiServerRules {
    /// Host and port of the server's URL; `None` if it is no URL.
    server: Option<(String, u16)>,
    /// The comment by which this agent knows its rules.
    comment: String,
    /// The device that packets of pods come from, if the agent has made it.
    bridge: Option<String>,
    /// Whether this machine has `iptables`.
    iptables: bool,
    /// Whether the rules are there.
    are_set: AtomicBool,
    /// What was said last about them in the log.
    said: Mutex<String>,
}

/// Where packets to the cluster IP go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// To another address.
    Server(Ipv4Addr, u16),
    /// To the node itself: the server's URL has a loopback address, which pods cannot use. They get
    /// to the address of their bridge, where a server answers that listens on all addresses.
    Node(u16),
}

/// A change of one rule: the operation of `iptables` and its arguments.
type Change = (&'static str, Vec<String>);

impl ApiServerRules {
    /// Rules for the configured server.
    #[must_use]
    pub(crate) fn new(config: &Config, paths: &Paths, iptables: bool) -> Self {
        let has_own_bridge = config.cri_socket.is_none();
        Self {
            server: host_and_port(&config.server),
            comment: format!("pandaemon-{}-api", paths.short),
            bridge: has_own_bridge.then(|| cni::bridge_name(paths)),
            iptables,
            are_set: AtomicBool::new(false),
            said: Mutex::default(),
        }
    }

    /// The host and port by which containers reach the API server: the Service's, or without the
    /// rules those of the server itself.
    #[must_use]
    pub(crate) fn for_containers(&self) -> Option<(String, u16)> {
        if self.are_set.load(Ordering::Relaxed) {
            let service = cluster_ip::KUBERNETES.to_string();
            return Some((service, cluster_ip::KUBERNETES_PORT));
        }
        self.server.clone()
    }

    /// Keeps the rules as they must be.
    pub(crate) async fn keep(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.ensure().await;
        }
    }

    /// Adds the rules if they are not there, and removes those for an earlier address. A failure is
    /// logged once: pods that start meanwhile get the server's own address.
    pub(crate) async fn ensure(&self) {
        if !self.iptables {
            return;
        }
        let target = self.target().await;
        let mut said = match target {
            Ok(Target::Server(..)) | Err(_) => String::new(),
            Ok(Target::Node(_)) => "the API server has a loopback address: pods reach it only if \
                 it listens on all addresses"
                .to_owned(),
        };
        let mut are_set = true;
        for chain in CHAINS {
            let set = match &target {
                Ok(target) => self.ensure_one(chain, *target).await.map(|()| true),
                Err(why) => {
                    said.clone_from(why);
                    self.own_rules(chain).await.map(|rules| !rules.is_empty())
                }
            };
            are_set &= set.unwrap_or_else(|why| {
                said = format!("cannot lead the Service default/kubernetes to it: {why}");
                false
            });
        }
        self.are_set.store(are_set, Ordering::Relaxed);
        let mut before = self.said.lock();
        if !said.is_empty() && *before != said {
            tracing::warn!(server = ?self.server, are_set, "{said}");
        }
        *before = said;
    }

    /// Removes the rules.
    pub(crate) async fn remove(&self) {
        if !self.iptables {
            return;
        }
        for chain in CHAINS {
            for rule in self.own_rules(chain).await.unwrap_or_default() {
                if let Err(error) = change("-D", &rule).await {
                    tracing::warn!(%error, rule = rule.join(" "), "an iptables rule is left");
                }
            }
        }
    }

    /// Where the server is now.
    async fn target(&self) -> Result<Target, String> {
        let (host, port) = self.server.as_ref().ok_or("its address is no URL")?;
        let found = tokio::net::lookup_host((host.as_str(), *port));
        let found = tokio::time::timeout(RESOLVE_TIMEOUT, found).await;
        let found = found.map_err(|_elapsed| format!("cannot resolve {host:?} in time"))?;
        let found = found.map_err(|error| format!("cannot resolve {host:?}: {error}"))?;
        target(found.map(|address| address.ip()), *port)
            .ok_or_else(|| format!("{host:?} has no IPv4 address, as cluster IPs are"))
    }

    async fn ensure_one(&self, chain: &'static str, target: Target) -> io::Result<()> {
        let rules = self.own_rules(chain).await?;
        for (operation, rule) in self.changes(chain, &rules, target) {
            change(operation, &rule).await?;
        }
        Ok(())
    }

    /// The rules of this agent in a chain.
    async fn own_rules(&self, chain: &'static str) -> io::Result<Vec<Vec<String>>> {
        let output = tools::iptables_nat("-S", [chain]).await?;
        if !output.status.success() {
            return Err(said(&output));
        }
        Ok(self.parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// The rules of this agent in a list, without the operation.
    fn parse(&self, listing: &str) -> Vec<Vec<String>> {
        let rules = listing.lines().filter_map(|line| {
            let words = line.strip_prefix("-A ")?.split_whitespace();
            let words: Vec<String> = words.map(|word| word.trim_matches('"').into()).collect();
            words.contains(&self.comment).then_some(words)
        });
        rules.collect()
    }

    /// What makes one rule to this target of the rules that are there. The new one comes first: no
    /// moment is without one.
    fn changes(&self, chain: &str, rules: &[Vec<String>], target: Target) -> Vec<Change> {
        let wanted = self.rule(chain, target);
        let leads_there = |rule: &&Vec<String>| rule.ends_with(&target.words());
        let kept = rules.iter().find(leads_there);
        let add = kept.is_none().then_some(("-A", wanted));
        let stale = rules
            .iter()
            .filter(|rule| kept.is_none_or(|kept| !std::ptr::eq(*rule, kept)));
        add.into_iter()
            .chain(stale.map(|rule| ("-D", rule.clone())))
            .collect()
    }

    fn rule(&self, chain: &str, target: Target) -> Vec<String> {
        let service = format!("{}/32", cluster_ip::KUBERNETES);
        let port = cluster_ip::KUBERNETES_PORT.to_string();
        let mut rule = vec![chain, "-d", &service];
        if let Some(bridge) = &self.bridge
            && chain == CHAINS[0]
        {
            rule.extend(["-i", bridge]);
        }
        rule.extend(["-p", "tcp", "-m", "tcp", "--dport", &port]);
        rule.extend(["-m", "comment", "--comment", &self.comment]);
        let rule = rule.into_iter().map(str::to_owned);
        rule.chain(target.words()).collect()
    }
}

impl Target {
    /// The end of its rule.
    fn words(self) -> Vec<String> {
        let (jump, option, to) = match self {
            Self::Server(ip, port) => (
                "DNAT",
                "--to-destination",
                SocketAddr::from((ip, port)).to_string(),
            ),
            Self::Node(port) => ("REDIRECT", "--to-ports", port.to_string()),
        };
        vec!["-j".into(), jump.into(), option.into(), to]
    }
}

/// The target for a server with these addresses. Of several it is the lowest, so that their order,
/// which resolvers change, does not matter.
fn target(addresses: impl Iterator<Item = IpAddr>, port: u16) -> Option<Target> {
    let addresses: BTreeSet<IpAddr> = addresses.collect();
    let server = addresses.iter().find_map(|ip| match ip {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(*ip),
        _ => None,
    });
    if let Some(ip) = server {
        return Some(Target::Server(ip, port));
    }
    let is_node = |ip: &IpAddr| ip.is_loopback() || ip.is_unspecified();
    addresses.iter().any(is_node).then_some(Target::Node(port))
}

/// Host and port of the API server's URL.
fn host_and_port(url: &str) -> Option<(String, u16)> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']).to_owned();
    Some((host, uri.port_u16().unwrap_or(443)))
}

async fn change(operation: &str, rule: &[String]) -> io::Result<()> {
    let output = tools::iptables_nat(operation, rule.iter().map(String::as_str)).await?;
    if output.status.success() {
        return Ok(());
    }
    Err(said(&output))
}

/// What `iptables` said about its failure.
fn said(output: &std::process::Output) -> io::Error {
    let text = String::from_utf8_lossy(&output.stderr);
    io::Error::other(format!("iptables: {}", text.trim()))
}
