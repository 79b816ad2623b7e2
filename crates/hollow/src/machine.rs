//! The life of all pods on all pretend nodes, as a machine without IO: it is told what is seen and what
//! became of its actions, and says what to do next. Time is an argument.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    node::Fleet,
    pod::{Pod, crashes},
};

/// First and longest wait before an action is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

type Uid = Arc<str>;

/// What to do with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Report that its containers were started.
    Start,
    /// Report that nothing of it runs any more: delete it without grace.
    Finish,
}

/// One request to send.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) uid: Uid,
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) node: u32,
    pub(crate) task: Task,
}

/// A [`Doing`] with what it needs.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    Start {
        pod: Arc<Pod>,
        crash: bool,
        restarts: u32,
    },
    Finish,
}

/// What became of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The pod does not exist any more.
    Gone,
    /// Try again later.
    Failed,
}

#[derive(Debug)]
struct Slot {
    namespace: Arc<str>,
    name: Arc<str>,
    node: u32,
    /// Kept until it is started.
    pod: Option<Arc<Pod>>,
    fingerprint: u64,
    restarts: u32,
    attempts: u32,
    want: Option<Doing>,
    /// What is under way, and for which fingerprint.
    acting: Option<(Doing, u64)>,
    deleting: bool,
}

/// All pods of the fleet.
#[derive(Debug)]
pub(crate) struct Machine {
    fleet: Arc<Fleet>,
    start_latency: Duration,
    failure_rate: f64,
    slots: BTreeMap<Uid, Slot>,
    namespaces: BTreeSet<Arc<str>>,
    ready: VecDeque<Uid>,
    timers: BinaryHeap<Reverse<(Duration, Uid)>>,
}

impl Machine {
    pub(crate) fn new(fleet: Arc<Fleet>, start_latency: Duration, failure_rate: f64) -> Self {
        let (slots, namespaces) = (BTreeMap::new(), BTreeSet::new());
        let (ready, timers) = (VecDeque::new(), BinaryHeap::new());
        Self {
            fleet,
            start_latency,
            failure_rate,
            slots,
            namespaces,
            ready,
            timers,
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.slots.len()
    }

    /// A pod was listed, added or changed.
    pub(crate) fn seen(&mut self, now: Duration, pod: Pod) {
        let node = pod
            .spec
            .node_name
            .as_deref()
            .and_then(|name| self.fleet.index(name));
        let Some(node) = node else { return };
        let uid = self
            .slots
            .get_key_value(&*pod.metadata.uid)
            .map(|(uid, _)| Uid::clone(uid));
        let (uid, new) = match uid {
            Some(uid) => (uid, false),
            None => (Uid::from(&*pod.metadata.uid), true),
        };
        if new {
            let slot = self.slot(&pod, node);
            self.slots.insert(Uid::clone(&uid), slot);
        }
        let Some(slot) = self.slots.get_mut(&uid) else {
            return;
        };
        if let Some(delay) = slot.observe(pod, new, self.start_latency) {
            self.schedule(now, delay, uid);
        }
    }

    /// A pod was deleted.
    pub(crate) fn gone(&mut self, uid: &str) {
        self.slots.remove(uid);
    }

    /// All pods there are: what is missing is gone.
    pub(crate) fn replace(&mut self, now: Duration, pods: Vec<Pod>) {
        let uids: BTreeSet<&str> = pods.iter().map(|pod| &*pod.metadata.uid).collect();
        self.slots.retain(|uid, _| uids.contains(&**uid));
        drop(uids);
        pods.into_iter().for_each(|pod| self.seen(now, pod));
    }

    /// The next thing to do, if there is one now.
    pub(crate) fn next(&mut self, now: Duration) -> Option<Action> {
        while self
            .timers
            .peek()
            .is_some_and(|Reverse((due, _))| *due <= now)
        {
            self.ready
                .extend(self.timers.pop().map(|Reverse((_, uid))| uid));
        }
        while let Some(uid) = self.ready.pop_front() {
            let Some(slot) = self.slots.get_mut(&uid) else {
                continue;
            };
            let crash = crashes(&uid, self.failure_rate);
            if let Some(task) = slot.begin(crash) {
                let (namespace, name) = (slot.namespace.clone(), slot.name.clone());
                return Some(Action {
                    uid,
                    namespace,
                    name,
                    node: slot.node,
                    task,
                });
            }
        }
        None
    }

    /// When [`Machine::next`] has something to do again, if nothing is seen until then.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    /// An action has ended.
    pub(crate) fn ended(&mut self, now: Duration, uid: &Uid, outcome: Outcome) {
        let Some(slot) = self.slots.get_mut(uid) else {
            return;
        };
        let acted = slot.acting.take();
        match outcome {
            Outcome::Gone => {
                self.slots.remove(uid);
            }
            Outcome::Done => {
                slot.attempts = 0;
                if acted == slot.want.map(|want| (want, slot.fingerprint)) {
                    (slot.want, slot.pod) = (None, None);
                } else if slot.want.is_some() {
                    self.schedule(now, Duration::ZERO, Uid::clone(uid));
                }
            }
            Outcome::Failed => {
                let delay = (BACKOFF.0 * 2_u32.pow(slot.attempts.min(10))).min(BACKOFF.1);
                slot.attempts += 1;
                self.schedule(now, delay, Uid::clone(uid));
            }
        }
    }

    fn slot(&mut self, pod: &Pod, node: u32) -> Slot {
        let namespace = match self.namespaces.get(&*pod.metadata.namespace) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<str> = (&*pod.metadata.namespace).into();
                self.namespaces.insert(Arc::clone(&new));
                new
            }
        };
        Slot {
            namespace,
            name: (&*pod.metadata.name).into(),
            node,
            pod: None,
            fingerprint: 0,
            restarts: 0,
            attempts: 0,
            want: None,
            acting: None,
            deleting: false,
        }
    }

    fn schedule(&mut self, now: Duration, delay: Duration, uid: Uid) {
        if delay.is_zero() {
            self.ready.push_back(uid);
        } else {
            self.timers.push(Reverse((now + delay, uid)));
        }
    }
}

