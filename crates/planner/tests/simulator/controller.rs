//! The shell around the planner, as crate `controllers` builds it: a feed per kind, one loop that takes
//! in batches and plans, one task per action, and the executor's second requests.

use std::collections::BTreeSet;

use pandaemon_planner::{
    Action, Event, Failure, FailureKind, Listed, Options, Patch, Plan, Planner, Purpose, Reply,
};
use pandaemon_types::{Timestamp, Uid};
use serde_json::Value;

use crate::{
    api::{ApiError, KINDS, Key, NODES, Object, PODS, REVISIONS, SETS, listed},
    oracle::Oracle,
    world::{SimEvent, World},
};

/// What a feed does.
#[derive(Debug, Default)]
enum FeedState {
    /// It waits for the other kinds.
    #[default]
    Off,
    /// A list is due.
    Lists,
    /// A list was read, and is handed on in pages.
    Pages {
        objects: Vec<Object>,
        keys: BTreeSet<Key>,
    },
    Watches,
}

#[derive(Debug, Default)]
struct Feed {
    state: FeedState,
    /// The version that it has seen.
    version: u64,
    /// Where it is in the log.
    position: usize,
    /// Whether a turn is due.
    due: bool,
}

/// One controller process.
pub(crate) struct Controller {
    pub(crate) epoch: u32,
    pub(crate) planner: Planner,
    pub(crate) oracle: Oracle,
    feeds: [Feed; 4],
    inbox: Vec<Event>,
    looping: bool,
    turn: u64,
    listed: BTreeSet<usize>,
    /// How far behind the first lists are.
    lag: i64,
    /// Plans since time has passed.
    busy: (i64, usize),
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestStage {
    /// Before adopting: is the set still there?
    ChecksOwner,
    Sends,
    /// After `AlreadyExists`: whose is it?
    ReadsExisting,
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Request {
    epoch: u32,
    /// What the planner asked for.
    action: Action,
    /// What was sent: the same, but for mutants.
    sent: Action,
    stage: RequestStage,
    /// It was given up, and takes effect all the same.
    late: bool,
    result: Option<Result<Reply, Failure>>,
}

fn failure(kind: FailureKind, message: &str, retry_after: i64) -> Failure {
    Failure {
        kind,
        message: message.to_owned(),
        retry_after,
    }
}

/// What the executor makes of an answer of the server.
fn verdict(action: &Action, error: ApiError) -> Failure {
    let deletes = matches!(
        action,
        Action::DeletePod { .. } | Action::DeleteRevision { .. }
    );
    match error {
        ApiError::NotFound => failure(FailureKind::NotFound, "not found", 0),
        ApiError::OtherUid if deletes => failure(FailureKind::NotFound, "uid differs", 0),
        ApiError::OtherUid => failure(FailureKind::Refused, "uid differs", 0),
        ApiError::AlreadyExists => failure(FailureKind::NotFound, "already exists", 0),
        ApiError::Terminating => failure(FailureKind::NamespaceTerminating, "terminating", 0),
    }
}

impl World {
    pub(crate) fn start_controller(&mut self, lag: i64) {
        self.epochs += 1;
        let epoch = self.epochs;
        self.record(|| format!("controller {epoch} starts"));
        let options = Options {
            bind: self.script.bind,
            explain: false,
        };
        let mut controller = Controller {
            epoch,
            planner: Planner::new(options),
            oracle: Oracle::default(),
            feeds: Default::default(),
            inbox: Vec::new(),
            looping: false,
            turn: 0,
            listed: BTreeSet::new(),
            lag,
            busy: (0, 0),
        };
        for kind in [SETS, REVISIONS, NODES] {
            controller.feeds[kind].state = FeedState::Lists;
            controller.feeds[kind].due = true;
            let wait = self.network_rng.latency(20, 2_000);
            self.schedule(wait, SimEvent::Feed { kind, epoch });
        }
        self.controller = Some(controller);
    }

    pub(crate) fn clock(&self) -> Timestamp {
        Timestamp(self.now + self.clock)
    }

    // === feeds ===

    fn delay(&mut self, kind: usize) -> i64 {
        let (delay, until) = self.slow[kind];
        if self.now < until {
            self.network_rng.between(0, delay)
        } else {
            self.network_rng.latency(8, 300)
        }
    }

    /// Watches that have something to tell get a turn.
    pub(crate) fn wake_feeds(&mut self) {
        for kind in 0..KINDS.len() {
            let length = self.log_length(kind);
            let Some(controller) = &mut self.controller else {
                return;
            };
            let epoch = controller.epoch;
            let feed = &mut controller.feeds[kind];
            if matches!(feed.state, FeedState::Watches) && !feed.due && feed.position < length {
                feed.due = true;
                let wait = self.delay(kind);
                self.schedule(wait, SimEvent::Feed { kind, epoch });
            }
        }
    }

    /// The watch of a kind breaks; with `expired`, what it would go on from is forgotten.
    pub(crate) fn cut(&mut self, kind: usize, expired: bool) {
        let Some(controller) = &mut self.controller else {
            return;
        };
        let epoch = controller.epoch;
        let feed = &mut controller.feeds[kind];
        if matches!(feed.state, FeedState::Off | FeedState::Lists) {
            return;
        }
        if expired || !matches!(feed.state, FeedState::Watches) {
            feed.state = FeedState::Lists;
        }
        // A turn that was due already now stands for the end of the pause.
        if !feed.due {
            feed.due = true;
            let wait = self.network_rng.latency(50, 15_000);
            self.schedule(wait, SimEvent::Feed { kind, epoch });
        }
    }

    pub(crate) fn feed(&mut self, kind: usize, epoch: u32) {
        let wait = self.delay(kind);
        let now = self.now;
        let Some(mut controller) = self.controller.take_if(|known| known.epoch == epoch) else {
            return;
        };
        let feed = &mut controller.feeds[kind];
        feed.due = false;
        let mut events = Vec::new();
        match std::mem::take(&mut feed.state) {
            FeedState::Off => {}
            FeedState::Lists => {
                // A first list may come from a cache that lags; none goes back behind what was seen.
                let fresh = self
                    .api
                    .logs
                    .iter()
                    .flatten()
                    .filter(|entry| entry.at <= now - controller.lag);
                let seen = fresh.map(|entry| entry.revision).max().unwrap_or(0);
                feed.version = if controller.lag > 0 && feed.version == 0 {
                    seen
                } else {
                    self.api.revision
                };
                let mut objects = self.api.list(kind, feed.version);
                let keys = objects.iter().map(Object::key).collect();
                objects.reverse();
                feed.position =
                    self.api.logs[kind].partition_point(|entry| entry.revision <= feed.version);
                feed.state = FeedState::Pages { objects, keys };
                feed.due = true;
            }
            FeedState::Pages { mut objects, keys } => {
                let page = if objects.len() > 12 && self.network_rng.chance(70) {
                    objects.len() / 2
                } else {
                    0
                };
                events.extend(
                    objects
                        .split_off(page)
                        .into_iter()
                        .rev()
                        .map(Object::changed),
                );
                if objects.is_empty() {
                    events.push(listed(kind, keys, feed.version));
                    feed.state = FeedState::Watches;
                } else {
                    feed.state = FeedState::Pages { objects, keys };
                    feed.due = true;
                }
            }
            FeedState::Watches => {
                let log = &self.api.logs[kind];
                let left = log.len() - feed.position;
                let few = if self.network_rng.chance(50) {
                    left
                } else {
                    1 + self.network_rng.below(left.min(8))
                };
                let told = &log[feed.position..(feed.position + few).min(log.len())];
                events.extend(told.iter().map(crate::api::Entry::event));
                feed.position += told.len();
                feed.version = told.last().map_or(feed.version, |entry| entry.revision);
                feed.state = FeedState::Watches;
            }
        }
        let due = feed.due;
        self.controller = Some(controller);
        if due {
            self.schedule(wait, SimEvent::Feed { kind, epoch });
        }
        events.into_iter().for_each(|event| self.send(event));
    }

    /// Puts an event into the controller's channel.
    fn send(&mut self, event: Event) {
        let wait = if self.network_rng.chance(95) {
            self.network_rng.between(0, 2)
        } else {
            self.network_rng.between(0, 200)
        };
        let wait = wait.max(self.stalled_until - self.now);
        let Some(controller) = &mut self.controller else {
            return;
        };
        controller.inbox.push(event);
        if !controller.looping {
            controller.looping = true;
            let epoch = controller.epoch;
            self.schedule(wait, SimEvent::Loop { epoch });
        }
    }

    // === the loop ===

    /// One round: takes in what has come, and plans. `woken` is set when the timer fired.
    pub(crate) fn controller_loop(&mut self, epoch: u32, woken: Option<u64>) {
        let now = self.clock();
        let Some(mut controller) = self.controller.take_if(|known| known.epoch == epoch) else {
            return;
        };
        if woken.is_some_and(|turn| turn != controller.turn)
            || (woken.is_some() && controller.looping)
        {
            self.controller = Some(controller);
            return;
        }
        if woken.is_some() && self.now < self.stalled_until {
            let turn = controller.turn;
            self.schedule(
                self.stalled_until - self.now,
                SimEvent::Wake { epoch, turn },
            );
            self.controller = Some(controller);
            return;
        }
        if now < controller.oracle.latest {
            controller.oracle.rewind(now);
        }
        controller.oracle.latest = controller.oracle.latest.max(now);
        if woken.is_none() {
            controller.looping = false;
            for event in std::mem::take(&mut controller.inbox) {
                self.observe(&mut controller, event, now);
            }
        }
        if controller.listed.contains(&PODS) {
            self.plan(&mut controller, now);
        }
        self.controller = Some(controller);
    }

    fn observe(&mut self, controller: &mut Controller, event: Event, now: Timestamp) {
        if self.trace.is_some() {
            let line = describe_event(&event);
            self.record(|| format!("  heard {line}"));
        }
        if let Event::Listed(listed) = &event {
            let first = controller.listed.insert(match listed {
                Listed::Sets(_) => SETS,
                Listed::Revisions(_) => REVISIONS,
                Listed::Nodes(_) => NODES,
                Listed::Pods { .. } => PODS,
            });
            if first && controller.listed.len() == 3 {
                controller.feeds[PODS].state = FeedState::Lists;
                controller.feeds[PODS].due = true;
                let (wait, epoch) = (self.network_rng.latency(20, 2_000), controller.epoch);
                self.schedule(wait, SimEvent::Feed { kind: PODS, epoch });
            }
        }
        controller.oracle.observe(&event, now);
        if let Some(event) = self.mutant.event(event) {
            controller.planner.observe(event, now);
        }
    }

    fn plan(&mut self, controller: &mut Controller, now: Timestamp) {
        let Plan {
            actions, wake_at, ..
        } = controller.planner.plan(now);
        self.plans += 1;
        controller.busy = if controller.busy.0 == self.now {
            (self.now, controller.busy.1 + 1)
        } else {
            (self.now, 0)
        };
        if controller.busy.1 > 500 {
            self.fail((
                "busy loop",
                "plans again and again while no time passes".to_owned(),
            ));
        }
        if self.script.nodes <= 16 || self.plans.is_multiple_of(32) {
            let miscounted = controller.planner.miscounted(now);
            if !miscounted.is_empty() {
                self.fail((
                    "miscounted",
                    format!("sums of {miscounted:?} differ from a recount"),
                ));
            }
        }
        controller.turn += 1;
        if let Some(at) = wake_at {
            let (epoch, turn) = (controller.epoch, controller.turn);
            self.schedule(at.millis_since(now), SimEvent::Wake { epoch, turn });
        }
        let pairs: Vec<(Action, Action)> = actions
            .into_iter()
            .flat_map(|action| self.mutant.action(action))
            .collect();
        let sent: Vec<Action> = pairs.iter().map(|(_, sent)| sent.clone()).collect();
        if self.trace.is_some() {
            for action in &sent {
                let line = describe_action(action);
                self.record(|| format!("  plan {line}"));
            }
        }
        if let Err(violation) = controller.oracle.plan(&sent, &self.api.tags) {
            self.fail(violation);
        }
        for (action, sent) in pairs {
            if !matches!(action, Action::Event { .. }) {
                self.request(controller.epoch, action, sent);
            }
        }
    }

    // === requests ===

    fn request(&mut self, epoch: u32, action: Action, sent: Action) {
        self.actions += 1;
        let names_owner = |patch: &Patch| {
            let (Patch::Merge(body) | Patch::Strategic(body)) = patch;
            body.pointer("/metadata/ownerReferences").is_some()
        };
        let adopts = matches!(&sent, Action::PatchRevision { patch, .. } if names_owner(patch))
            || matches!(
                sent,
                Action::PatchPod {
                    purpose: Purpose::Adopt,
                    ..
                }
            );
        let stage = if adopts {
            RequestStage::ChecksOwner
        } else {
            RequestStage::Sends
        };
        let id = self.actions as u64;
        self.requests.insert(
            id,
            Request {
                epoch,
                action,
                sent,
                stage,
                late: false,
                result: None,
            },
        );
        let wait = self.network_rng.latency(20, 3_000);
        self.schedule(wait, SimEvent::Land(id));
    }

    fn answer(&mut self, id: u64, result: Result<Reply, Failure>, wait: i64) {
        if let Some(request) = self.requests.get_mut(&id) {
            request.result = Some(result);
            self.schedule(wait, SimEvent::Reply(id));
        }
    }

    /// A fault that keeps the request from having an effect; `None` with true if only the reply is lost.
    fn fault(&mut self, sent: &Action) -> (Option<Failure>, bool, bool) {
        let (percent, until) = self.faults;
        if until <= self.now || !self.fault_rng.chance(percent) {
            return (None, false, false);
        }
        let patches = matches!(
            sent,
            Action::PatchPod { .. } | Action::PatchRevision { .. } | Action::WriteStatus { .. }
        );
        match self.fault_rng.below(6) {
            0 => (
                Some(failure(
                    FailureKind::Refused,
                    "429",
                    self.fault_rng.between(0, 5) * 1_000,
                )),
                false,
                false,
            ),
            1 if patches => (Some(failure(FailureKind::Refused, "409", 0)), false, false),
            1 | 2 => (Some(failure(FailureKind::Unclear, "500", 0)), false, false),
            3 => (
                Some(failure(FailureKind::Unclear, "timeout", 0)),
                false,
                false,
            ),
            4 => (
                Some(failure(
                    FailureKind::Unclear,
                    "timeout, takes effect later",
                    0,
                )),
                false,
                true,
            ),
            _ => (None, true, false),
        }
    }

    /// A request reaches the server.
    pub(crate) fn land(&mut self, id: u64) {
        let Some(request) = self.requests.get(&id) else {
            return;
        };
        let (sent, stage, epoch) = (request.sent.clone(), request.stage, request.epoch);
        if request.late {
            self.requests.remove(&id);
            self.record(|| {
                format!(
                    "  a request that was given up takes effect: {}",
                    describe_action(&sent)
                )
            });
            if let Action::CreatePod { uid, name, .. } = &sent {
                self.named.insert((uid.clone(), name.clone()));
            }
            drop(self.api.carry_out(&sent, None));
            return;
        }
        let wait = self.network_rng.latency(10, 2_000);
        let (fault, lost, late) = self.fault(&sent);
        if let Some(failure) = fault {
            if late && stage == RequestStage::Sends {
                self.requests.insert(
                    id + (1 << 40),
                    Request {
                        late: true,
                        result: None,
                        action: sent.clone(),
                        sent,
                        ..*self.requests.get(&id).unwrap()
                    },
                );
                let wait = self.fault_rng.between(10, 10_000);
                self.schedule(wait, SimEvent::Land(id + (1 << 40)));
            }
            self.answer(id, Err(failure), wait);
            return;
        }
        let result = match stage {
            RequestStage::ChecksOwner => {
                if self.may_adopt(&sent) {
                    self.requests.get_mut(&id).unwrap().stage = RequestStage::Sends;
                    self.schedule(wait, SimEvent::Land(id));
                } else {
                    self.answer(
                        id,
                        Err(failure(FailureKind::Refused, "the set is being deleted", 0)),
                        wait,
                    );
                }
                return;
            }
            RequestStage::Sends => self.api.carry_out(&sent, Some(epoch)),
            RequestStage::ReadsExisting => self.api.look_again(&sent),
        };
        if let (Action::CreatePod { node, uid, .. }, Ok(Reply::Pod(pod)), RequestStage::Sends) =
            (&sent, &result, stage)
        {
            // A second request for one name that takes effect after the pod of the first was deleted is nobody's
            // fault: no controller can call back what it has sent.
            if self.named.insert((uid.clone(), pod.name.clone())) {
                self.check_creation(epoch, uid, node, &pod.uid);
            }
        }
        let creates = matches!(
            sent,
            Action::CreatePod { .. } | Action::CreateRevision { .. }
        );
        if lost {
            self.record(|| format!("  the reply is lost: {}", describe_action(&sent)));
            self.answer(id, Err(failure(FailureKind::Unclear, "lost", 0)), wait);
        } else if creates
            && stage == RequestStage::Sends
            && matches!(result, Err(ApiError::AlreadyExists))
        {
            self.requests.get_mut(&id).unwrap().stage = RequestStage::ReadsExisting;
            self.schedule(wait, SimEvent::Land(id));
        } else {
            self.answer(id, result.map_err(|no| verdict(&sent, no)), wait);
        }
    }

    fn may_adopt(&self, sent: &Action) -> bool {
        let (Action::PatchPod { set, patch, .. } | Action::PatchRevision { set, patch, .. }) = sent
        else {
            return false;
        };
        let (Patch::Merge(body) | Patch::Strategic(body)) = patch;
        let uid = body
            .pointer("/metadata/ownerReferences/0/uid")
            .and_then(Value::as_str);
        let fresh = self.api.sets.get(set);
        fresh.is_some_and(|set| !set.deleting && uid == Some(&*set.uid.to_string()))
    }

    /// The truth: no controller makes a pod on a node where it made one that lives.
    fn check_creation(&mut self, epoch: u32, set: &Uid, node: &str, new: &Uid) {
        let on = self
            .api
            .on
            .get(node)
            .into_iter()
            .flatten()
            .filter(|uid| *uid != new);
        let mine = |uid: &&Uid| {
            let pod = &self.api.pods[*uid];
            pod.is_live()
                && pod.is_of(set)
                && pod.epoch == Some(epoch)
                && pod.made_for.as_ref() == Some(set)
                && pod.view.labels.iter().any(|(key, _)| key == "app")
        };
        let others: Vec<String> = on
            .filter(mine)
            .map(|uid| self.api.pods[uid].view.name.to_string())
            .collect();
        let most = usize::from(self.surged.contains(set));
        if others.len() > most {
            let name = &self.api.pods[new].view.name;
            let text =
                format!("{name} was made on {node} beside {others:?} by the same controller");
            self.fail(("two pods", text));
        }
    }

    /// A reply reaches the controller, if it is still there.
    pub(crate) fn reply(&mut self, id: u64) {
        let Some(Request {
            epoch,
            action,
            result: Some(result),
            ..
        }) = self.requests.remove(&id)
        else {
            return;
        };
        if self
            .controller
            .as_ref()
            .is_some_and(|known| known.epoch == epoch)
        {
            self.send(Event::Outcome {
                action: Box::new(action),
                result,
            });
        }
    }
}

// === words ===

fn describe_action(action: &Action) -> String {
    match action {
        Action::CreatePod {
            node, name, bind, ..
        } => format!("create {name} on {node} bind={bind}"),
        Action::DeletePod {
            pod, node, reason, ..
        } => format!("delete {} on {node}: {reason}", pod.name),
        Action::PatchPod { pod, purpose, .. } => format!("{purpose:?} {}", pod.name),
        Action::CreateRevision { object, .. } => {
            format!(
                "create revision {}",
                object.pointer("/metadata/name").unwrap_or(&Value::Null)
            )
        }
        Action::PatchRevision { name, patch, .. } => format!("patch revision {name} {patch:?}"),
        Action::DeleteRevision { name, .. } => format!("delete revision {name}"),
        Action::WriteStatus { set, status, .. } => format!("status of {set}: {status:?}"),
        Action::Event {
            reason, message, ..
        } => format!("event {reason}: {message}"),
    }
}

fn describe_event(event: &Event) -> String {
    match event {
        Event::Set(set) => format!(
            "set {} v{} generation {} {:?} {} deleting={}",
            set.key,
            set.resource_version,
            set.generation,
            set.strategy,
            crate::api::tag_of(set),
            set.deleting
        ),
        Event::Pod(pod) => format!(
            "pod {} v{} node={:?} {:?} ready={} deleting={} owner={:?}",
            pod.name,
            pod.resource_version,
            pod.node,
            pod.phase,
            pod.ready,
            pod.deleting,
            pod.owner.as_ref().map(|owner| &owner.uid)
        ),
        Event::Node(node) => format!(
            "node {} ready={} {:?} {:?}",
            node.name,
            node.ready,
            node.labels,
            node.taints
                .iter()
                .map(|taint| (&taint.key, taint.effect))
                .collect::<Vec<_>>()
        ),
        Event::Revision(rev) => format!(
            "revision {} v{} number {} owner={:?}",
            rev.name,
            rev.resource_version,
            rev.revision,
            rev.owner.as_ref().map(|owner| &owner.uid)
        ),
        Event::Outcome { action, result } => {
            let result = match result {
                Ok(_) => "ok".to_owned(),
                Err(failure) => format!("{:?} ({})", failure.kind, failure.message),
            };
            format!("outcome {result}: {}", describe_action(action))
        }
        Event::Listed(listed) => match listed {
            Listed::Pods {
                uids,
                resource_version,
            } => format!("listed {} pods v{resource_version}", uids.len()),
            other => format!("{other:?}").chars().take(100).collect(),
        },
        other => format!("{other:?}"),
    }
}
