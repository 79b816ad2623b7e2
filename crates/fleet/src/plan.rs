//! Names, addresses and the `ip` and `iptables` commands of a fleet. Pure.

use std::net::Ipv4Addr;

use pandaemon_types::{cluster_ip, hash::fnv1a_32};

/// The prefix of all names on the machine that are long enough to show it.
const PREFIX: &str = "pandaemon";

/// The longest name of a network device in Linux.
const DEVICE_NAME_MAX: usize = 15;

/// One fleet. Everything follows from its id, its slot and its number of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Eight hexadecimal digits derived from the data directory. They are part of every name, so
    /// that several fleets can share one machine.
    pub id: String,
    /// Number of the fleet's address range: `10.(64 + slot).0.0/16`.
    pub slot: u8,
    /// The plans of its nodes.
    pub nodes: Vec<NodePlan>,
}

/// One node of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// The node's name: `node1`, `node2` and so on.
    pub name: String,
    /// The name of its network namespace.
    pub netns: String,
    /// The machine's end of its veth pair; the other end is `eth0` in the network namespace.
    pub veth: String,
    /// The node's address on the bridge.
    pub ip: Ipv4Addr,
    /// The range of its pods' addresses.
    pub pod_cidr: String,
    /// The parent of all its cgroups.
    pub cgroup_root: String,
}

/// A command to run, and the command that undoes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Program and arguments.
    pub create: Vec<String>,
    /// Program and arguments; empty if undoing another step includes it.
    pub remove: Vec<String>,
}

/// Number of slots: the ranges from `10.64.0.0/16` to `10.127.0.0/16`.
pub const SLOTS: u8 = 64;

/// The largest number of nodes: the third byte of an address numbers the nodes' pod ranges.
pub const NODES_MAX: usize = 200;

impl Plan {
    /// The plan of a fleet with `count` nodes.
    #[must_use]
    pub fn new(id: &str, slot: u8, count: usize) -> Self {
        let second = 64 + slot % SLOTS;
        let nodes = (1..=count.min(NODES_MAX))
            .zip(1_u8..)
            .map(|(number, byte)| NodePlan {
                name: format!("node{number}"),
                netns: format!("{PREFIX}-{id}-node{number}"),
                veth: device_name(&format!("pd{id}n{number}")),
                ip: Ipv4Addr::new(10, second, 0, byte + 10),
                pod_cidr: format!("10.{second}.{byte}.0/24"),
                cgroup_root: format!("{PREFIX}-{id}/node{number}"),
            })
            .collect();
        Self {
            id: id.to_owned(),
            slot: slot % SLOTS,
            nodes,
        }
    }

    /// The name of the bridge that joins the nodes.
    #[must_use]
    pub fn bridge(&self) -> String {
        device_name(&format!("pd{}br", self.id))
    }

