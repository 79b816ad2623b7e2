//! One controller process: the planner, the oracle that watches it, and its connections.

use std::rc::Rc;

use pandaemon_planner::{Action, Options, Planner};
use pandaemon_types::Timestamp;

use crate::{
    api::Stored,
    mutant::Mutant,
    oracle::Oracle,
    planner_types,
    request::{Delivery, Request, Violation},
    value::{Key, Text},
};

/// What a feed does: list in pages, then watch.
#[derive(Debug, Default)]
pub(crate) enum FeedState {
    /// It waits for the other kinds to be listed.
    #[default]
    Off,
    Lists,
    /// A list was read, and is delivered in pages.
    Pages {
        objects: Vec<Rc<Stored>>,
        members: Vec<(Key, Text)>,
    },
    Watches,
}

/// List and watch of one kind.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    pub(crate) state: FeedState,
    /// The newest version that it has delivered. It never goes back: older entries are dropped.
    pub(crate) version: u64,
    /// The next entry of the log that the watch sends.
    pub(crate) position: usize,
    /// Whether its next turn is scheduled.
    pub(crate) due: bool,
}

pub(crate) struct Controller {
    pub(crate) epoch: u32,
    planner: Planner,
    oracle: Oracle,
    pub(crate) feeds: [Feed; 4],
    /// Deliveries that the loop has not taken in.
    pub(crate) inbox: Vec<Delivery>,
    /// Whether the loop is scheduled to take them in.
    pub(crate) looping: bool,
    /// Counts plans; a timer of an earlier plan is void.
    pub(crate) turn: u64,
    /// How old the first lists may be, in milliseconds.
    pub(crate) lag: i64,
    /// How far its clock is off, in milliseconds.
    pub(crate) clock: i64,
    /// It has lost its lease to another one, and will notice that.
    pub(crate) ends: bool,
    /// The time of the last plan, and how many plans were made at it.
    busy: (i64, usize),
}

/// What a plan asks for: the action to report on, and the request to send.
pub(crate) struct Planned {
    pub(crate) requests: Vec<(Option<Action>, Request)>,
    pub(crate) wake_at: Option<i64>,
}

impl Controller {
    pub(crate) fn new(epoch: u32, bind: bool, lag: i64, clock: i64) -> Self {
        let options = Options {
            bind,
            explain: false,
        };
        Self {
            epoch,
            planner: Planner::new(options),
            oracle: Oracle::default(),
            feeds: Default::default(),
            inbox: Vec::new(),
            looping: false,
            turn: 0,
            lag,
            clock,
            ends: false,
            busy: (0, 0),
        }
    }

    /// A controller that starts from a snapshot of all objects.
    pub(crate) fn from_snapshot(bind: bool, objects: Vec<Rc<Stored>>, now: i64) -> Self {
        let mut controller = Self::new(u32::MAX, bind, 0, 0);
        controller.planner.mark_listed();
        for stored in objects {
            controller.observe(Delivery::Changed(stored), now, &mut Mutant::default());
        }
        controller
    }

    pub(crate) const fn knows_all_but_pods(&self) -> bool {
        self.planner.knows_all_but_pods()
    }

    /// Gives a delivery to the planner (as the mutant alters it) and to the oracle.
    pub(crate) fn observe(&mut self, delivery: Delivery, now: i64, mutant: &mut Mutant) {
        let delivery = match delivery {
            // The oracle is not misled by feeds that go back.
            Delivery::Old(old) => *old,
            delivery => {
                self.oracle.observe(&delivery, now);
                delivery
            }
        };
        for delivery in mutant.delivery(delivery) {
            let now = Timestamp(mutant.time(&delivery, now));
            if let Some(event) = planner_types::event(&delivery) {
                self.planner.observe(event, now);
            }
        }
    }

    /// Makes a plan and has the oracle check it. `real` is the simulation's time; with `all`, the
    /// checks that look at every node are made, too.
    pub(crate) fn plan(
        &mut self,
        now: i64,
        real: i64,
        all: bool,
        mutant: &mut Mutant,
    ) -> (Planned, Result<(), Violation>) {
        let plan = self.planner.plan(Timestamp(now));
        self.turn += 1;
        self.busy = (
            real,
            if self.busy.0 == real {
                self.busy.1 + 1
            } else {
                0
            },
        );
        let wake_at = mutant.wake_at(plan.wake_at.map(|at| at.0));
        let requests = plan.actions.into_iter().map(|action| {
            let request = planner_types::request(&action);
            (Some(action), request)
        });
        let requests = mutant.requests(requests.collect());
        let checked = self.check(&requests, wake_at, now, all);
        let planned = Planned { requests, wake_at };
        (planned, checked)
    }

    fn check(
        &mut self,
        requests: &[(Option<Action>, Request)],
        wake_at: Option<i64>,
        now: i64,
        all: bool,
    ) -> Result<(), Violation> {
        if self.busy.1 > 500 {
            let text = "plans again and again while no time passes".to_owned();
            return Err(("busy loop", text));
        }
        if all {
            let miscounted = self.planner.miscounted(Timestamp(now));
            if !miscounted.is_empty() {
                let text = format!("sums of {miscounted:?} differ from a recount");
                return Err(("miscounted", text));
            }
        }
        let requests: Vec<Request> = requests.iter().map(|(_, r)| r.clone()).collect();
        self.oracle.plan(&requests, wake_at, now, all)
    }

    /// What a plan at this time would ask for, events left out.
    pub(crate) fn idle(&mut self, now: i64) -> Vec<Request> {
        let plan = self.planner.plan(Timestamp(now));
        let requests = plan.actions.iter().map(planner_types::request);
        requests
            .filter(|request| !matches!(request, Request::Event { .. }))
            .collect()
    }

    /// The explanations of a set's nodes, in words.
    pub(crate) fn explain(&self, set: &Key, now: i64) -> Vec<String> {
        let nodes = self
            .planner
            .explain(&planner_types::set_key(set), Timestamp(now));
        nodes
            .iter()
            .map(|node| format!("{} {} {}", node.node, node.status.word(), node.status))
            .collect()
    }
}
