//! Controllers' connections, as crate `client` builds them: list, watch, resume, list again after 410.
//! A watch may send entries again; the feed drops what is older than what it has delivered.

use std::rc::Rc;

use super::{SimEvent, World};
use crate::{
    api::{Kind, Stored},
    controller::{Controller, FeedState},
    request::Delivery,
};

impl World {
    pub(super) fn start_controller(&mut self, lag: i64) {
        if self.controllers.values().any(|controller| !controller.ends) {
            return;
        }
        self.epochs += 1;
        let epoch = self.epochs;
        self.record(|| format!("controller {epoch} starts"));
        let clock = match epoch {
            1 => 0,
            _ if self.faults_ended => 0,
            _ => self.network_rng.between(-2_000, 2_000),
        };
        let mut controller = Controller::new(epoch, self.script.bind, lag, clock);
        for kind in [Kind::Sets, Kind::Revisions, Kind::Nodes] {
            let feed = &mut controller.feeds[kind.index()];
            feed.state = FeedState::Lists;
            feed.due = true;
            let wait = self.network_rng.latency(20, 2_000);
            let kind = kind.index();
            self.schedule(wait, SimEvent::Feed { kind, epoch });
        }
        self.controllers.insert(epoch, controller);
    }

    fn delay(&mut self, kind: usize) -> i64 {
        let (delay, until) = self.slow[kind];
        if self.now < until {
            self.network_rng.between(0, delay)
        } else {
            self.network_rng.latency(8, 300)
        }
    }

    /// Watches that have something to send get a turn.
    pub(super) fn wake_feeds(&mut self) {
        let mut due = Vec::new();
        for controller in self.controllers.values_mut() {
            let epoch = controller.epoch;
            for (kind, feed) in controller.feeds.iter_mut().enumerate() {
                let more = feed.position < self.api.logs[kind].len();
                if matches!(feed.state, FeedState::Watches) && !feed.due && more {
                    feed.due = true;
                    due.push((kind, epoch));
                }
            }
        }
        for (kind, epoch) in due {
            let wait = self.delay(kind);
            self.schedule(wait, SimEvent::Feed { kind, epoch });
        }
    }

    /// The watches of a kind break; with `expired`, the server has forgotten what they resume from.
    pub(super) fn cut(&mut self, kind: usize, expired: bool) {
        let epochs: Vec<u32> = self.controllers.keys().copied().collect();
        for epoch in epochs {
            let wait = self.network_rng.latency(50, 15_000);
            let Some(controller) = self.controllers.get_mut(&epoch) else {
                continue;
            };
            let feed = &mut controller.feeds[kind];
            if matches!(feed.state, FeedState::Off | FeedState::Lists) {
                continue;
            }
            if expired || !matches!(feed.state, FeedState::Watches) {
                feed.state = FeedState::Lists;
            }
            // If a turn is scheduled already, it stands for the end of the pause.
            if !feed.due {
                feed.due = true;
                self.schedule(wait, SimEvent::Feed { kind, epoch });
            }
        }
    }

    /// The watches of a kind break, and resume `back` entries before where they were.
    pub(super) fn rewind(&mut self, kind: usize, back: usize) {
        for controller in self.controllers.values_mut() {
            let feed = &mut controller.feeds[kind];
            if matches!(feed.state, FeedState::Watches) {
                feed.position = feed.position.saturating_sub(back);
            }
        }
        self.cut(kind, false);
    }

    /// One turn of a feed.
    pub(super) fn feed(&mut self, kind: usize, epoch: u32) {
        let wait = self.delay(kind);
        let Some(mut controller) = self.controllers.remove(&epoch) else {
            return;
        };
        let feed = &mut controller.feeds[kind];
        feed.due = false;
        let mut deliveries = Vec::new();
        match std::mem::take(&mut feed.state) {
            FeedState::Off => {}
            FeedState::Lists => self.read_list(&mut controller, kind),
            FeedState::Pages {
                mut objects,
                members,
            } => {
                let half = objects.len() > 12 && self.network_rng.chance(70);
                let page = objects.split_off(if half { objects.len() / 2 } else { 0 });
                deliveries.extend(page.into_iter().rev().map(Delivery::Changed));
                if objects.is_empty() {
                    deliveries.push(Delivery::Listed {
                        kind: Kind::ALL[kind],
                        members,
                        version: feed.version,
                    });
                    feed.state = FeedState::Watches;
                } else {
                    feed.state = FeedState::Pages { objects, members };
                    feed.due = true;
                }
            }
            FeedState::Watches => deliveries = self.read_watch(&mut controller, kind),
        }
        let due = controller.feeds[kind].due;
        self.controllers.insert(epoch, controller);
        if due {
            self.schedule(wait, SimEvent::Feed { kind, epoch });
        }
        for delivery in deliveries {
            self.send(epoch, delivery);
        }
    }

    fn read_list(&self, controller: &mut Controller, kind: usize) {
        let lag = controller.lag;
        let feed = &mut controller.feeds[kind];
        // A first list may come from a cache that lags; none goes back behind what was delivered.
        let entries = self.api.logs.iter().flatten();
        let fresh = entries.filter(|entry| entry.at <= self.now - lag);
        feed.version = if lag > 0 && feed.version == 0 {
            fresh.map(|entry| entry.version).max().unwrap_or(0)
        } else {
            self.api.version
        };
        let mut objects: Vec<Rc<Stored>> = self.api.list(Kind::ALL[kind], feed.version);
        let member = |stored: &Rc<Stored>| (stored.key(), stored.uid().clone());
        let members = objects.iter().map(member).collect();
        objects.reverse();
        let log = &self.api.logs[kind];
        feed.position = log.partition_point(|entry| entry.version <= feed.version);
        feed.state = FeedState::Pages { objects, members };
        feed.due = true;
    }

    fn read_watch(&mut self, controller: &mut Controller, kind: usize) -> Vec<Delivery> {
        let feed = &mut controller.feeds[kind];
        let log = &self.api.logs[kind];
        let left = log.len() - feed.position;
        let few = if self.network_rng.chance(50) {
            left
        } else {
            1 + self.network_rng.below(left.min(8))
        };
        let entries = &log[feed.position..(feed.position + few).min(log.len())];
        feed.position += entries.len();
        feed.state = FeedState::Watches;
        let mut deliveries = Vec::new();
        for entry in entries {
            let last = Rc::clone(&entry.stored);
            let delivery = if entry.gone {
                let version = entry.version;
                Delivery::Gone { last, version }
            } else {
                Delivery::Changed(last)
            };
            if feed.version < entry.version {
                feed.version = entry.version;
                deliveries.push(delivery);
            } else if self.mutant.takes_old_entries() {
                deliveries.push(Delivery::Old(Box::new(delivery)));
            }
        }
        deliveries
    }

    /// Puts a delivery into a controller's channel.
    pub(super) fn send(&mut self, epoch: u32, delivery: Delivery) {
        let wait = if self.network_rng.chance(95) {
            self.network_rng.between(0, 2)
        } else {
            self.network_rng.between(0, 200)
        };
        let wait = wait.max(self.stalled_until - self.now);
        let Some(controller) = self.controllers.get_mut(&epoch) else {
            return;
        };
        controller.inbox.push(delivery);
        if !controller.looping {
            controller.looping = true;
            self.schedule(wait, SimEvent::Loop { epoch });
        }
    }
}