impl Slot {
    /// Takes note of a pod as it is now. Returns after which time something is to be done for it.
    fn observe(&mut self, pod: Pod, new: bool, start_latency: Duration) -> Option<Duration> {
        if pod.metadata.deletion_timestamp.is_some() {
            let first = !std::mem::replace(&mut self.deleting, true);
            self.pod = None;
            self.want = if first {
                Some(Doing::Finish)
            } else {
                self.want
            };
            return first.then_some(Duration::ZERO);
        }
        let fingerprint = pod.fingerprint();
        if pod.is_over() || fingerprint == self.fingerprint {
            return None;
        }
        self.fingerprint = fingerprint;
        if new && pod.is_reported() {
            return None;
        }
        self.restarts += u32::from(!new);
        self.pod = Some(Arc::new(pod));
        self.want = Some(Doing::Start);
        Some(start_latency)
    }

    fn begin(&mut self, crash: bool) -> Option<Task> {
        let want = self.want.filter(|_| self.acting.is_none())?;
        let task = match want {
            Doing::Finish => Task::Finish,
            Doing::Start => {
                let pod = Arc::clone(self.pod.as_ref()?);
                Task::Start {
                    pod,
                    crash,
                    restarts: self.restarts,
                }
            }
        };
        self.acting = Some((want, self.fingerprint));
        Some(task)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn machine(start_latency: Duration) -> Machine {
        let (labels, lease_interval) = (BTreeMap::new(), ms(10_000));
        let fleet = Fleet {
            prefix: "hollow".to_owned(),
            count: 3,
            labels,
            lease_interval,
        };
        Machine::new(Arc::new(fleet), start_latency, 0.0)
    }

    /// A pod in words: uid, node, image, and whether it is being deleted.
    fn pod(text: &str) -> Pod {
        let words: Vec<&str> = text.split(' ').collect();
        let [uid, node, image, ref rest @ ..] = words[..] else {
            panic!("{text}")
        };
        let deleted = rest.contains(&"deleted").then_some("2026-01-01T00:00:00Z");
        let status = if rest.contains(&"running") {
            json!({"phase": "Running", "containerStatuses": [{"image": image}]})
        } else {
            json!({})
        };
        let metadata = json!({"name": format!("pod-{uid}"), "namespace": "d", "uid": uid,
                              "deletionTimestamp": deleted});
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": image}]});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status}))
            .unwrap()
    }

    fn next(machine: &mut Machine, now: Duration) -> String {
        machine
            .next(now)
            .map_or_else(String::new, |action| match action.task {
                Task::Start { restarts, .. } => format!("start {} {restarts}", action.uid),
                Task::Finish => format!("finish {}", action.uid),
            })
    }

    /// Runs a script; lines are `seen POD`, `gone UID`, `list PODS`, `done|failed|lost UID`, `at MS`, and
    /// `= ACTION` for what is expected to come next.
    fn script(machine: &mut Machine, text: &str) {
        let mut now = ms(0);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            match verb {
                "seen" => machine.seen(now, pod(rest)),
                "gone" => machine.gone(rest),
                "list" => {
                    let pods = rest.split(", ").filter(|pod| !pod.is_empty()).map(pod);
                    machine.replace(now, pods.collect());
                }
                "done" => machine.ended(now, &rest.into(), Outcome::Done),
                "failed" => machine.ended(now, &rest.into(), Outcome::Failed),
                "lost" => machine.ended(now, &rest.into(), Outcome::Gone),
                "at" => now = ms(rest.parse().unwrap()),
                "=" => assert_eq!(next(machine, now), rest, "at {now:?}\n{text}"),
                _ => panic!("{line}"),
            }
        }
    }

