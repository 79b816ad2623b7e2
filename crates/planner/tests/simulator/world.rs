//! The simulation: one queue of events in simulated time, the cluster around the API server (kubelets,
//! scheduler, garbage collectors, users), and what scripts do to it. No clock, no threads: a script
//! always runs the same way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pandaemon_placement::Usage;
use pandaemon_planner::{SetKey, Strategy};
use pandaemon_types::{Effect, Name, Phase, PodView, Taint, Timestamp, Uid};

use crate::{
    api::{Api, NODES, PODS, REVISIONS, set_key, unowned_pod, with_label},
    controller::{Controller, Request},
    mutant::Mutant,
    oracle::Violation,
    rng::Rng,
    script::{Perturbation, Propagation, Script, SetSpec},
};

pub(crate) const START: i64 = 1_700_000_000_000;
/// After the last fault, everything must be at rest within this time.
const TIME_LIMIT: i64 = 8 * 3_600_000;
/// And within so many events.
const EVENT_LIMIT: usize = 200_000;

/// What is due.
#[derive(Debug, Clone)]
pub(crate) enum SimEvent {
    Step(usize),
    Heal,
    /// A controller starts; its first lists may lag.
    Start {
        lag: i64,
    },
    Feed {
        kind: usize,
        epoch: u32,
    },
    Loop {
        epoch: u32,
    },
    Wake {
        epoch: u32,
        turn: u64,
    },
    Land(u64),
    Reply(u64),
    Bind(Uid),
    Run(Uid),
    Ready(Uid),
    End(Uid),
    NodeLost(Name),
    NodeBack(Name),
    NodeNew {
        node: usize,
    },
    PodGc(Name),
    Gc(Uid),
    NamespaceGc {
        namespace: Name,
        until: i64,
    },
}

/// A machine; it outlives its node object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machine {
    alive: bool,
    skew: i64,
    refuses_until: i64,
}

/// What a kubelet has begun to do with a pod.
#[derive(Debug, Clone, Copy, Default)]
struct PodProgress {
    binding: bool,
    starting: bool,
    ending: bool,
}

pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) now: i64,
    pub(crate) api: Api,
    queue: BTreeMap<(i64, u64), SimEvent>,
    serial: u64,
    pub(crate) specs: Vec<SetSpec>,
    machines: BTreeMap<Name, Machine>,
    progress: BTreeMap<Uid, PodProgress>,
    reacted: [usize; 2],
    deleting: BTreeMap<Uid, Propagation>,
    collecting: BTreeSet<Uid>,
    /// Sets that may surge, or could once.
    pub(crate) surged: BTreeSet<Uid>,
    /// Names that pods were asked for under, by the set's identity.
    pub(crate) named: BTreeSet<(Uid, Name)>,
    // The controller and its connections.
    pub(crate) controller: Option<Controller>,
    pub(crate) epochs: u32,
    pub(crate) clock: i64,
    pub(crate) requests: BTreeMap<u64, Request>,
    pub(crate) mutant: Mutant,
    pub(crate) faults: (usize, i64),
    pub(crate) slow: [(i64, i64); 4],
    pub(crate) stalled_until: i64,
    pub(crate) healed: bool,
    // Numbers, one stream for each part.
    pub(crate) network_rng: Rng,
    pub(crate) fault_rng: Rng,
    node_rng: Rng,
    // For people.
    pub(crate) trace: Option<VecDeque<String>>,
    pub(crate) violation: Option<Violation>,
    pub(crate) step: usize,
    pub(crate) events: usize,
    pub(crate) plans: usize,
    pub(crate) actions: usize,
}

/// How a run ended.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) violation: Option<Violation>,
    pub(crate) step: usize,
    pub(crate) at: i64,
    pub(crate) trace: Vec<String>,
    pub(crate) events: usize,
    pub(crate) plans: usize,
    pub(crate) actions: usize,
}

