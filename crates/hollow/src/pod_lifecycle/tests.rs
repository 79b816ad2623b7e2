//! Scripts of what the watch shows and which writes must follow.

use serde_json::json;

use super::*;
use crate::node::tests::hollow_nodes;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn lifecycle(start_latency: Duration) -> PodLifecycle {
    let latencies = Latencies {
        start_latency,
        start_jitter: ms(0),
        stop_latency: ms(0),
        failure_rate: 0.0,
    };
    PodLifecycle::new(Arc::new(hollow_nodes(3, &[])), latencies)
}

/// A pod in words: uid, node, image, and whether it runs, is marked not ready, or is being deleted.
fn pod(text: &str) -> Pod {
    let words: Vec<&str> = text.split(' ').collect();
    let [uid, node, image, ref rest @ ..] = words[..] else {
        panic!("{text}")
    };
    let deleted = rest.contains(&"deleted").then_some("2026-01-01T00:00:00Z");
    let status = if rest.contains(&"running") {
        json!({"phase": "Running", "containerStatuses": [{"image": image}]})
    } else if rest.contains(&"marked") {
        json!({"phase": "Running", "containerStatuses": [{"image": image, "ready": true}],
               "conditions": [{"type": "Ready", "status": "False"}]})
    } else {
        json!({})
    };
    let metadata = json!({"name": format!("pod-{uid}"), "namespace": "d", "uid": uid,
                          "deletionTimestamp": deleted, "deletionGracePeriodSeconds": 2});
    let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": image}]});
    serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
}

fn next(lifecycle: &mut PodLifecycle, now: Duration) -> String {
    lifecycle
        .next(now)
        .map_or_else(String::new, |PodWrite { uid, write, .. }| match write {
            Write::Status { attempt, .. } if attempt.pulled_before => format!("pull {uid}"),
            Write::Status { attempt, .. } => format!("start {uid} {}", attempt.restarts),
            Write::Delete => format!("delete {uid}"),
        })
}

/// Runs a script; lines are `observe POD`, `remove UID`, `list PODS`, `done|failed|missing UID`,
/// `at MS`, and `= WRITE` for the write that must come next.
fn script(lifecycle: &mut PodLifecycle, text: &str) {
    let mut now = ms(0);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "observe" => lifecycle.observe(now, pod(rest)),
            "remove" => lifecycle.remove(rest),
            "list" => {
                let pods = rest.split(", ").filter(|pod| !pod.is_empty()).map(pod);
                lifecycle.replace(now, pods.collect());
            }
            "done" => lifecycle.write_ended(now, &rest.into(), WriteOutcome::Done),
            "failed" => lifecycle.write_ended(now, &rest.into(), WriteOutcome::Failed),
            "missing" => lifecycle.write_ended(now, &rest.into(), WriteOutcome::NotFound),
            "at" => now = ms(rest.parse().unwrap()),
            "=" => assert_eq!(next(lifecycle, now), rest, "at {now:?}\n{text}"),
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn a_pod_that_was_marked_not_ready_is_reported_again() {
    let mut lifecycle = lifecycle(ms(0));
    script(
        &mut lifecycle,
        "observe a hollow-1 img
         = start a 0
         observe a hollow-1 img marked
         =
         done a
         = start a 0
         done a
         observe a hollow-1 img running
         =
         observe a hollow-1 img marked
         = start a 0
         done a
         =
         list b hollow-1 img marked
         = start b 0",
    );
}

#[test]
fn a_pod_starts_and_ends() {
    let mut lifecycle = lifecycle(ms(0));
    script(
        &mut lifecycle,
        "observe a hollow-1 img
         = start a 0
         =
         observe a hollow-1 img running
         done a
         observe a hollow-1 img running
         =
         observe a hollow-1 img running deleted
         = delete a
         observe a hollow-1 img running deleted
         done a
         =
         remove a",
    );
    assert_eq!(lifecycle.len(), 0);
}

#[test]
fn pods_of_other_nodes_are_ignored() {
    let mut lifecycle = lifecycle(ms(0));
    script(
        &mut lifecycle,
        "observe a hollow-3 img\n observe b other img\n =",
    );
    assert_eq!(lifecycle.len(), 0);
}

#[test]
fn a_start_is_reported_after_the_start_latency() {
    script(
        &mut lifecycle(ms(500)),
        "observe a hollow-0 img
         =
         at 499
         =
         at 500
         = start a 0",
    );
    // A pod deleted before its start is never reported as started.
    script(
        &mut lifecycle(ms(500)),
        "observe a hollow-0 img
         observe a hollow-0 img deleted
         = delete a
         at 600
         =",
    );
}

#[test]
fn a_failed_write_is_sent_again_after_a_growing_wait() {
    let mut lifecycle = lifecycle(ms(0));
    script(
        &mut lifecycle,
        "observe a hollow-0 img
         = start a 0
         failed a
         =
         at 100
         = start a 0
         failed a
         at 299
         =
         at 300
         = start a 0
         missing a
         =",
    );
    assert_eq!(lifecycle.len(), 0);
}

#[test]
fn a_deletion_seen_during_the_start_is_reported_next() {
    script(
        &mut lifecycle(ms(0)),
        "observe a hollow-0 img
         = start a 0
         observe a hollow-0 img deleted
         =
         done a
         = delete a",
    );
    script(
        &mut lifecycle(ms(0)),
        "observe a hollow-0 img
         = start a 0
         observe a hollow-0 img deleted
         failed a
         at 100
         = delete a",
    );
}

#[test]
fn a_changed_image_restarts_the_containers() {
    script(
        &mut lifecycle(ms(0)),
        "observe a hollow-0 img:1
         = start a 0
         observe a hollow-0 img:2
         done a
         = start a 1
         done a
         observe a hollow-0 img:2 running
         =",
    );
}

#[test]
fn pods_that_run_already_are_not_reported_again() {
    let mut lifecycle = lifecycle(ms(0));
    script(
        &mut lifecycle,
        "list a hollow-0 img running, b hollow-1 img, c hollow-2 img running deleted
         = start b 0
         = delete c
         =
         list b hollow-1 img",
    );
    assert_eq!(lifecycle.len(), 1);
}

#[test]
fn a_failed_pull_is_reported_again_until_the_image_changes() {
    script(
        &mut lifecycle(ms(0)),
        "observe a hollow-0 non-existent
         = start a 0
         done a
         =
         at 9999
         =
         at 10000
         = pull a
         done a
         at 90000
         =
         observe a hollow-0 img
         = start a 1
         done a
         =",
    );
}

#[test]
fn a_deletion_takes_the_stop_latency_but_at_most_the_grace_period() {
    for (stop_latency, ends) in [(500, "500"), (9000, "2000")] {
        let mut lifecycle = lifecycle(ms(0));
        lifecycle.latencies.stop_latency = ms(stop_latency);
        let text = format!(
            "observe a hollow-0 img running deleted\n =\n at {}\n =\n at {ends}\n = delete a",
            ends.parse::<u64>().unwrap() - 1
        );
        script(&mut lifecycle, &text);
    }
}

#[test]
fn start_times_are_spread_over_the_jitter() {
    let mut latencies = lifecycle(ms(100)).latencies;
    latencies.start_jitter = ms(1000);
    let starts: Vec<_> = (0..100)
        .map(|i| latencies.start(&format!("uid-{i}")))
        .collect();
    let (least, most) = (starts.iter().min().unwrap(), starts.iter().max().unwrap());
    assert!(*least >= ms(100) && *least < ms(200) && *most <= ms(1100) && *most > ms(1000));
}