    #[test]
    fn a_pod_starts_and_ends() {
        let mut machine = machine(ms(0));
        script(
            &mut machine,
            "seen a hollow-1 img
             = start a 0
             =
             seen a hollow-1 img running
             done a
             seen a hollow-1 img running
             =
             seen a hollow-1 img running deleted
             = finish a
             seen a hollow-1 img running deleted
             done a
             =
             gone a",
        );
        assert_eq!(machine.len(), 0);
    }

    #[test]
    fn pods_of_other_nodes_are_nothing_to_us() {
        let mut machine = machine(ms(0));
        script(&mut machine, "seen a hollow-3 img\n seen b other img\n =");
        assert_eq!(machine.len(), 0);
    }

    #[test]
    fn a_start_takes_its_time() {
        script(
            &mut machine(ms(500)),
            "seen a hollow-0 img
             =
             at 499
             =
             at 500
             = start a 0",
        );
        // What is deleted before it starts never starts.
        script(
            &mut machine(ms(500)),
            "seen a hollow-0 img
             seen a hollow-0 img deleted
             = finish a
             at 600
             =",
        );
    }

    #[test]
    fn a_failed_request_is_tried_again() {
        let mut machine = machine(ms(0));
        script(
            &mut machine,
            "seen a hollow-0 img
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
             lost a
             =",
        );
        assert_eq!(machine.len(), 0);
    }

    #[test]
    fn a_deletion_during_the_start_is_not_forgotten() {
        script(
            &mut machine(ms(0)),
            "seen a hollow-0 img
             = start a 0
             seen a hollow-0 img deleted
             =
             done a
             = finish a",
        );
        script(
            &mut machine(ms(0)),
            "seen a hollow-0 img
             = start a 0
             seen a hollow-0 img deleted
             failed a
             at 100
             = finish a",
        );
    }

    #[test]
    fn another_image_restarts_the_containers() {
        script(
            &mut machine(ms(0)),
            "seen a hollow-0 img:1
             = start a 0
             seen a hollow-0 img:2
             done a
             = start a 1
             done a
             seen a hollow-0 img:2 running
             =",
        );
    }

    #[test]
    fn a_restarted_fleet_takes_over_what_runs() {
        let mut machine = machine(ms(0));
        script(
            &mut machine,
            "list a hollow-0 img running, b hollow-1 img, c hollow-2 img running deleted
             = start b 0
             = finish c
             =
             list b hollow-1 img",
        );
        assert_eq!(machine.len(), 1);
    }
}
