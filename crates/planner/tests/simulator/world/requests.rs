//! Requests on their way, as the shell's executor sends them: the read before an adoption, the read
//! after
//! `AlreadyExists`, faults, and requests that take effect after they were given up.

use std::rc::Rc;

use pandaemon_planner::Action;

use super::{SimEvent, World};
use crate::{
    api::{Kind, Maker, PatchForm, Refusal, Stored},
    describe, planner_types,
    request::{Answer, Delivery, Failure, FailureKind, Outcome, OutcomeResult, Request},
    value::{Key, text},
};

/// What the next request of an action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// GET of the set, before an adoption.
    ReadsSet,
    Sends,
    /// GET of the object that has the name, after `AlreadyExists`.
    ReadsExisting,
}

/// A request on its way.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    epoch: u32,
    /// What the planner asked for.
    action: Option<Action>,
    /// What is sent; mutants alter it.
    request: Request,
    stage: Stage,
    /// The controller has given it up, and it takes effect all the same.
    late: bool,
    result: Option<OutcomeResult>,
}

/// A fault of the network or the server.
enum Fault {
    None,
    Fails(Failure),
    /// The request is given up, and takes effect later.
    FailsLate(Failure),
    LosesReply,
}

/// Added to the number of a request that takes effect late.
const LATE: u64 = 1 << 40;

impl World {
    pub(super) fn request(&mut self, epoch: u32, mut action: Option<Action>, mut request: Request) {
        self.requests += 1;
        self.check_name(&request);
        if !self.reserves(&request)
            && let Some(action) = &mut action
        {
            // The shell leaves the pod to the scheduler.
            planner_types::unbind(action);
            request = planner_types::request(action);
        }
        let id = self.requests as u64;
        let stage = if request.adopter().is_some() {
            Stage::ReadsSet
        } else {
            Stage::Sends
        };
        let in_flight = InFlight {
            epoch,
            action,
            request,
            stage,
            late: false,
            result: None,
        };
        let withheld = self.mutant.withholds(&in_flight.request);
        self.in_flight.insert(id, in_flight);
        let wait = self.network_rng.latency(20, 3_000);
        match withheld {
            Some(result) => self.answer(id, result, wait),
            None => self.schedule(wait, SimEvent::Land(id)),
        }
    }

    fn answer(&mut self, id: u64, result: OutcomeResult, wait: i64) {
        if let Some(in_flight) = self.in_flight.get_mut(&id) {
            in_flight.result = Some(result);
            self.schedule(wait, SimEvent::Reply(id));
        }
    }

    fn go_on(&mut self, id: u64, stage: Stage, wait: i64) {
        if let Some(in_flight) = self.in_flight.get_mut(&id) {
            in_flight.stage = stage;
            self.schedule(wait, SimEvent::Land(id));
        }
    }

    fn fault(&mut self, request: &Request) -> Fault {
        let (percent, until) = self.faults;
        if until <= self.now || !self.fault_rng.chance(percent) {
            return Fault::None;
        }
        let patches = matches!(
            request,
            Request::PatchPod { .. } | Request::PatchRevision { .. } | Request::WriteStatus { .. }
        );
        let unclear = |message| Failure::new(FailureKind::Unclear, message);
        match self.fault_rng.below(6) {
            0 => Fault::Fails(Failure {
                retry_after: self.fault_rng.between(0, 5) * 1_000,
                ..Failure::new(FailureKind::Refused, "429 too many requests")
            }),
            1 if patches => Fault::Fails(Failure::new(FailureKind::Refused, "409 conflict")),
            1 | 2 => Fault::Fails(unclear("500 internal error")),
            3 => Fault::Fails(unclear("timeout")),
            4 => Fault::FailsLate(unclear("timeout, and it takes effect later")),
            _ => Fault::LosesReply,
        }
    }

    /// A request reaches the server.
    pub(super) fn land(&mut self, id: u64) {
        let Some(in_flight) = self.in_flight.get(&id).cloned() else {
            return;
        };
        let InFlight {
            request,
            stage,
            epoch,
            ..
        } = &in_flight;
        if in_flight.late {
            self.in_flight.remove(&id);
            self.record(|| format!("takes effect late: {}", describe::request(request)));
            if let Request::CreatePod { set_uid, name, .. } = request {
                self.named.insert((set_uid.clone(), name.clone()));
            }
            drop(self.carry_out(request, None));
            return;
        }
        let wait = self.network_rng.latency(10, 2_000);
        let loses_reply = match self.fault(request) {
            Fault::None => false,
            Fault::LosesReply => true,
            Fault::Fails(failure) => return self.answer(id, Err(failure), wait),
            Fault::FailsLate(failure) => {
                if *stage == Stage::Sends {
                    let late = InFlight {
                        late: true,
                        ..in_flight
                    };
                    self.in_flight.insert(id + LATE, late);
                    let wait = self.fault_rng.between(10, 10_000);
                    self.schedule(wait, SimEvent::Land(id + LATE));
                }
                return self.answer(id, Err(failure), wait);
            }
        };
        match stage {
            Stage::ReadsSet if self.may_adopt(request) => self.go_on(id, Stage::Sends, wait),
            Stage::ReadsSet => {
                let failure = Failure::new(FailureKind::Refused, "the set is being deleted");
                self.answer(id, Err(failure), wait);
            }
            Stage::Sends => {
                let mut sent = request.clone();
                self.mutant.sends(&mut sent, &self.api);
                let result = self.carry_out(&sent, Some(*epoch));
                if let Some(double) = self.mutant.doubles(&sent) {
                    drop(self.carry_out(&double, Some(*epoch)));
                }
                let result = result.map(|found| found.map_or(Answer::Done, Answer::Object));
                let creates = matches!(
                    request,
                    Request::CreatePod { .. } | Request::CreateRevision { .. }
                );
                if loses_reply {
                    self.record(|| format!("the reply is lost: {}", describe::request(request)));
                    let failure = Failure::new(FailureKind::Unclear, "the reply is lost");
                    self.answer(id, Err(failure), wait);
                } else if creates && is_already_exists(&result) {
                    self.go_on(id, Stage::ReadsExisting, wait);
                } else {
                    self.answer(id, result.map_err(|r| failure(request, &r)), wait);
                }
            }
            Stage::ReadsExisting => {
                let result = self.read_existing(request);
                self.answer(id, result, wait);
            }
        }
    }

