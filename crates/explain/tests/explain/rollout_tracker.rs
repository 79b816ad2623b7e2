//! The tracker after a series of changes equals one that is made of the final objects.

use pandaemon_explain::{DaemonPod, RolloutTracker, Snapshot};
use serde_json::{Value, json};

use crate::sketch::{Sketch, noon};

fn sketch(lines: &[String]) -> Snapshot {
    let mut sketch = Sketch::default();
    lines.iter().for_each(|line| sketch.line(line));
    sketch.snapshot()
}

fn json(tracker: &RolloutTracker) -> Value {
    serde_json::to_value(tracker.report(noon())).unwrap()
}

/// A linear congruential generator, so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// One pod of a few nodes, in one of its states.
fn random_pod(numbers: &mut Numbers) -> DaemonPod {
    let node = ["a", "b", "c", "d"][usize::try_from(numbers.below(4)).unwrap()];
    let image = ["v1", "v2"][usize::try_from(numbers.below(2)).unwrap()];
    let states = [
        "ready",
        "unready",
        "waiting=ErrImagePull",
        "ready ending",
        "unbound",
        "orphan",
    ];
    let state = states[usize::try_from(numbers.below(6)).unwrap()];
    let lines = [
        "set agent".to_owned(),
        format!("pod {node} {image} {state}"),
    ];
    sketch(&lines).pods.remove(0)
}

#[test]
fn a_series_of_changes_ends_in_the_state_of_the_last_objects() {
    let base: Vec<String> = ["set agent", "change image=v2", "rev v2 2"]
        .map(str::to_owned)
        .into();
    for seed in 0..12 {
        let mut numbers = Numbers(seed);
        let mut last = sketch(&base);
        let mut tracker = RolloutTracker::of(&last).unwrap();
        for _ in 0..40 {
            let pod = random_pod(&mut numbers);
            let uid = pod.view.uid.clone();
            last.pods.retain(|known| known.view.uid != uid);
            if numbers.below(4) == 0 {
                tracker.remove_pod(&uid);
            } else {
                last.pods.push(pod.clone());
                tracker.apply_pod(pod);
            }
            if numbers.below(20) == 0 {
                last.set["metadata"]["uid"] = json!(["set", "other"][last.pods.len() % 2]);
                tracker.apply_set(&last.set, last.now).unwrap();
            }
            assert_eq!(
                json(&tracker),
                json(&RolloutTracker::of(&last).unwrap()),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn a_new_template_is_newest_once_its_revision_is_there() {
    let old = sketch(&["set agent".to_owned(), "pod a v1 ready".to_owned()]);
    let lines = ["set agent", "pod a v1 ready", "change image=v2", "rev v2 2"];
    let new = sketch(&lines.map(str::to_owned));
    let mut tracker = RolloutTracker::of(&old).unwrap();
    tracker.apply_set(&new.set, new.now).unwrap();
    let newest = |tracker: &RolloutTracker| -> Vec<String> {
        let rows = tracker.report(noon()).revisions.into_iter();
        rows.filter(|row| row.newest).map(|row| row.hash).collect()
    };
    assert_eq!(newest(&tracker), [""; 0], "its revision is not written");
    let second = new
        .revisions
        .iter()
        .find(|revision| revision.view.revision == 2);
    tracker.apply_revision(second.unwrap().clone(), new.now);
    assert_eq!(newest(&tracker), ["v2"]);
    assert_eq!(json(&tracker), json(&RolloutTracker::of(&new).unwrap()));
    let mut earlier = second.unwrap().view.clone();
    earlier.uid = "earlier".into();
    tracker.remove_revision(&earlier, new.now);
    assert_eq!(newest(&tracker), ["v2"], "a later one of the name stays");
    tracker.remove_revision(&second.unwrap().view, new.now);
    assert_eq!(newest(&tracker), [""; 0]);
}

#[test]
fn events_of_5000_pods_have_no_planner_plan_again() {
    let mut lines = vec!["set agent".to_owned()];
    lines.extend((0..5_000).map(|number| format!("pod n{number:04} v1 unready")));
    let mut snapshot = sketch(&lines);
    let pods = std::mem::take(&mut snapshot.pods);
    let mut tracker = RolloutTracker::of(&snapshot).unwrap();
    let plans = tracker.plans();
    for (number, pod) in pods.into_iter().enumerate() {
        tracker.apply_pod(pod);
        let report = tracker.report(noon());
        assert_eq!(report.slowest.len(), (number + 1).min(5));
        assert_eq!(report.revisions[0].nodes, number + 1);
    }
    let mut status = snapshot.set.clone();
    status["status"]["numberReady"] = json!(1);
    tracker.apply_set(&status, noon()).unwrap();
    assert_eq!(tracker.report(noon()).ready, 1);
    assert_eq!(tracker.plans(), plans);
}
