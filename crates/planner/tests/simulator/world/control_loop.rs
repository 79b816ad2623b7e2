//! The controller's loop, as crate `controllers` runs it: take in what has come, plan, carry out.

use super::{SimEvent, World};
use crate::{
    api::Kind,
    controller::{Controller, FeedState, Planned},
    describe,
    request::{Delivery, Request},
};

impl World {
    /// One round: takes in the inbox, and plans. `woken` is set when the timer of a plan has fired.
    pub(super) fn controller_loop(&mut self, epoch: u32, woken: Option<u64>) {
        let Some(mut controller) = self.controllers.remove(&epoch) else {
            return;
        };
        let void = woken.is_some_and(|turn| turn != controller.turn || controller.looping);
        if !void {
            if woken.is_some() && self.now < self.stalled_until {
                let turn = controller.turn;
                let wait = self.stalled_until - self.now;
                self.schedule(wait, SimEvent::Wake { epoch, turn });
            } else {
                self.round(&mut controller, woken.is_some());
            }
        }
        self.controllers.insert(epoch, controller);
    }

    fn round(&mut self, controller: &mut Controller, woken: bool) {
        let now = self.now + controller.clock;
        if !woken {
            controller.looping = false;
            for delivery in std::mem::take(&mut controller.inbox) {
                self.observe(controller, delivery, now);
            }
        }
        self.plan(controller, now);
    }

    fn observe(&mut self, controller: &mut Controller, delivery: Delivery, now: i64) {
        if self.trace.is_some() {
            let line = describe::delivery(&delivery);
            let epoch = controller.epoch;
            self.record(|| format!("  {epoch} observes {line}"));
        }
        controller.observe(delivery, now, &mut self.mutant);
        // Pods come last: finding the owner of each is cheaper than finding the pods of each.
        let kind = Kind::Pods.index();
        let waits = matches!(controller.feeds[kind].state, FeedState::Off);
        if waits && controller.knows_all_but_pods() {
            let epoch = controller.epoch;
            let feed = &mut controller.feeds[kind];
            feed.state = FeedState::Lists;
            feed.due = true;
            let wait = self.network_rng.latency(20, 2_000);
            self.schedule(wait, SimEvent::Feed { kind, epoch });
        }
    }

    fn plan(&mut self, controller: &mut Controller, now: i64) {
        self.plans += 1;
        let all = self.script.nodes <= 16 || self.plans.is_multiple_of(32);
        let (planned, checked) = controller.plan(now, self.now, all, &mut self.mutant);
        let Planned { requests, wake_at } = planned;
        let (epoch, turn) = (controller.epoch, controller.turn);
        if self.trace.is_some() {
            for (_, request) in &requests {
                let line = describe::request(request);
                self.record(|| format!("  {epoch} plans {line}"));
            }
        }
        self.fail_if(checked);
        if let Some(at) = wake_at {
            self.schedule(at - now, SimEvent::Wake { epoch, turn });
        }
        for (action, request) in requests {
            if !matches!(request, Request::Event { .. }) {
                self.request(epoch, action, request);
            }
        }
    }
}