    /// Sends the one request of an action to the server.
    fn carry_out(
        &mut self,
        request: &Request,
        epoch: Option<u32>,
    ) -> Result<Option<Rc<Stored>>, Refusal> {
        let key = |name: &str| Key::new(&request.set().namespace, name);
        let api = &mut self.api;
        match request {
            Request::CreatePod { set_uid, body, .. } => {
                let set = set_uid.clone();
                let maker = epoch.map(|epoch| Maker { epoch, set });
                let pod = api.create_pod(body, maker)?;
                self.check_created(request, &pod, epoch);
                Ok(Some(pod))
            }
            Request::DeletePod { name, uid, .. } => {
                api.delete(Kind::Pods, &key(name), uid).map(Some)
            }
            Request::PatchPod {
                name, form, body, ..
            } => {
                let before = api.get(Kind::Pods, &key(name)).cloned();
                let after = api.patch(Kind::Pods, &key(name), *form, body, false)?;
                self.check_patched(request, before.as_deref(), &after);
                Ok(Some(after))
            }
            Request::CreateRevision { body, .. } => api.create_revision(body).map(Some),
            Request::PatchRevision {
                name, form, body, ..
            } => api
                .patch(Kind::Revisions, &key(name), *form, body, false)
                .map(Some),
            Request::DeleteRevision { name, uid, .. } => {
                api.delete(Kind::Revisions, &key(name), uid).map(|_| None)
            }
            Request::WriteStatus { set, body, .. } => api
                .patch(Kind::Sets, set, PatchForm::Merge, body, true)
                .map(Some),
            Request::Event { .. } => Ok(None),
        }
    }

    /// Whether the set that is to become an owner still exists.
    fn may_adopt(&self, request: &Request) -> bool {
        let fresh = self.api.set(request.set()).filter(|set| !set.deleting);
        fresh.is_some_and(|set| request.adopter() == Some(&set.uid))
    }

    /// After `AlreadyExists`: the object that has the name.
    fn read_existing(&self, request: &Request) -> OutcomeResult {
        let (kind, name) = match request {
            Request::CreatePod { name, .. } => (Kind::Pods, &**name),
            Request::CreateRevision { body, .. } => (Kind::Revisions, text(body, "/metadata/name")),
            _ => return Ok(Answer::Done),
        };
        let key = Key::new(&request.set().namespace, name);
        match (self.api.get(kind, &key), kind) {
            (Some(found), Kind::Pods) => Ok(Answer::Existing(Rc::clone(found))),
            (Some(found), _) => Ok(Answer::Object(Rc::clone(found))),
            // It is gone already, so nothing was created.
            (None, Kind::Pods) => Err(Failure::new(FailureKind::Refused, "not found")),
            (None, _) => Err(Failure::new(FailureKind::NotFound, "not found")),
        }
    }

    /// A reply reaches the controller, if it still runs.
    pub(super) fn reply(&mut self, id: u64) {
        let Some(in_flight) = self.in_flight.remove(&id) else {
            return;
        };
        let Some(result) = in_flight.result else {
            return;
        };
        let outcome = Outcome {
            action: in_flight.action,
            request: in_flight.request,
            result,
        };
        self.send(in_flight.epoch, Delivery::Outcome(Box::new(outcome)));
    }
}

fn is_already_exists(result: &Result<Answer, Refusal>) -> bool {
    result
        .as_ref()
        .is_err_and(|refusal| refusal.reason == "AlreadyExists")
}

/// What the executor makes of an answer of the server.
fn failure(request: &Request, refusal: &Refusal) -> Failure {
    let deletes = matches!(
        request,
        Request::DeletePod { .. } | Request::DeleteRevision { .. }
    );
    let kind = match (refusal.code, refusal.reason) {
        (_, "NamespaceTerminating") => FailureKind::NamespaceTerminating,
        (404, _) => FailureKind::NotFound,
        // Another object has the name, so this one is gone.
        (409, _) if deletes => FailureKind::NotFound,
        _ => FailureKind::Refused,
    };
    Failure::new(kind, &refusal.message)
}
