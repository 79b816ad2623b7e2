//! Tests of the rules, without `iptables`.

use std::path::Path;

use super::*;

fn rules(server: &str, cri_socket: Option<&str>) -> ApiServerRules {
    let mut config = Config::new(server, "a.b", "n1", Path::new("/data"));
    config.cri_socket = cri_socket.map(Into::into);
    ApiServerRules::new(&config, &Paths::new(&config), false)
}

/// The changes as lines, for a chain with these rules.
fn changes(rules: &ApiServerRules, chain: &str, there: &str, target: Target) -> Vec<String> {
    let changes = rules
        .changes(chain, &rules.parse(there), target)
        .into_iter();
    changes
        .map(|(operation, rule)| format!("{operation} {}", rule.join(" ")))
        .collect()
}

#[test]
fn the_rules_lead_to_the_server_and_replace_those_for_an_earlier_address() {
    let of = rules("https://10.0.0.9:6443", None);
    let (comment, bridge) = (of.comment.clone(), of.bridge.clone().unwrap());
    let match_ = "-p tcp -m tcp --dport 443 -m comment --comment";
    let pods = format!("PREROUTING -d 10.96.0.1/32 -i {bridge} {match_} {comment}");
    let node = format!("OUTPUT -d 10.96.0.1/32 {match_} {comment}");
    let target = Target::Server([10, 0, 0, 9].into(), 6443);
    let to = "-j DNAT --to-destination 10.0.0.9:6443";
    let old = "-j DNAT --to-destination 10.0.0.8:6443";
    let other = format!("OUTPUT -d 10.96.0.1/32 {match_} pandaemon-ffffffff-api {to}");
    let cases = [
        (
            "PREROUTING",
            "-P PREROUTING ACCEPT\n".to_owned(),
            vec![format!("-A {pods} {to}")],
        ),
        (
            "OUTPUT",
            format!("-A {other}\n"),
            vec![format!("-A {node} {to}")],
        ),
        ("OUTPUT", format!("-A {other}\n-A {node} {to}\n"), vec![]),
        (
            "OUTPUT",
            format!("-A {node} {old}\n"),
            vec![format!("-A {node} {to}"), format!("-D {node} {old}")],
        ),
        (
            "OUTPUT",
            format!("-A {node} {old}\n-A {node} {to}\n-A {node} {to}\n"),
            vec![format!("-D {node} {old}"), format!("-D {node} {to}")],
        ),
    ];
    for (chain, there, wanted) in cases {
        assert_eq!(changes(&of, chain, &there, target), wanted, "{there}");
    }
    let quoted = format!("-A {node} {to}\n").replace(&comment, &format!("\"{comment}\""));
    assert!(changes(&of, "OUTPUT", &quoted, target).is_empty());
    let local = changes(&of, "PREROUTING", "", Target::Node(6443));
    assert_eq!(local, [format!("-A {pods} -j REDIRECT --to-ports 6443")]);
    // The device of pods of another runtime is not known.
    let foreign = rules("https://10.0.0.9:6443", Some("/run/crio.sock"));
    let line = changes(&foreign, "PREROUTING", "", target).join("");
    assert!(!line.contains(" -i "), "{line}");
}

#[test]
fn the_target_is_the_lowest_address_that_others_reach() {
    let cases = [
        (
            &["10.0.0.9", "10.0.0.8"][..],
            Some(Target::Server([10, 0, 0, 8].into(), 1)),
        ),
        (
            &["127.0.0.1", "192.0.2.1"],
            Some(Target::Server([192, 0, 2, 1].into(), 1)),
        ),
        (
            &["fd00::1", "10.0.0.9"],
            Some(Target::Server([10, 0, 0, 9].into(), 1)),
        ),
        (&["127.0.0.1"], Some(Target::Node(1))),
        (&["::1"], Some(Target::Node(1))),
        (&["0.0.0.0"], Some(Target::Node(1))),
        (&["fd00::1"], None),
        (&[], None),
    ];
    for (addresses, wanted) in cases {
        let found = addresses.iter().map(|ip| ip.parse().unwrap());
        assert_eq!(target(found, 1), wanted, "{addresses:?}");
    }
}

#[tokio::test]
async fn without_iptables_containers_get_the_address_of_the_server() {
    let cases = [
        ("https://10.0.0.9:6443", Some(("10.0.0.9", 6443))),
        ("https://api.example", Some(("api.example", 443))),
        ("https://[fd00::1]:6443", Some(("fd00::1", 6443))),
        ("/x", None),
    ];
    for (url, wanted) in cases {
        let rules = rules(url, None);
        rules.ensure().await;
        let wanted = wanted.map(|(host, port)| (host.to_owned(), port));
        assert_eq!(rules.for_containers(), wanted, "{url}");
    }
    let rules = rules("https://10.0.0.9:6443", None);
    rules.are_set.store(true, Ordering::Relaxed);
    assert_eq!(rules.for_containers(), Some(("10.96.0.1".to_owned(), 443)));
}
