//! The dispatcher, driven by hand and by random acts.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::*;

fn limited(name: &str, shares: u64, more: &Value) -> Level {
    let mut limited = json!({"nominalConcurrencyShares": shares,
        "limitResponse": {"queuing": {"queues": 16, "handSize": 4, "queueLengthLimit": 5}}});
    for (key, value) in more.as_object().unwrap() {
        limited[key] = value.clone();
    }
    let value = json!({"metadata": {"name": name}, "spec": {"limited": limited}});
    Level::deserialize(value).unwrap()
}

fn exempt(name: &str) -> Level {
    let value = json!({"metadata": {"name": name}, "spec": {"exempt": {}}});
    Level::deserialize(value).unwrap()
}

fn milliseconds(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// Requests that run and wait, driven by hand.
struct Server {
    dispatcher: Dispatcher,
    running: Vec<(String, Begun)>,
    waiting: BTreeMap<RequestId, (String, Waits)>,
    now: Duration,
}

impl Server {
    fn new(seats: u64, levels: &[Level]) -> Self {
        let mut dispatcher = Dispatcher::new(seats);
        assert!(dispatcher.configure(levels, Duration::ZERO).is_empty());
        Self {
            dispatcher,
            running: Vec::new(),
            waiting: BTreeMap::new(),
            now: Duration::ZERO,
        }
    }

    /// What becomes of a request: `runs`, `waits`, or why it is refused.
    fn arrive(&mut self, level: &str, flow: u64, seats: u64) -> &'static str {
        match self.dispatcher.arrive(level, hash(flow), seats, self.now) {
            Arrival::Begins(begun) => {
                self.running.push((format!("{level}/{flow}"), begun));
                "runs"
            }
            Arrival::Waits(waits) => {
                let name = format!("{level}/{flow}");
                self.waiting.insert(waits.id, (name, waits));
                let begun = self.dispatcher.begin_waiting(self.now);
                self.begin(begun);
                match self.waiting.contains_key(&waits.id) {
                    true => "waits",
                    false => "runs",
                }
            }
            Arrival::Refused(refusal) => refusal.as_str(),
        }
    }

    fn begin(&mut self, begun: Vec<(RequestId, Begun)>) {
        for (id, begun) in begun {
            let (name, _) = self.waiting.remove(&id).expect("one that waits");
            self.running.push((name, begun));
        }
    }

    /// Ends the request that runs longest, after a time.
    fn end_first(&mut self, after: Duration) {
        self.now += after;
        let (_, begun) = self.running.remove(0);
        let next = self.dispatcher.finish(&begun, self.now);
        self.begin(next);
    }

    fn running(&self, level: &str) -> usize {
        let of = |name: &str| name.split('/').next() == Some(level);
        self.running.iter().filter(|(name, _)| of(name)).count()
    }
}

#[test]
fn a_level_uses_its_share_and_what_others_lend() {
    // Shares of 60 and 40 seats; b lends half of its 40 and borrows nothing.
    let none = json!({"borrowingLimitPercent": 0, "lendablePercent": 50});
    let levels = [limited("a", 60, &json!({})), limited("b", 40, &none)];
    let mut server = Server::new(100, &levels);
    let outcomes: Vec<_> = (0..81).map(|flow| server.arrive("a", flow, 1)).collect();
    assert_eq!(outcomes[..80], ["runs"; 80]);
    assert_eq!(outcomes[80], "waits");
    let usage = server.dispatcher.usage("a").unwrap();
    let expected = Limits {
        nominal: 60,
        lower: 60,
        upper: 100,
    };
    assert_eq!(
        (usage.limits, usage.seats, usage.waiting),
        (expected, 80, 1)
    );
    // Half of b's share is its own, whatever others do.
    let outcomes: Vec<_> = (0..21).map(|flow| server.arrive("b", flow, 1)).collect();
    assert_eq!(outcomes[..20], ["runs"; 20]);
    assert_eq!(outcomes[20], "waits");
    // What it has lent is given back to it first.
    server.end_first(milliseconds(1));
    assert_eq!((server.running("a"), server.running("b")), (79, 21));
    assert_eq!(server.arrive("b", 50, 1), "waits");
    server.end_first(milliseconds(1));
    assert_eq!((server.running("a"), server.running("b")), (78, 22));
}

#[test]
fn nobody_who_arrives_takes_what_a_level_has_a_claim_to() {
    let lends = json!({"lendablePercent": 100});
    let levels = [limited("a", 50, &lends), limited("b", 50, &lends)];
    let mut server = Server::new(10, &levels);
    (0..10).for_each(|flow| assert_eq!(server.arrive("a", flow, 1), "runs"));
    // A wide request of b waits until three seats are free, and a borrows none of them meanwhile.
    assert_eq!(server.arrive("b", 1, 1), "runs");
    assert_eq!(server.arrive("b", 1, 3), "waits");
    for _ in 0..3 {
        assert_eq!(server.arrive("a", 77, 1), "waits");
        server.end_first(milliseconds(1));
    }
    assert_eq!(server.running("b"), 1, "eleven seats were in use");
    server.end_first(milliseconds(1));
    assert_eq!(server.running("b"), 2);
}

