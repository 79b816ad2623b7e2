//! The simulation: one queue of events in simulated time, the cluster around the API server
//! (kubelets, scheduler, garbage collectors, users), and the perturbations of the script. No clock,
//! no threads, no hash maps: a script always runs the same way.

mod collectors;
mod control_loop;
mod feeds;
mod kubelets;
mod nodes;
mod requests;
mod truth;
mod users;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) use self::users::app;
use self::{
    kubelets::{Machine, PodProgress},
    requests::InFlight,
};
use crate::{
    api::Api,
    controller::Controller,
    final_state,
    mutant::Mutant,
    request::Violation,
    rng::Rng,
    script::{Propagation, Script, SetSpec},
    value::{Key, Text},
};

/// The simulated time at the start, in milliseconds.
const START: i64 = 1_700_000_000_000;
/// Without further faults and refusals, nothing is left to do after this time.
const TIME_LIMIT: i64 = 8 * 3_600_000;
/// And after so many events.
const EVENT_LIMIT: usize = 300_000;

/// An event of the simulation.
#[derive(Debug, Clone)]
enum SimEvent {
    Step(usize),
    /// All faults end; what the API server refuses, it goes on to refuse.
    EndFaults,
    /// The API server refuses nothing any more.
    EndRefusals,
    /// A controller starts; its first lists may lag.
    Start {
        lag: i64,
    },
    /// A controller that has lost its lease ends.
    Stop {
        epoch: u32,
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
    /// A request reaches the API server.
    Land(u64),
    /// Its reply reaches the controller.
    Reply(u64),
    Bind(Text),
    Run(Text),
    Ready(Text),
    End(Text),
    NodeLost(Text),
    NodeBack(Text),
    NodeNew {
        node: usize,
    },
    PodGc(Text),
    Gc(Text),
    NamespaceGc {
        namespace: Text,
        until: i64,
    },
}

pub(crate) struct World {
    pub(crate) script: Script,
    pub(crate) now: i64,
    pub(crate) api: Api,
    queue: BTreeMap<(i64, u64), SimEvent>,
    serial: u64,
    specs: Vec<SetSpec>,
    // Nodes and collectors.
    machines: BTreeMap<Text, Machine>,
    progress: BTreeMap<Text, PodProgress>,
    /// How far the logs of pods and revisions were reacted to.
    reacted: [usize; 2],
    deleting: BTreeMap<Text, Propagation>,
    collecting: BTreeSet<Text>,
    /// The uids of sets that use `maxSurge`, or once did.
    surged: BTreeSet<Text>,
    /// Names that pods were created under, by the uid of the set.
    named: BTreeSet<(Text, Text)>,
    /// Names that were asked for, by the uid of the set, the node and the hash of the revision.
    names: BTreeMap<(Text, Text, Text), Vec<Text>>,
    // Controllers and their connections.
    pub(crate) controllers: BTreeMap<u32, Controller>,
    epochs: u32,
    in_flight: BTreeMap<u64, InFlight>,
    pub(crate) mutant: Mutant,
    /// The share of requests that fail, in percent, and until when.
    faults: (usize, i64),
    /// The delay of each watch, and until when.
    slow: [(i64, i64); 4],
    stalled_until: i64,
    faults_ended: bool,
    /// When nothing was refused any more.
    calm_since: Option<i64>,
    // One stream of random numbers for each part.
    network_rng: Rng,
    fault_rng: Rng,
    node_rng: Rng,
    // The report.
    trace: Option<VecDeque<String>>,
    violation: Option<Violation>,
    step: usize,
    events: usize,
    plans: usize,
    requests: usize,
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
    pub(crate) requests: usize,
}

fn node_name(node: usize) -> Text {
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
            names: BTreeMap::new(),
            controllers: BTreeMap::new(),
            epochs: 0,
            in_flight: BTreeMap::new(),
            mutant,
            faults: (0, 0),
            slow: [(0, 0); 4],
            stalled_until: 0,
            faults_ended: false,
            calm_since: None,
            network_rng: Rng::new(seed, 2),
            fault_rng: Rng::new(seed, 3),
            node_rng: Rng::new(seed, 4),
            trace: trace.then(VecDeque::new),
            violation: None,
            step: 0,
            events: 0,
            plans: 0,
            requests: 0,
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
        self.schedule(last + 20_000, SimEvent::EndFaults);
    }

    /// Runs to the end, and checks the final state.
    pub(crate) fn run(&mut self) {
        while self.violation.is_none() {
            let Some(((at, _), event)) = self.queue.pop_first() else {
                break;
            };
            self.now = self.now.max(at);
            self.api.now = self.now;
            self.events += 1;
            let calm = self.calm_since.map_or(0, |since| self.now - since);
            if calm > TIME_LIMIT || self.events > EVENT_LIMIT {
                let text = format!(
                    "something is left to do {} s after the last fault, after {} events",
                    calm / 1000,
                    self.events
                );
                self.fail(("liveness", text));
                break;
            }
            self.dispatch(event);
            self.react_to_changes();
        }
        if self.violation.is_none() {
            let checked = final_state::check(self);
            self.fail_if(checked);
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
            requests: self.requests,
        }
    }

    pub(crate) fn fail(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    fn fail_if(&mut self, checked: Result<(), Violation>) {
        if let Err(violation) = checked {
            self.fail(violation);
        }
    }

    fn schedule(&mut self, millis: i64, event: SimEvent) {
        self.serial += 1;
        self.queue
            .insert((self.now + millis.max(0), self.serial), event);
    }

    /// Keeps a line of the trace; it is only rendered if there is a trace.
    fn record(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.now - START;
            trace.push_back(format!("{:>9}.{:03} {}", at / 1000, at % 1000, line()));
            if trace.len() > 5_000 {
                trace.pop_front();
            }
        }
    }

    fn dispatch(&mut self, event: SimEvent) {
        match event {
            SimEvent::Step(number) => {
                self.step = number;
                let what = self.script.steps[number].what.clone();
                self.record(|| format!("step {number}: {what:?}"));
                self.perturb(what);
            }
            SimEvent::EndFaults => self.end_faults(),
            SimEvent::EndRefusals => self.end_refusals(),
            SimEvent::Start { lag } => self.start_controller(lag),
            SimEvent::Stop { epoch } => drop(self.controllers.remove(&epoch)),
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

    // === the end ===

    fn end_faults(&mut self) {
        self.record(|| "all faults end".to_owned());
        self.faults_ended = true;
        self.faults = (0, 0);
        self.slow = [(0, 0); 4];
        self.stalled_until = 0;
        for controller in self.controllers.values_mut() {
            controller.clock = 0;
        }
        self.heal_nodes();
        self.heal_sets();
        if !self.api.admission.is_sticky() {
            self.calm_since = Some(self.now);
            return;
        }
        // Long enough for the slowest update: one node after the other.
        let nodes = i64::try_from(self.script.nodes).unwrap();
        let wait = 1_800_000 + nodes * 90_000;
        self.schedule(wait, SimEvent::EndRefusals);
    }

    /// Where nothing is refused, everything is as it should be by now.
    fn end_refusals(&mut self) {
        let checked = final_state::check_beside_refusals(self);
        self.fail_if(checked);
        self.record(|| "the API server refuses nothing any more".to_owned());
        self.api.admission.lift();
        self.calm_since = Some(self.now);
    }

    /// The API server's sets that a script describes, with their specs.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.api.sets().map(|set| set.key.clone()).collect()
    }
}