pub(crate) fn node_name(node: usize) -> Name {
    format!("n{node:03}").into()
}

impl World {
    pub(crate) fn new(script: &Script, mutant: Mutant, trace: bool) -> Self {
        let seed = script.seed;
        let mut world = Self {
            script: script.clone(),
            now: START,
            api: Api::new(START),
            queue: BTreeMap::new(),
            serial: 0,
            specs: script.sets.clone(),
            machines: BTreeMap::new(),
            progress: BTreeMap::new(),
            reacted: [0; 2],
            deleting: BTreeMap::new(),
            collecting: BTreeSet::new(),
            surged: BTreeSet::new(),
            named: BTreeSet::new(),
            controller: None,
            epochs: 0,
            clock: 0,
            requests: BTreeMap::new(),
            mutant,
            faults: (0, 0),
            slow: [(0, 0); 4],
            stalled_until: 0,
            healed: false,
            network_rng: Rng::new(seed, 2),
            fault_rng: Rng::new(seed, 3),
            node_rng: Rng::new(seed, 4),
            trace: trace.then(VecDeque::new),
            violation: None,
            step: 0,
            events: 0,
            plans: 0,
            actions: 0,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.script.nodes {
            self.node_new(node);
        }
        for set in 0..self.specs.len() {
            self.apply(set);
        }
        self.schedule(0, SimEvent::Start { lag: 0 });
        let steps: Vec<i64> = self.script.steps.iter().map(|step| step.at).collect();
        for (number, at) in steps.iter().enumerate() {
            self.schedule(*at, SimEvent::Step(number));
        }
        let last = steps.last().copied().unwrap_or(0);
        self.schedule(last + 20_000, SimEvent::Heal);
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) {
        let mut healed_at = i64::MAX;
        while self.violation.is_none() {
            let Some(((at, _), due)) = self.queue.pop_first() else {
                break;
            };
            self.now = self.now.max(at);
            self.api.now = self.now;
            self.events += 1;
            if self.healed && healed_at == i64::MAX {
                healed_at = self.now;
            }
            if self.now.saturating_sub(healed_at) > TIME_LIMIT || self.events > EVENT_LIMIT {
                let text = format!(
                    "no rest {} s after the last fault, {} events",
                    (self.now - healed_at.min(self.now)) / 1000,
                    self.events
                );
                self.fail(("liveness", text));
                break;
            }
            self.dispatch(due);
            self.react_to_changes();
        }
        if self.violation.is_none() {
            crate::final_state::check(self);
        }
    }

    pub(crate) fn result(&mut self) -> Run {
        Run {
            violation: self.violation.take(),
            step: self.step,
            at: self.now - START,
            trace: self.trace.take().into_iter().flatten().collect(),
            events: self.events,
            plans: self.plans,
            actions: self.actions,
        }
    }

    pub(crate) fn fail(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    pub(crate) fn schedule(&mut self, millis: i64, due: SimEvent) {
        self.serial += 1;
        self.queue
            .insert((self.now + millis.max(0), self.serial), due);
    }

    /// Keeps a line for people; it is only put into words when somebody will read it.
    pub(crate) fn record(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.now - START;
            trace.push_back(format!("{:>9}.{:03} {}", at / 1000, at % 1000, line()));
            if trace.len() > 5_000 {
                trace.pop_front();
            }
        }
    }

    fn dispatch(&mut self, due: SimEvent) {
        match due {
            SimEvent::Step(number) => {
                self.step = number;
                let what = self.script.steps[number].what.clone();
                self.record(|| format!("step {number}: {what:?}"));
                self.perturb(what);
            }
            SimEvent::Heal => self.heal(),
            SimEvent::Start { lag } => self.start_controller(lag),
            SimEvent::Feed { kind, epoch } => self.feed(kind, epoch),
            SimEvent::Loop { epoch } => self.controller_loop(epoch, None),
            SimEvent::Wake { epoch, turn } => self.controller_loop(epoch, Some(turn)),
            SimEvent::Land(id) => self.land(id),
            SimEvent::Reply(id) => self.reply(id),
            SimEvent::Bind(uid) => self.bind(&uid),
            SimEvent::Run(uid) => self.run_pod(&uid),
            SimEvent::Ready(uid) => self.ready(&uid),
            SimEvent::End(uid) => self.end(&uid),
            SimEvent::NodeLost(name) => self.node_lost(&name),
            SimEvent::NodeBack(name) => self.node_back(&name),
            SimEvent::NodeNew { node } => self.node_new(node),
            SimEvent::PodGc(name) => self.pod_gc(&name),
            SimEvent::Gc(owner) => self.collect(&owner),
            SimEvent::NamespaceGc { namespace, until } => self.end_namespace(&namespace, until),
        }
    }

    // === what follows from changes ===

    /// Kubelets, the scheduler and the garbage collector hear of changes at once and act later; the
    /// controller's feeds are told that there is something.
    fn react_to_changes(&mut self) {
        while let Some(entry) = self.api.logs[PODS].get(self.reacted[0]) {
            self.reacted[0] += 1;
            let Some(pod) = self.api.pods.get(&entry.object_uid()) else {
                continue;
            };
            let view = pod.view.clone();
            self.react_to_pod(&view);
        }
        while let Some(entry) = self.api.logs[REVISIONS].get(self.reacted[1]) {
            self.reacted[1] += 1;
            if let (crate::api::Object::Revision(revision), false) = (&entry.object, entry.gone)
                && let Some(owner) = revision.owner.clone()
            {
                self.check_owner(&owner.uid);
            }
        }
        self.wake_feeds();
    }

    fn react_to_pod(&mut self, view: &PodView) {
        let progress = self.progress.entry(view.uid.clone()).or_default();
        let uid = view.uid.clone();
        match &view.node {
            None if !progress.binding => {
                progress.binding = true;
                let wait = self.node_rng.latency(100, 2_000);
                self.schedule(wait, SimEvent::Bind(uid));
            }
            Some(_) if view.deleting && !progress.ending => {
                progress.ending = true;
                let wait = self.node_rng.latency(1_000, 30_000);
                self.schedule(wait, SimEvent::End(uid));
            }
            Some(_) if !progress.starting => {
                progress.starting = true;
                let wait = self.node_rng.latency(300, 20_000);
                self.schedule(wait, SimEvent::Run(uid));
            }
            _ => {}
        }
        if let Some(node) = view
            .node
            .as_ref()
            .filter(|node| !self.api.nodes.contains_key(*node))
        {
            let wait = self.node_rng.latency(5_000, 40_000);
            self.schedule(wait, SimEvent::PodGc(node.clone()));
        }
        if let Some(owner) = &view.owner {
            self.check_owner(&owner.uid.clone());
        }
    }

    /// Something has an owner that may be gone, or going.
    fn check_owner(&mut self, owner: &Uid) {
        let lives = self
            .api
            .sets
            .values()
            .any(|set| set.uid == *owner && !set.deleting);
        if !lives && self.collecting.insert(owner.clone()) {
            let wait = self.node_rng.latency(500, 10_000);
            self.schedule(wait, SimEvent::Gc(owner.clone()));
        }
    }

    // === scheduler and kubelets ===

    fn bind(&mut self, uid: &Uid) {
        let Some(pod) = self.api.pods.get(uid).map(|pod| pod.view.clone()) else {
            return;
        };
        let Some(target) = pod.target.clone().filter(|_| pod.node.is_none()) else {
            return;
        };
        if let Some(progress) = self.progress.get_mut(uid) {
            progress.binding = false;
        }
        let Some(node) = self.api.nodes.get(&target) else {
            return;
        };
        let mut reasons = Vec::new();
        self.usage(&target, uid)
            .shortages(node, &pod.resources, &mut reasons);
        if reasons.is_empty() {
            self.record(|| format!("scheduler binds {} to {target}", pod.name));
            self.api.change_pod(uid, |pod| pod.node = Some(target));
        } else {
            let wait = self.node_rng.between(500, 3_000);
            self.schedule(wait, SimEvent::Bind(uid.clone()));
        }
    }

    /// What the bound pods of a node take, but for one.
    fn usage(&self, node: &Name, except: &Uid) -> Usage {
        let mut usage = Usage::default();
        for uid in self
            .api
            .on
            .get(node)
            .into_iter()
            .flatten()
            .filter(|uid| *uid != except)
        {
            let pod = &self.api.pods[uid].view;
            if pod.node.is_some() && !pod.phase.is_terminal() {
                usage.add(&pod.resources);
            }
        }
        usage
    }

    fn machine_of(&self, uid: &Uid) -> Option<(PodView, Machine)> {
        let pod = self.api.pods.get(uid)?.view.clone();
        let name = pod
            .node
            .as_ref()
            .filter(|name| self.api.nodes.contains_key(*name))?;
        let machine = self
            .machines
            .get(name)
            .filter(|machine| machine.alive)?
            .clone();
        Some((pod, machine))
    }

    fn run_pod(&mut self, uid: &Uid) {
        let Some((pod, machine)) = self.machine_of(uid) else {
            return;
        };
        if pod.deleting || pod.phase != Phase::Pending {
            return;
        }
        let node = pod.node.clone().unwrap();
        let mut reasons = Vec::new();
        self.usage(&node, uid)
            .shortages(&self.api.nodes[&node], &pod.resources, &mut reasons);
        if self.now < machine.refuses_until || !reasons.is_empty() {
            self.record(|| format!("kubelet of {node} refuses {}", pod.name));
            self.api.change_pod(uid, |pod| {
                pod.phase = Phase::Failed;
                pod.reason = Some("OutOfcpu".into());
            });
            return;
        }
        self.api.change_pod(uid, |pod| pod.phase = Phase::Running);
        let wait = self.node_rng.latency(500, 30_000);
        self.schedule(wait, SimEvent::Ready(uid.clone()));
    }

    fn ready(&mut self, uid: &Uid) {
        let Some((pod, machine)) = self.machine_of(uid) else {
            return;
        };
        if pod.phase != Phase::Running || pod.ready {
            return;
        }
        self.record(|| format!("{} is ready", pod.name));
        // Transition times have whole seconds, and come from the node's clock.
        let since = (self.now + machine.skew).div_euclid(1000) * 1000;
        self.api.change_pod(uid, |pod| {
            pod.ready = true;
            pod.ready_since = Some(Timestamp(since));
        });
    }

    fn unready(&mut self, uid: &Uid) {
        self.api.change_pod(uid, |pod| {
            pod.ready = false;
            pod.ready_since = None;
        });
    }

    fn end(&mut self, uid: &Uid) {
        if let Some(progress) = self.progress.get_mut(uid) {
            progress.ending = false;
        }
        let Some((pod, _)) = self.machine_of(uid) else {
            return;
        };
        if !pod.phase.is_terminal() && self.node_rng.chance(40) {
            // Its containers have ended, the object is still there.
            self.api.change_pod(uid, |pod| {
                pod.phase = if pod.name.len() % 2 == 0 {
                    Phase::Failed
                } else {
                    Phase::Succeeded
                };
                pod.ready = false;
                pod.ready_since = None;
            });
            return;
        }
        self.record(|| format!("{} is gone", pod.name));
        self.api.drop_pod(uid);
    }

    // === nodes ===

    fn node_new(&mut self, node: usize) {
        let name = node_name(node);
        if self.api.nodes.contains_key(&name) {
            return;
        }
        self.api.new_node(&name, u8::try_from(node % 3).unwrap());
        let skew = if self.node_rng.chance(20) {
            self.node_rng.between(-60_000, 60_000)
        } else {
            0
        };
        self.machines.insert(
            name.clone(),
            Machine {
                alive: true,
                skew,
                refuses_until: 0,
            },
        );
        self.restart(&name);
    }

    /// The kubelet of a node looks at the pods that it finds.
    fn restart(&mut self, name: &Name) {
        let pods: Vec<Uid> = self
            .api
            .on
            .get(name)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        for uid in pods {
            self.progress.insert(uid.clone(), PodProgress::default());
            if self.api.is_bound_to(&uid, name) {
                self.unready(&uid);
                let wait = self.node_rng.latency(500, 20_000);
                self.schedule(wait, SimEvent::Ready(uid.clone()));
            }
            let view = self.api.pods[&uid].view.clone();
            self.react_to_pod(&view);
        }
    }

    fn node_lost(&mut self, name: &Name) {
        let dead = self
            .machines
            .get(name)
            .is_some_and(|machine| !machine.alive);
        let Some(mut node) = self.api.nodes.get(name).cloned().filter(|_| dead) else {
            return;
        };
        node.ready = false;
        node.taints
            .retain(|taint| !taint.key.ends_with("unreachable"));
        for effect in [Effect::NoSchedule, Effect::NoExecute] {
            let key = "node.kubernetes.io/unreachable".into();
            node.taints.push(Taint {
                key,
                value: "".into(),
                effect,
            });
        }
        self.api.put_node(node);
        let pods: Vec<Uid> = self
            .api
            .on
            .get(name)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        pods.iter().for_each(|uid| self.unready(uid));
    }

    fn node_back(&mut self, name: &Name) {
        let Some(mut node) = self.api.nodes.get(name).cloned() else {
            return;
        };
        node.ready = true;
        node.taints
            .retain(|taint| !taint.key.ends_with("unreachable"));
        self.api.put_node(node);
        self.restart(name);
    }

    fn revive(&mut self, name: &Name) {
        if let Some(machine) = self.machines.get_mut(name).filter(|machine| !machine.alive) {
            machine.alive = true;
            let wait = self.node_rng.latency(300, 3_000);
            self.schedule(wait, SimEvent::NodeBack(name.clone()));
        }
    }

    fn pod_gc(&mut self, name: &Name) {
        if self.api.nodes.contains_key(name) {
            return;
        }
        let pods: Vec<Uid> = self
            .api
            .on
            .get(name)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        for uid in pods {
            if self.api.is_bound_to(&uid, name) {
                self.record(|| format!("pod gc removes {uid} of {name}"));
                self.api.drop_pod(&uid);
            }
        }
    }

    fn node_remove(&mut self, name: &Name) {
        self.api.drop_node(name);
        if let Some(machine) = self.machines.get_mut(name) {
            machine.alive = false;
        }
        let wait = self.node_rng.latency(5_000, 40_000);
        self.schedule(wait, SimEvent::PodGc(name.clone()));
    }

    fn edit_node(&mut self, node: usize, edit: impl FnOnce(&mut pandaemon_types::NodeView)) {
        if let Some(mut view) = self.api.nodes.get(&node_name(node)).cloned() {
            edit(&mut view);
            self.api.put_node(view);
        }
    }

    // === garbage ===

    fn collect(&mut self, owner: &Uid) {
        self.collecting.remove(owner);
        let set = self
            .api
            .sets
            .values()
            .find(|set| set.uid == *owner)
            .map(|set| (set.key.clone(), set.deleting));
        if matches!(set, Some((_, false))) {
            return;
        }
        let orphan = self.deleting.get(owner) == Some(&Propagation::Orphan) && set.is_some();
        let pods: Vec<Uid> = self
            .api
            .pods
            .iter()
            .filter(|(_, pod)| pod.is_of(owner))
            .map(|(uid, _)| uid.clone())
            .collect();
        let owned = |rev: &&pandaemon_planner::RevisionView| {
            rev.owner.as_ref().is_some_and(|known| known.uid == *owner)
        };
        let revisions: Vec<_> = self.api.revisions.values().filter(owned).cloned().collect();
        let mut left = pods.len() + revisions.len();
        for uid in pods {
            if orphan {
                self.api.change_pod(&uid, |pod| pod.owner = None);
                left -= 1;
            } else if !self.api.pods[&uid].view.deleting && self.node_rng.chance(70) {
                self.api.delete_pod(&uid);
            }
        }
        for mut revision in revisions {
            if orphan {
                revision.owner = None;
                self.api.put_revision(revision);
                left -= 1;
            } else if self.node_rng.chance(70) {
                self.api.drop_revision(&(revision.namespace, revision.name));
                left -= 1;
            }
        }
        if left > 0 {
            self.collecting.insert(owner.clone());
            let wait = self.node_rng.between(50, 2_000);
            self.schedule(wait, SimEvent::Gc(owner.clone()));
        } else if let Some((key, _)) = set {
            self.record(|| format!("{key} is gone"));
            self.api.drop_set(&key);
        }
    }

    fn end_namespace(&mut self, namespace: &Name, until: i64) {
        let sets: Vec<SetKey> = self
            .api
            .sets
            .keys()
            .filter(|key| key.namespace == *namespace)
            .cloned()
            .collect();
        for key in sets {
            if self.node_rng.chance(60) {
                self.delete_set(&key, Propagation::Background);
            }
        }
        let pods: Vec<Uid> = self
            .api
            .pods
            .iter()
            .filter(|(_, pod)| pod.view.namespace == *namespace)
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in &pods {
            if !self.api.pods[uid].view.deleting && self.node_rng.chance(60) {
                self.api.delete_pod(uid);
            }
        }
        let revisions: Vec<_> = self
            .api
            .revisions
            .keys()
            .filter(|(ns, _)| ns == namespace)
            .cloned()
            .collect();
        revisions.iter().for_each(|key| self.api.drop_revision(key));
        let empty = pods.is_empty() && !self.api.sets.keys().any(|key| key.namespace == *namespace);
        if empty && (until <= self.now || self.healed) {
            self.record(|| format!("namespace {namespace} is gone, and made again"));
            self.api.terminating.remove(namespace);
        } else {
            let wait = self.node_rng.between(100, 2_000);
            self.schedule(
                wait,
                SimEvent::NamespaceGc {
                    namespace: namespace.clone(),
                    until,
                },
            );
        }
    }

    // === users ===

    fn apply(&mut self, number: usize) {
        self.api.apply_set(number, &self.specs[number].clone());
        let set = &self.api.sets[&set_key(number)];
        if matches!(set.strategy, Strategy::RollingUpdate { max_surge, .. } if max_surge.of_rounded_up(1) > 0)
        {
            self.surged.insert(set.uid.clone());
        }
    }

    fn edit(&mut self, number: usize, edit: impl FnOnce(&mut SetSpec)) {
        let Some(spec) = self.specs.get_mut(number) else {
            return;
        };
        let before = spec.clone();
        edit(spec);
        if before != *spec && self.api.sets.contains_key(&set_key(number)) {
            self.apply(number);
        }
    }

    fn delete_set(&mut self, key: &SetKey, how: Propagation) {
        let Some(mut set) = self.api.sets.get(key).cloned().filter(|set| !set.deleting) else {
            return;
        };
        let uid = set.uid.clone();
        self.deleting.insert(uid.clone(), how);
        if how == Propagation::Background {
            self.api.drop_set(key);
        } else {
            set.deleting = true;
            set.generation += 1;
            self.api.put_set(set);
        }
        self.collecting.remove(&uid);
        self.check_owner(&uid);
    }

    fn pick_pod(&self, pick: usize) -> Option<Uid> {
        let pods = &self.api.pods;
        pods.keys().nth(pick % pods.len().max(1)).cloned()
    }

    fn perturb_pod(&mut self, what: &Perturbation, uid: &Uid) {
        let bound = self.api.pods[uid].view.node.is_some();
        match what {
            Perturbation::PodFlaps { for_ms, .. } if bound => {
                self.unready(uid);
                self.schedule(*for_ms, SimEvent::Ready(uid.clone()));
            }
            Perturbation::PodFails { .. } | Perturbation::PodSucceeds { .. } if bound => {
                let failed = matches!(what, Perturbation::PodFails { .. });
                self.api.change_pod(uid, |pod| {
                    if !pod.phase.is_terminal() {
                        pod.phase = if failed {
                            Phase::Failed
                        } else {
                            Phase::Succeeded
                        };
                    }
                    pod.ready = false;
                    pod.ready_since = None;
                });
            }
            Perturbation::PodDeleted { .. } => drop(self.api.delete_pod(uid)),
            Perturbation::PodOrphaned { .. } => {
                drop(self.api.change_pod(uid, |pod| pod.owner = None));
            }
            Perturbation::PodUnlabelled { .. } => {
                self.api
                    .change_pod(uid, |pod| pod.labels = with_label(&pod.labels, "app", None));
            }
            _ => {}
        }
    }

    fn perturb(&mut self, what: Perturbation) {
        let now = self.now;
        match what {
            Perturbation::PodFlaps { pick, .. }
            | Perturbation::PodFails { pick }
            | Perturbation::PodSucceeds { pick }
            | Perturbation::PodDeleted { pick }
            | Perturbation::PodOrphaned { pick }
            | Perturbation::PodUnlabelled { pick } => {
                if let Some(uid) = self.pick_pod(pick) {
                    self.perturb_pod(&what, &uid);
                }
            }
            Perturbation::PodUnowned { set, node } => {
                let (name, node) = (format!("foreign-{}", self.serial), node_name(node));
                if self.api.nodes.contains_key(&node) {
                    drop(self.api.create_pod(&unowned_pod(set, &node, &name), None));
                }
            }
            Perturbation::Template { set, template } => {
                self.edit(set, |spec| spec.template = template);
            }
            Perturbation::Strategy { set, strategy } => {
                self.edit(set, |spec| spec.strategy = strategy);
            }
            Perturbation::MinReady { set, seconds } => {
                self.edit(set, |spec| spec.min_ready = seconds);
            }
            Perturbation::History { set, limit } => self.edit(set, |spec| spec.history = limit),
            Perturbation::Delete { set, how } => self.delete_set(&set_key(set), how),
            Perturbation::Recreate { set } => {
                let key = set_key(set);
                let free = !self.api.sets.contains_key(&key)
                    && !self.api.terminating.contains(&key.namespace);
                if free && set < self.specs.len() {
                    self.apply(set);
                }
            }
            Perturbation::RevisionDeleted { pick } => {
                let keys: Vec<_> = self.api.revisions.keys().cloned().collect();
                if let Some(key) = keys.get(pick % keys.len().max(1)) {
                    self.api.drop_revision(key);
                }
            }
            Perturbation::NamespaceEnds { namespace, for_ms } => {
                let namespace: Name = format!("ns{namespace}").into();
                if self.api.terminating.insert(namespace.clone()) {
                    self.schedule(
                        100,
                        SimEvent::NamespaceGc {
                            namespace,
                            until: now + for_ms,
                        },
                    );
                }
            }
            Perturbation::Faults { percent, for_ms } => self.faults = (percent, now + for_ms),
            Perturbation::Slow {
                kind,
                delay,
                for_ms,
            } => self.slow[kind] = (delay, now + for_ms),
            Perturbation::Stall { for_ms } => self.stalled_until = now + for_ms,
            Perturbation::Jump { ms } => self.clock += ms,
            Perturbation::Cut { kind } => self.cut(kind, false),
            Perturbation::Expire { kind } => self.cut(kind, true),
            Perturbation::Failover { gap, lag } => {
                if self.controller.take().is_some() {
                    self.clock = self.network_rng.between(-2_000, 2_000);
                    self.schedule(gap, SimEvent::Start { lag });
                }
            }
            node => self.perturb_node(node),
        }
    }

    fn perturb_node(&mut self, what: Perturbation) {
        let now = self.now;
        match what {
            Perturbation::NodeAdd { node } => self.node_new(node),
            Perturbation::NodeRemove { node } => self.node_remove(&node_name(node)),
            Perturbation::NodeRecreated { node, gap } => {
                self.node_remove(&node_name(node));
                self.schedule(gap, SimEvent::NodeNew { node });
            }
            Perturbation::NodeDies { node } => {
                if let Some(machine) = self.machines.get_mut(&node_name(node)) {
                    machine.alive = false;
                    self.schedule(5_000, SimEvent::NodeLost(node_name(node)));
                }
            }
            Perturbation::NodeRevives { node } => self.revive(&node_name(node)),
            Perturbation::Taint { node, hard } => self.edit_node(node, |node| {
                node.taints.retain(|taint| &*taint.key != "sim");
                let effect = if hard {
                    Effect::NoExecute
                } else {
                    Effect::NoSchedule
                };
                node.taints.push(Taint {
                    key: "sim".into(),
                    value: "".into(),
                    effect,
                });
            }),
            Perturbation::Untaint { node } => self.edit_node(node, |node| {
                node.taints.retain(|taint| &*taint.key != "sim");
            }),
            Perturbation::Cordon { node, on } => self.edit_node(node, |node| {
                let key = "node.kubernetes.io/unschedulable";
                node.unschedulable = on;
                node.taints.retain(|taint| &*taint.key != key);
                if on {
                    node.taints.push(Taint {
                        key: key.into(),
                        value: "".into(),
                        effect: Effect::NoSchedule,
                    });
                }
            }),
            Perturbation::Label { node, disk } => self.edit_node(node, |node| {
                node.labels = with_label(&node.labels, "disk", Some(&format!("d{disk}")));
            }),
            Perturbation::ShrinkAllocatable { node, on } => {
                self.shrink_allocatable(&node_name(node), on);
            }
            Perturbation::KubeletRefuses { node, for_ms } => {
                if let Some(machine) = self.machines.get_mut(&node_name(node)) {
                    machine.refuses_until = now + for_ms;
                }
            }
            _ => {}
        }
    }

    fn shrink_allocatable(&mut self, name: &Name, on: bool) {
        let Some(mut node) = self.api.nodes.get(name).cloned() else {
            return;
        };
        let pods = if on { "1" } else { "110" };
        let cpu = if on { "200m" } else { "8" };
        let map = serde_json::json!({"cpu": cpu, "pods": pods});
        node.allocatable = serde_json::from_value::<pandaemon_types::Resources>(map)
            .unwrap()
            .into();
        if self.api.nodes[name] != node {
            self.api.put_node(node);
        }
    }

    /// From here on nothing goes wrong any more.
    fn heal(&mut self) {
        self.record(|| "no more faults".to_owned());
        self.healed = true;
        self.faults = (0, 0);
        self.slow = [(0, 0); 4];
        self.stalled_until = 0;
        self.clock = 0;
        let names: Vec<Name> = self.machines.keys().cloned().collect();
        for name in names {
            self.machines.get_mut(&name).unwrap().refuses_until = 0;
            if self.api.nodes.contains_key(&name) {
                self.revive(&name);
                self.shrink_allocatable(&name, false);
            }
        }
    }

    pub(crate) fn log_length(&self, kind: usize) -> usize {
        debug_assert!(kind <= PODS && NODES < PODS);
        self.api.logs[kind].len()
    }
}