#[test]
fn a_request_is_refused_without_queues_or_when_they_are_full() {
    let reject = json!({"limitResponse": {}, "borrowingLimitPercent": 0});
    let bounded = json!({"borrowingLimitPercent": 0,
        "limitResponse": {"queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 2}}});
    let levels = [
        limited("a", 1, &reject),
        limited("b", 1, &bounded),
        exempt("free"),
    ];
    let mut server = Server::new(2, &levels);
    assert_eq!(server.arrive("a", 1, 1), "runs");
    assert_eq!(server.arrive("a", 2, 1), "concurrency-limit");
    let outcomes: Vec<_> = (0..4).map(|flow| server.arrive("b", flow, 1)).collect();
    assert_eq!(outcomes, ["runs", "waits", "waits", "queue-full"]);
    (0..1000).for_each(|flow| assert_eq!(server.arrive("free", flow, 9), "runs"));
    assert_eq!(server.arrive("unknown", 1, 1), "concurrency-limit");
}

#[test]
fn a_wide_request_of_a_small_level_runs_alone() {
    let levels = [
        limited("a", 1, &json!({"borrowingLimitPercent": 0})),
        limited("b", 99, &json!({})),
    ];
    let mut server = Server::new(100, &levels);
    assert_eq!(server.dispatcher.max_seats("a"), 1);
    assert_eq!(server.dispatcher.max_seats("b"), 15);
    assert_eq!(server.arrive("a", 1, 10), "runs");
    assert_eq!(server.arrive("a", 2, 1), "waits");
    server.end_first(milliseconds(5));
    assert_eq!((server.running("a"), server.waiting.len()), (1, 0));
}

/// The hash of a flow.
fn hash(flow: u64) -> u64 {
    flow.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// A level with long queues.
fn queued(seats: u64) -> Server {
    let queuing = json!({"queues": 64, "handSize": 6, "queueLengthLimit": 1000});
    let more = json!({"limitResponse": {"queuing": queuing}});
    Server::new(seats, &[limited("a", 1, &more)])
}

/// How many requests of each flow end while the server is busy for a second. Each flow has so many
/// requests open at any time, so wide and so long.
fn ended(seats: u64, flows: &[(u64, usize, u64, u64)]) -> BTreeMap<u64, usize> {
    let mut server = queued(seats);
    let mut ended = BTreeMap::new();
    for (flow, open, width, _) in flows {
        (0..*open).for_each(|_| assert_ne!(server.arrive("a", *flow, *width), "queue-full"));
    }
    let length = |name: &str| {
        let flow: u64 = name["a/".len()..].parse().unwrap();
        flows.iter().find(|one| one.0 == flow).copied().unwrap()
    };
    while server.now < milliseconds(1000) {
        // The one that ends first.
        let end = |(name, begun): &(String, Begun)| begun.at + milliseconds(length(name).3);
        let mut all = server.running.iter().enumerate();
        let first = all.by_ref().min_by_key(|(_, one)| end(one)).unwrap();
        let (at, until) = (first.0, end(first.1));
        server.running.swap(0, at);
        let (flow, _, width, _) = length(&server.running[0].0);
        server.end_first(until - server.now);
        *ended.entry(flow).or_insert(0) += 1;
        server.arrive("a", flow, width);
    }
    ended
}

#[test]
fn flows_get_the_same_however_much_they_ask_for() {
    // Two clients that send without pause, and one with a request at a time: it never waits long.
    let counts = ended(4, &[(1, 300, 1, 10), (2, 300, 1, 10), (3, 1, 1, 10)]);
    let (one, two, three) = (counts[&1], counts[&2], counts[&3]);
    assert!(one.abs_diff(two) < one / 3, "{counts:?}");
    assert!(three > 25, "{counts:?}");
    // Wide and long requests count for more.
    let counts = ended(8, &[(1, 50, 4, 20), (2, 50, 1, 10)]);
    let work = |flow: u64, seats: usize, length: usize| counts[&flow] * seats * length;
    let (wide, narrow) = (work(1, 4, 20), work(2, 1, 10));
    assert!(wide.abs_diff(narrow) < wide.max(narrow) / 2, "{counts:?}");
}

#[test]
fn a_level_that_is_removed_ends_with_its_requests() {
    let levels = [limited("a", 1, &json!({})), limited("b", 1, &json!({}))];
    let mut server = Server::new(2, &levels);
    (0..2).for_each(|flow| {
        assert_eq!(
            server.arrive("a", flow, 1),
            ["runs", "waits"][usize::from(flow == 1)]
        );
    });
    let begun = server.dispatcher.configure(&levels[1..], server.now);
    server.begin(begun);
    assert_eq!(server.dispatcher.usage("a"), None);
    assert_eq!(server.arrive("b", 1, 1), "runs");
    while !server.running.is_empty() {
        server.end_first(milliseconds(1));
    }
    assert!(server.waiting.is_empty());
    // Its place is used again.
    server
        .dispatcher
        .configure(&[limited("c", 1, &json!({}))], server.now);
    assert_eq!(server.dispatcher.levels.len(), 2);
}

#[derive(Debug, Clone)]
enum Act {
    Arrive(usize, u64, u64),
    End(usize, u64),
    GiveUp(usize),
    Configure(u8),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (0_usize..4, 0_u64..5, 1_u64..12).prop_map(|(l, f, s)| Act::Arrive(l, f, s)),
        5 => (0_usize..100, 0_u64..50).prop_map(|(at, after)| Act::End(at, after)),
        1 => (0_usize..100).prop_map(Act::GiveUp),
        1 => (0_u8..4).prop_map(Act::Configure),
    ]
}

const NAMES: [&str; 4] = ["a", "b", "c", "free"];

fn configuration(which: u8) -> Vec<Level> {
    let lends = json!({"lendablePercent": 50, "borrowingLimitPercent": 60});
    let all = [
        limited("a", 10, &lends),
        limited("b", 30, &json!({"lendablePercent": 90})),
        limited("c", 5, &json!({"limitResponse": {}})),
        exempt("free"),
    ];
    let mut levels = all.to_vec();
    match which {
        0 => {}
        1 => {
            levels[1] = limited(
                "b",
                3,
                &json!({"limitResponse": {"queuing": {"queues": 2, "handSize": 1}}}),
            );
        }
        2 => drop(levels.remove(0)),
        _ => levels.truncate(2),
    }
    levels
}

proptest! {
    #[test]
    fn seats_are_never_given_twice_and_nobody_waits_forever(
        acts in prop::collection::vec(act(), 0..300)
    ) {
        let mut server = Server::new(30, &configuration(0));
        for act in acts {
            match act.clone() {
                Act::Arrive(level, flow, seats) => drop(server.arrive(NAMES[level], flow, seats)),
                Act::End(at, after) if !server.running.is_empty() => {
                    let at = at % server.running.len();
                    server.running.swap(0, at);
                    server.end_first(milliseconds(after));
                }
                Act::GiveUp(at) => {
                    let mut waiting: Vec<Waits> = server.waiting.values().map(|one| one.1).collect();
                    waiting.sort_by_key(|one| one.id);
                    if let Some(one) = waiting.get(at % waiting.len().max(1)) {
                        server.waiting.remove(&one.id);
                        let (waited, begun) = server.dispatcher.give_up(*one, server.now);
                        prop_assert!(waited);
                        server.begin(begun);
                    }
                }
                Act::Configure(which) => {
                    let begun = server.dispatcher.configure(&configuration(which), server.now);
                    server.begin(begun);
                }
                Act::End(..) => {}
            }
            let dispatcher = &server.dispatcher;
            for state in &dispatcher.levels {
                let of_level = server.running.iter().filter(|(_, begun)| {
                    std::ptr::eq(&raw const dispatcher.levels[begun.level], state)
                });
                prop_assert_eq!(state.seats, of_level.map(|(_, begun)| begun.seats).sum::<u64>());
            }
            prop_assert_eq!(
                server.waiting.len(),
                dispatcher.levels.iter().map(|state| state.queues.waiting()).sum::<usize>()
            );
            // No seat is left free that a waiting request could take.
            prop_assert_eq!(dispatcher.next_level(), None, "{:?}", act);
        }
        while !server.running.is_empty() {
            server.end_first(milliseconds(1));
        }
        prop_assert!(server.waiting.is_empty(), "{:?}", server.dispatcher);
    }

    #[test]
    fn narrow_requests_never_take_more_than_the_server_has(
        acts in prop::collection::vec((0_usize..3, 0_u64..9, any::<bool>()), 0..400)
    ) {
        let mut server = Server::new(30, &configuration(0));
        for (level, flow, ends) in acts {
            if ends && !server.running.is_empty() {
                server.end_first(milliseconds(1));
            } else {
                server.arrive(NAMES[level], flow, 1);
            }
            let seats: u64 = server.dispatcher.levels.iter().map(|state| state.seats).sum();
            // Each level's share is rounded up.
            prop_assert!(seats <= 30 + 3, "{seats}");
            for state in &server.dispatcher.levels {
                prop_assert!(state.seats <= state.limits.upper);
            }
        }
    }
}