    /// The machine's address on the bridge. The nodes reach the API server there.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 64 + self.slot, 0, 1)
    }

    /// The range that holds the addresses of all nodes and pods.
    #[must_use]
    pub fn range(&self) -> String {
        format!("10.{}.0.0/16", 64 + self.slot)
    }

    /// The parent of the cgroups of all nodes.
    #[must_use]
    pub fn cgroup_root(&self) -> String {
        format!("{PREFIX}-{}", self.id)
    }

    /// The commands that create bridge, namespaces, veth pairs and routes, in order. Removal runs
    /// in the opposite order.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let bridge = self.bridge();
        let mut steps = vec![
            step(
                &format!("ip link add {bridge} type bridge"),
                &format!("ip link delete {bridge}"),
            ),
            step(
                &format!("ip address add {}/24 dev {bridge}", self.gateway()),
                "",
            ),
            step(&format!("ip link set {bridge} up"), ""),
        ];
        for node in &self.nodes {
            steps.extend(self.node_steps(node));
        }
        steps.extend(self.nodes.iter().flat_map(|node| self.peer_routes(node)));
        steps
    }

    /// The iptables rules that let nodes reach other networks (to pull images).
    #[must_use]
    pub fn rules(&self) -> Vec<Step> {
        let (range, bridge) = (self.range(), self.bridge());
        let comment = format!("-m comment --comment {PREFIX}-{}", self.id);
        [
            (
                "-t nat",
                "POSTROUTING",
                format!("-s {range} ! -d {range} {comment} -j MASQUERADE"),
            ),
            (
                "-t filter",
                "FORWARD",
                format!("-i {bridge} {comment} -j ACCEPT"),
            ),
            (
                "-t filter",
                "FORWARD",
                format!("-o {bridge} {comment} -j ACCEPT"),
            ),
        ]
        .into_iter()
        .map(|(table, chain, rule)| {
            step(
                &format!("iptables -w {table} -I {chain} {rule}"),
                &format!("iptables -w {table} -D {chain} {rule}"),
            )
        })
        .collect()
    }

    fn node_steps(&self, node: &NodePlan) -> Vec<Step> {
        let NodePlan {
            netns, veth, ip, ..
        } = node;
        let (bridge, gateway) = (self.bridge(), self.gateway());
        vec![
            step(
                &format!("ip netns add {netns}"),
                &format!("ip netns delete {netns}"),
            ),
            step(
                &format!("ip link add {veth} type veth peer name eth0 netns {netns}"),
                &format!("ip link delete {veth}"),
            ),
            step(&format!("ip link set {veth} master {bridge} up"), ""),
            step(&format!("ip -n {netns} link set lo up"), ""),
            step(&format!("ip -n {netns} address add {ip}/24 dev eth0"), ""),
            step(&format!("ip -n {netns} link set eth0 up"), ""),
            step(
                &format!("ip -n {netns} route add default via {gateway}"),
                "",
            ),
            step(&format!("ip route add {} via {ip}", node.pod_cidr), ""),
        ]
    }

    /// Routes from one node to the pods of the other nodes.
    fn peer_routes(&self, node: &NodePlan) -> Vec<Step> {
        self.nodes
            .iter()
            .filter(|peer| peer.name != node.name)
            .map(|peer| {
                let (netns, cidr, ip) = (&node.netns, &peer.pod_cidr, peer.ip);
                step(&format!("ip -n {netns} route add {cidr} via {ip}"), "")
            })
            .collect()
    }
}

fn step(create: &str, remove: &str) -> Step {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    Step {
        create: words(create),
        remove: words(remove),
    }
}

