//! The life of all pods on all hollow nodes, as a state machine without IO: it takes what a watch
//! shows and what became of its writes, and returns the next write. Time is an argument.

mod entry;
#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    sync::Arc,
    time::Duration,
};

use self::entry::PodEntry;
use crate::{
    args::Behaviour,
    node::HollowNodes,
    pod::{Pod, StartAttempt, crashes, share_of},
};

/// Time from the first failed pull of an image until the node reports the back-off of the next
/// pull.
const PULL_RETRY: Duration = Duration::from_secs(10);
/// First and longest wait before a failed write is sent again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

type Uid = Arc<str>;

/// What a node has to report about a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PodAction {
    /// Its containers were started.
    Start,
    /// Pulling an image failed again.
    RetryPull,
    /// None of its containers runs any more: the pod is deleted without grace.
    Delete,
}

/// One request to send about a pod.
#[derive(Debug, Clone)]
pub(crate) struct PodWrite {
    pub(crate) uid: Uid,
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
    /// Number of its node.
    pub(crate) node: u32,
    pub(crate) write: Write,
}

/// The kinds of requests about a pod.
#[derive(Debug, Clone)]
pub(crate) enum Write {
    /// A patch of its status after an attempt to start it.
    Status {
        pod: Arc<Pod>,
        attempt: StartAttempt,
    },
    /// Its deletion without grace.
    Delete,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    Done,
    /// The pod does not exist any more.
    NotFound,
    /// To be sent again later.
    Failed,
}

/// Simulated latencies and the failure rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latencies {
    start_latency: Duration,
    start_jitter: Duration,
    stop_latency: Duration,
    /// Share of the pods, from 0 to 1, whose containers crash.
    failure_rate: f64,
}

impl From<&Behaviour> for Latencies {
    fn from(behaviour: &Behaviour) -> Self {
        Self {
            start_latency: behaviour.start_latency,
            start_jitter: behaviour.start_jitter,
            stop_latency: behaviour.stop_latency,
            failure_rate: behaviour.failure_rate,
        }
    }
}

impl Latencies {
    fn start(&self, uid: &str) -> Duration {
        self.start_latency + self.start_jitter.mul_f64(share_of(uid))
    }

    fn stop(&self, pod: &Pod) -> Duration {
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(30);
        let grace = u64::try_from(grace).unwrap_or(0);
        self.stop_latency.min(Duration::from_secs(grace))
    }
}

/// The pods of all hollow nodes.
#[derive(Debug)]
pub(crate) struct PodLifecycle {
    nodes: Arc<HollowNodes>,
    latencies: Latencies,
    entries: BTreeMap<Uid, PodEntry>,
    /// Names of namespaces, each held once.
    namespaces: BTreeSet<Arc<str>>,
    /// Pods that may have a write to send now.
    ready: VecDeque<Uid>,
    /// Pods that will have a write to send at a time.
    timers: BinaryHeap<Reverse<(Duration, Uid)>>,
}

impl PodLifecycle {
    /// The nodes whose pods these are.
    pub(crate) fn nodes(&self) -> &Arc<HollowNodes> {
        &self.nodes
    }

    pub(crate) fn new(nodes: Arc<HollowNodes>, latencies: Latencies) -> Self {
        let (entries, namespaces) = (BTreeMap::new(), BTreeSet::new());
        let (ready, timers) = (VecDeque::new(), BinaryHeap::new());
        Self {
            nodes,
            latencies,
            entries,
            namespaces,
            ready,
            timers,
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes in a pod that was listed, added or changed. Pods of other nodes are ignored.
    pub(crate) fn observe(&mut self, now: Duration, pod: Pod) {
        let node = pod
            .spec
            .node_name
            .as_deref()
            .and_then(|name| self.nodes.index(name));
        let Some(node) = node else { return };
        let uid = self
            .entries
            .get_key_value(&*pod.metadata.uid)
            .map(|(uid, _)| Uid::clone(uid));
        let (uid, new) = match uid {
            Some(uid) => (uid, false),
            None => (Uid::from(&*pod.metadata.uid), true),
        };
        if new {
            let namespace = self.intern_namespace(&pod.metadata.namespace);
            let entry = PodEntry::new(namespace, &pod.metadata.name, node);
            self.entries.insert(Uid::clone(&uid), entry);
        }
        let Some(entry) = self.entries.get_mut(&uid) else {
            return;
        };
        if let Some(delay) = entry.update(pod, new, self.latencies) {
            self.schedule(now, delay, uid);
        }
    }

    /// Forgets a pod that was deleted.
    pub(crate) fn remove(&mut self, uid: &str) {
        self.entries.remove(uid);
    }

    /// Takes in a complete list: pods that are not in it are forgotten.
    pub(crate) fn replace(&mut self, now: Duration, pods: Vec<Pod>) {
        let uids: BTreeSet<&str> = pods.iter().map(|pod| &*pod.metadata.uid).collect();
        self.entries.retain(|uid, _| uids.contains(&**uid));
        drop(uids);
        pods.into_iter().for_each(|pod| self.observe(now, pod));
    }

    /// The next write to send, if there is one now.
    pub(crate) fn next(&mut self, now: Duration) -> Option<PodWrite> {
        while self
            .timers
            .peek()
            .is_some_and(|Reverse((due, _))| *due <= now)
        {
            self.ready
                .extend(self.timers.pop().map(|Reverse((_, uid))| uid));
        }
        while let Some(uid) = self.ready.pop_front() {
            let Some(entry) = self.entries.get_mut(&uid) else {
                continue;
            };
            let crash = crashes(&uid, self.latencies.failure_rate);
            if let Some(write) = entry.begin_write(crash) {
                return Some(PodWrite {
                    uid,
                    namespace: entry.namespace.clone(),
                    name: entry.name.clone(),
                    node: entry.node,
                    write,
                });
            }
        }
        None
    }

    /// When [`PodLifecycle::next`] returns a write again if nothing is observed until then.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes in the outcome of a write.
    pub(crate) fn write_ended(&mut self, now: Duration, uid: &Uid, outcome: WriteOutcome) {
        let Some(entry) = self.entries.get_mut(uid) else {
            return;
        };
        let delay = match outcome {
            WriteOutcome::NotFound => {
                self.entries.remove(uid);
                None
            }
            WriteOutcome::Done => entry.write_done(),
            WriteOutcome::Failed => Some(entry.write_failed()),
        };
        if let Some(delay) = delay {
            self.schedule(now, delay, Uid::clone(uid));
        }
    }

    fn intern_namespace(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.namespaces.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.namespaces.insert(Arc::clone(&new));
        new
    }

    fn schedule(&mut self, now: Duration, delay: Duration, uid: Uid) {
        if delay.is_zero() {
            self.ready.push_back(uid);
        } else {
            self.timers.push(Reverse((now + delay, uid)));
        }
    }
}
