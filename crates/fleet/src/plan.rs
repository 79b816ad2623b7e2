//! The plan of a fleet: names, addresses and the `ip` and `iptables` commands. Pure.

use std::net::Ipv4Addr;

/// Names start with this, so that a person sees whose they are.
const PREFIX: &str = "pandaemon";

/// The longest name that Linux takes for a network device.
const DEVICE_NAME_MAX: usize = 15;

/// One fleet: everything follows from its id, its number and its node count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Eight hexadecimal digits from the data directory: two fleets on one machine do not meet.
    pub id: String,
    /// Chooses the address ranges: `10.(64 + slot).0.0/16`.
    pub slot: u8,
    /// The nodes.
    pub nodes: Vec<NodePlan>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// `node1`
    pub name: String,
    /// The network namespace.
    pub netns: String,
    /// The end of the cable at the bridge.
    pub cable: String,
    /// The node's address on the bridge.
    pub ip: Ipv4Addr,
    /// Addresses of its pods.
    pub pod_cidr: String,
    /// Parent of all its cgroups.
    pub cgroup_root: String,
}

/// A command to run, and the one that takes its effect back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Program and arguments.
    pub make: Vec<String>,
    /// Program and arguments; empty where another step's removal includes it.
    pub remove: Vec<String>,
}

/// How many slots there are: `10.64` to `10.127`.
pub const SLOTS: u8 = 64;

/// How many nodes fit: the third byte numbers the pod ranges.
pub const NODES_MAX: usize = 200;

impl Plan {
    /// A fleet of `count` nodes.
    #[must_use]
    pub fn new(id: &str, slot: u8, count: usize) -> Self {
        let second = 64 + slot % SLOTS;
        let nodes = (1..=count.min(NODES_MAX))
            .zip(1_u8..)
            .map(|(number, byte)| NodePlan {
                name: format!("node{number}"),
                netns: format!("{PREFIX}-{id}-node{number}"),
                cable: device_name(&format!("pd{id}n{number}")),
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

    /// The bridge that joins the nodes.
    #[must_use]
    pub fn bridge(&self) -> String {
        device_name(&format!("pd{}br", self.id))
    }

    /// The machine's own address on the bridge: here the nodes find the API server.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 64 + self.slot, 0, 1)
    }

    /// The range of the nodes and all their pods.
    #[must_use]
    pub fn range(&self) -> String {
        format!("10.{}.0.0/16", 64 + self.slot)
    }

    /// The parent of all cgroups of the fleet.
    #[must_use]
    pub fn cgroup_root(&self) -> String {
        format!("{PREFIX}-{}", self.id)
    }

    /// What has to be made, in order; removal is in the opposite order.
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

    /// Rules that let nodes reach the world beyond this machine (for image pulls).
    #[must_use]
    pub fn rules(&self) -> Vec<Step> {
        let (range, bridge) = (self.range(), self.bridge());
        let mark = format!("-m comment --comment {PREFIX}-{}", self.id);
        [
            (
                "-t nat",
                "POSTROUTING",
                format!("-s {range} ! -d {range} {mark} -j MASQUERADE"),
            ),
            (
                "-t filter",
                "FORWARD",
                format!("-i {bridge} {mark} -j ACCEPT"),
            ),
            (
                "-t filter",
                "FORWARD",
                format!("-o {bridge} {mark} -j ACCEPT"),
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
            netns, cable, ip, ..
        } = node;
        let (bridge, gateway) = (self.bridge(), self.gateway());
        vec![
            step(
                &format!("ip netns add {netns}"),
                &format!("ip netns delete {netns}"),
            ),
            step(
                &format!("ip link add {cable} type veth peer name eth0 netns {netns}"),
                &format!("ip link delete {cable}"),
            ),
            step(&format!("ip link set {cable} master {bridge} up"), ""),
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

    /// Pods of one node reach pods of the others directly.
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

fn step(make: &str, remove: &str) -> Step {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    Step {
        make: words(make),
        remove: words(remove),
    }
}

fn device_name(name: &str) -> String {
    name.chars().take(DEVICE_NAME_MAX).collect()
}

/// A fleet's id: a 32-bit FNV-1a hash of its data directory.
#[must_use]
pub fn id_of(data_dir: &str) -> String {
    let hash = data_dir.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{hash:08x}")
}

/// The first slot at or after `preferred` whose range none of `routes` (destinations as `ip route`
/// prints them) lies in.
#[must_use]
pub fn free_slot(preferred: u8, routes: &[String]) -> Option<u8> {
    (0..SLOTS)
        .map(|step| (preferred.wrapping_add(step)) % SLOTS)
        .find(|slot| {
            let taken = format!("10.{}.", 64 + slot);
            !routes.iter().any(|route| route.starts_with(&taken))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_into_linux_limits_for_the_largest_fleet() {
        let plan = Plan::new(&id_of("/var/lib/pandaemon"), 63, NODES_MAX);
        assert!(plan.bridge().len() <= DEVICE_NAME_MAX);
        assert_eq!(plan.nodes.len(), NODES_MAX);
        let mut cables: Vec<_> = plan.nodes.iter().map(|n| n.cable.clone()).collect();
        cables.dedup();
        assert_eq!(cables.len(), NODES_MAX, "cable names are distinct");
        assert!(cables.iter().all(|c| c.len() <= DEVICE_NAME_MAX));
    }

    #[test]
    fn two_data_directories_have_two_ids() {
        assert_ne!(id_of("/var/lib/a"), id_of("/var/lib/b"));
    }

    #[test]
    fn a_slot_in_use_is_passed_over() {
        let routes = [
            "default".to_owned(),
            "10.64.0.0/24".to_owned(),
            "10.65.1.0/24".to_owned(),
        ];
        assert_eq!(free_slot(0, &routes), Some(2));
        assert_eq!(free_slot(5, &routes), Some(5));
        let all: Vec<_> = (64..128).map(|n| format!("10.{n}.0.0/16")).collect();
        assert_eq!(free_slot(0, &all), None);
    }

    #[test]
    fn one_node_is_a_bridge_a_namespace_and_a_cable() {
        let steps = Plan::new("0a1b2c3d", 1, 1).steps();
        let made: Vec<String> = steps.iter().map(|s| s.make.join(" ")).collect();
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
    fn every_rule_that_is_inserted_is_deleted_by_the_same_words() {
        for rule in Plan::new("0a1b2c3d", 1, 3).rules() {
            assert_eq!(
                rule.make.join(" ").replace(" -I ", " -D "),
                rule.remove.join(" ")
            );
        }
    }
}
