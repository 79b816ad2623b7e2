//! Creates and removes real namespaces. Needs root and the tools; where they are missing
//! the tests are listed as skipped.
#![expect(clippy::expect_used, reason = "a test")]

use std::{path::Path, process::Command};

use pandaemon_fleet::{Fleet, FleetConfig, machine, plan};
use pandaemon_testkit::skipped_here;

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect("the tool runs");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn connects(from_netns: &str, port: u16, to: &str) -> bool {
    let script = format!("exec 3<>/dev/tcp/{to}/{port}");
    Command::new("ip")
        .args([
            "netns", "exec", from_netns, "timeout", "2", "bash", "-c", &script,
        ])
        .status()
        .is_ok_and(|status| status.success())
}

#[tokio::test]
async fn nodes_reach_the_machine_and_each_other_and_removal_leaves_nothing() {
    if let Err(missing) = machine::check() {
        skipped_here(missing);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = FleetConfig {
        data_dir: dir.path().to_owned(),
        nodes: 2,
    };
    let fleet = Fleet::create(&config).await.unwrap();
    let plan = fleet.plan().clone();

    let listener = std::net::TcpListener::bind((plan.gateway(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(
        connects(&plan.nodes[0].netns, port, &plan.gateway().to_string()),
        "node to machine"
    );
    assert!(
        output(
            "ip",
            &["netns", "exec", &plan.nodes[0].netns, "ip", "route"]
        )
        .contains(&plan.nodes[1].pod_cidr),
        "node1 has a route to node2's pods"
    );

    // A second start takes the running fleet over instead of creating it again.
    drop(fleet);
    let again = Fleet::create(&config).await.unwrap();
    assert_eq!(again.plan(), &plan);

    assert_eq!(again.remove().await, Vec::<String>::new());
    assert!(
        !output("ip", &["link"]).contains(&plan.bridge()),
        "no bridge"
    );
    assert!(
        !output("ip", &["netns", "list"]).contains(&plan.id),
        "no namespace"
    );
    assert!(
        !output("iptables", &["-w", "-t", "nat", "-S"]).contains(&plan.id),
        "no nat rule"
    );
    assert!(
        !output("iptables", &["-w", "-S"]).contains(&plan.id),
        "no forward rule"
    );
    assert!(
        !Path::new(&dir.path().join("fleet.json")).exists(),
        "no state"
    );
}

#[tokio::test]
async fn two_fleets_do_not_touch_each_other() {
    if let Err(missing) = machine::check() {
        skipped_here(missing);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let config = |name: &str| FleetConfig {
        data_dir: dir.path().join(name),
        nodes: 2,
    };
    let slot = |name: &str| {
        let data_dir = dir.path().canonicalize().unwrap().join(name);
        plan::preferred_slot(&plan::id_of(&data_dir.to_string_lossy()))
    };
    let same_slot = (0..).map(|n| n.to_string());
    let other = same_slot.into_iter().find(|name| slot(name) == slot("a"));
    // Both prefer the same address range and choose it at the same time.
    let (first, second) = (config("a"), config(&other.unwrap()));
    let (first, second) = tokio::join!(Fleet::create(&first), Fleet::create(&second));
    let (first, second) = (first.unwrap(), second.unwrap());
    let plan = second.plan().clone();
    assert_ne!(first.plan().range(), plan.range(), "one range each");

    assert_eq!(first.remove().await, Vec::<String>::new());
    let forwarding = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    assert_eq!(forwarding.trim(), "1", "the second fleet still needs it");
    let listener = std::net::TcpListener::bind((plan.gateway(), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert!(
        connects(&plan.nodes[1].netns, port, &plan.gateway().to_string()),
        "the second fleet still works"
    );
    let rules = output("iptables", &["-w", "-t", "nat", "-S"]);
    assert!(rules.contains(&plan.id), "its rules are still there");

    assert_eq!(second.remove().await, Vec::<String>::new());
    let rules = output("iptables", &["-w", "-t", "nat", "-S"]);
    assert!(!rules.contains(&plan.id), "no nat rule");
}