/// Whether a network device with this name is the bridge of a fleet.
pub(crate) fn is_fleet_bridge(device: &str) -> bool {
    let id = device
        .strip_prefix("pd")
        .and_then(|rest| rest.strip_suffix("br"));
    id.is_some_and(|id| id.len() == 8 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn device_name(name: &str) -> String {
    name.chars().take(DEVICE_NAME_MAX).collect()
}

/// The id of the fleet with this data directory: its 32-bit FNV-1a hash.
#[must_use]
pub fn id_of(data_dir: &str) -> String {
    format!("{:08x}", fnv1a_32([data_dir.as_bytes()]))
}

/// The slot that a fleet with this id gets if its range is free.
#[must_use]
pub fn preferred_slot(id: &str) -> u8 {
    u8::from_str_radix(id.get(..2).unwrap_or("0"), 16).unwrap_or_default() % SLOTS
}

/// The first slot at or after `preferred` whose range contains none of `routes` (destinations as
/// `ip route` prints them), and is not one of cluster IPs.
#[must_use]
pub fn free_slot(preferred: u8, routes: &[String]) -> Option<u8> {
    (0..SLOTS)
        .map(|step| (preferred.wrapping_add(step)) % SLOTS)
        .find(|slot| {
            let first = Ipv4Addr::new(10, 64 + slot, 0, 0);
            let range = format!("10.{}.", 64 + slot);
            !cluster_ip::is_cluster_ip(first)
                && !routes.iter().any(|route| route.starts_with(&range))
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_of_the_largest_fleet_fit_into_linux_limits() {
        let plan = Plan::new(&id_of("/var/lib/pandaemon"), 63, NODES_MAX);
        assert!(plan.bridge().len() <= DEVICE_NAME_MAX);
        assert_eq!(plan.nodes.len(), NODES_MAX);
        let veths: BTreeSet<_> = plan.nodes.iter().map(|node| &node.veth).collect();
        assert_eq!(veths.len(), NODES_MAX, "veth names are distinct");
        assert!(veths.iter().all(|name| name.len() <= DEVICE_NAME_MAX));
    }

    #[test]
    fn ids_of_two_data_directories_differ() {
        assert_ne!(id_of("/var/lib/a"), id_of("/var/lib/b"));
    }

    /// All names and ranges that a plan brings onto the machine.
    fn names(plan: &Plan) -> BTreeSet<String> {
        let nodes = plan.nodes.iter().flat_map(|node| {
            [
                node.netns.clone(),
                node.veth.clone(),
                node.pod_cidr.clone(),
                node.cgroup_root.clone(),
            ]
        });
        let rules = plan.rules().into_iter().map(|rule| rule.create.join(" "));
        let fleet = [plan.bridge(), plan.cgroup_root(), plan.range()];
        nodes.chain(rules).chain(fleet).collect()
    }

    #[test]
    fn two_fleets_on_one_machine_share_no_name_and_no_range() {
        let (first, second) = (id_of("/tmp/a/data"), id_of("/tmp/b/data"));
        let first = Plan::new(&first, 3, 20);
        let routes = [first.range()];
        let second = Plan::new(&second, free_slot(3, &routes).unwrap(), 20);
        let (first, second) = (names(&first), names(&second));
        assert!(!first.is_empty());
        let shared: Vec<_> = first.intersection(&second).collect();
        assert!(shared.is_empty(), "{shared:?}");
    }

    #[test]
    fn a_slot_with_routes_is_not_chosen() {
        let routes = [
            "default".to_owned(),
            "10.64.0.0/24".to_owned(),
            "10.65.1.0/24".to_owned(),
        ];
        assert_eq!(free_slot(0, &routes), Some(2));
        assert_eq!(free_slot(5, &routes), Some(5));
        assert_eq!(
            free_slot(32, &routes),
            Some(48),
            "10.96.0.0/12 is that of Services"
        );
        let all: Vec<_> = (64..128).map(|n| format!("10.{n}.0.0/16")).collect();
        assert_eq!(free_slot(0, &all), None);
    }

    #[test]
    fn commands_for_one_node() {
        let steps = Plan::new("0a1b2c3d", 1, 1).steps();
        let made: Vec<String> = steps.iter().map(|s| s.create.join(" ")).collect();
        assert_eq!(
            made,
            [
                "ip link add pd0a1b2c3dbr type bridge",
                "ip address add 10.65.0.1/24 dev pd0a1b2c3dbr",
                "ip link set pd0a1b2c3dbr up",
                "ip netns add pandaemon-0a1b2c3d-node1",
                "ip link add pd0a1b2c3dn1 type veth peer name eth0 netns pandaemon-0a1b2c3d-node1",
                "ip link set pd0a1b2c3dn1 master pd0a1b2c3dbr up",
                "ip -n pandaemon-0a1b2c3d-node1 link set lo up",
                "ip -n pandaemon-0a1b2c3d-node1 address add 10.65.0.11/24 dev eth0",
                "ip -n pandaemon-0a1b2c3d-node1 link set eth0 up",
                "ip -n pandaemon-0a1b2c3d-node1 route add default via 10.65.0.1",
                "ip route add 10.65.1.0/24 via 10.65.0.11",
            ]
        );
    }

    #[test]
    fn each_rule_is_deleted_with_the_arguments_it_was_inserted_with() {
        for rule in Plan::new("0a1b2c3d", 1, 3).rules() {
            assert_eq!(
                rule.create.join(" ").replace(" -I ", " -D "),
                rule.remove.join(" ")
            );
        }
    }
}
