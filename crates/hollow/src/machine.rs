//! The life of all pods on all pretend nodes, as a machine without IO: it is told what is seen and what
//! became of its actions, and says what to do next. Time is an argument.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    args::Behaviour,
    node::Fleet,
    pod::{Pod, Run, crashes, share_of},
};

/// Time from the first failed pull of an image until the node says that it waits with the next.
const PULL_AGAIN: Duration = Duration::from_secs(10);
/// First and longest wait before an action is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

type Uid = Arc<str>;

/// What to do with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Report that its containers were started.
    Start,
    /// Report that pulling an image failed again.
    PullAgain,
    /// Report that nothing of it runs any more: delete it without grace.
    Finish,
}

/// One request to send.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) uid: Uid,
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) task: Task,
}

/// A [`Doing`] with what it needs.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    Start { pod: Arc<Pod>, run: Run },
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

/// How long what takes, and how often it fails.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Temper {
    start_latency: Duration,
    start_jitter: Duration,
    stop_latency: Duration,
    failure_rate: f64,
}

impl From<&Behaviour> for Temper {
    fn from(behaviour: &Behaviour) -> Self {
        Self {
            start_latency: behaviour.start_latency,
            start_jitter: behaviour.start_jitter,
            stop_latency: behaviour.stop_latency,
            failure_rate: behaviour.failure_rate,
        }
    }
}

impl Temper {
    fn start(&self, uid: &str) -> Duration {
        self.start_latency + self.start_jitter.mul_f64(share_of(uid))
    }

    fn stop(&self, pod: &Pod) -> Duration {
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
        self.stop_latency.min(Duration::from_secs(grace))
    }
}

/// All pods of the fleet.
#[derive(Debug)]
pub(crate) struct Machine {
    fleet: Arc<Fleet>,
    temper: Temper,
    slots: BTreeMap<Uid, Slot>,
    namespaces: BTreeSet<Arc<str>>,
    ready: VecDeque<Uid>,
    timers: BinaryHeap<Reverse<(Duration, Uid)>>,
}

impl Machine {
    pub(crate) fn new(fleet: Arc<Fleet>, temper: Temper) -> Self {
        let (slots, namespaces) = (BTreeMap::new(), BTreeSet::new());
        let (ready, timers) = (VecDeque::new(), BinaryHeap::new());
        Self {
            fleet,
            temper,
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
        if let Some(delay) = slot.observe(pod, new, self.temper) {
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
            let crash = crashes(&uid, self.temper.failure_rate);
            if let Some(task) = slot.begin(crash) {
                let (namespace, name) = (slot.namespace.clone(), slot.name.clone());
                return Some(Action {
                    uid,
                    namespace,
                    name,
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
                    if slot.after() {
                        self.schedule(now, PULL_AGAIN, Uid::clone(uid));
                    }
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
    fn observe(&mut self, pod: Pod, new: bool, temper: Temper) -> Option<Duration> {
        if pod.metadata.deletion_timestamp.is_some() {
            let first = !std::mem::replace(&mut self.deleting, true);
            self.pod = None;
            self.want = if first {
                Some(Doing::Finish)
            } else {
                self.want
            };
            return first.then(|| temper.stop(&pod));
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
        let delay = temper.start(&pod.metadata.uid);
        self.pod = Some(Arc::new(pod));
        self.want = Some(Doing::Start);
        Some(delay)
    }

    fn begin(&mut self, crash: bool) -> Option<Task> {
        let want = self.want.filter(|_| self.acting.is_none())?;
        let task = match want {
            Doing::Finish => Task::Finish,
            Doing::Start | Doing::PullAgain => {
                let pod = Arc::clone(self.pod.as_ref()?);
                let run = Run {
                    node: self.node,
                    crash,
                    restarts: self.restarts,
                    pulled_before: want == Doing::PullAgain,
                };
                Task::Start { pod, run }
            }
        };
        self.acting = Some((want, self.fingerprint));
        Some(task)
    }

    /// What was wanted is done. Returns whether a failed pull is to be reported again.
    fn after(&mut self) -> bool {
        let waits = self.want == Some(Doing::Start)
            && self.pod.as_ref().is_some_and(|pod| pod.lacks_image());
        self.want = waits.then_some(Doing::PullAgain);
        if !waits {
            self.pod = None;
        }
        waits
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::node::tests::fleet;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn machine(start_latency: Duration) -> Machine {
        let temper = Temper {
            start_latency,
            start_jitter: ms(0),
            stop_latency: ms(0),
            failure_rate: 0.0,
        };
        Machine::new(Arc::new(fleet(3, &[])), temper)
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
                              "deletionTimestamp": deleted, "deletionGracePeriodSeconds": 2});
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": image}]});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status}))
            .unwrap()
    }

    fn next(machine: &mut Machine, now: Duration) -> String {
        machine
            .next(now)
            .map_or_else(String::new, |action| match action.task {
                Task::Start { run, .. } if run.pulled_before => format!("pull {}", action.uid),
                Task::Start { run, .. } => format!("start {} {}", action.uid, run.restarts),
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

    #[test]
    fn a_missing_image_is_reported_again_until_there_is_another() {
        script(
            &mut machine(ms(0)),
            "seen a hollow-0 non-existent
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
             seen a hollow-0 img
             = start a 1
             done a
             =",
        );
    }

    #[test]
    fn an_end_takes_its_time_but_no_longer_than_the_grace() {
        for (stop_latency, ends) in [(500, "500"), (9000, "2000")] {
            let mut machine = machine(ms(0));
            machine.temper.stop_latency = ms(stop_latency);
            let text = format!(
                "seen a hollow-0 img running deleted\n =\n at {}\n =\n at {ends}\n = finish a",
                ends.parse::<u64>().unwrap() - 1
            );
            script(&mut machine, &text);
        }
    }

    #[test]
    fn starts_are_spread_over_the_jitter() {
        let mut temper = machine(ms(100)).temper;
        temper.start_jitter = ms(1000);
        let starts: Vec<_> = (0..100)
            .map(|i| temper.start(&format!("uid-{i}")))
            .collect();
        let (least, most) = (starts.iter().min().unwrap(), starts.iter().max().unwrap());
        assert!(*least >= ms(100) && *least < ms(200) && *most <= ms(1100) && *most > ms(1000));
    }
}
