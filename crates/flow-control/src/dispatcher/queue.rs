//! The queues of a priority level.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::RequestId;
use crate::{level::Queuing, shuffle};

/// What a request takes per seat until its queue has seen one end (upstream:
/// `estimatedServiceDuration`).
const FIRST_ESTIMATE: u64 = 3_000_000;

/// A queue of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueId {
    generation: u64,
    number: usize,
}

/// A request that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) id: RequestId,
    pub(super) flow: u64,
    pub(super) seats: u64,
}

/// A queue. Times are in nanoseconds, work in nanoseconds times seats.
#[derive(Debug)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// The seats of those that wait and of those that have begun.
    load: u64,
    /// The work that the queue has got, in the virtual time of its level.
    tag: u64,
    /// How long a request is assumed to take: the moving average.
    estimate: u64,
}

/// The queues of a level that have been used.
#[derive(Debug, Default)]
pub(super) struct Queues {
    config: Option<Queuing>,
    /// How often they have been configured.
    generation: u64,
    queues: BTreeMap<usize, Queue>,
    waiting: usize,
    /// The tag of the request that began last.
    time: u64,
}

impl Queues {
    /// Sets number and length of the queues. Those that wait are dealt anew if that changes; what
    /// each queue has got is forgotten then.
    pub(super) fn configure(&mut self, config: Option<Queuing>) {
        if self.config == config {
            return;
        }
        self.config = config;
        self.generation += 1;
        let before = std::mem::take(&mut self.queues);
        let mut waiting: Vec<Waiting> = before
            .into_values()
            .flat_map(|queue| queue.waiting)
            .collect();
        waiting.sort_unstable_by_key(|one| one.id);
        self.waiting = 0;
        for one in waiting {
            // Who waited does so still, also in a level without queues.
            let queue = self.choose(one.flow).map_or(0, |queue| queue.number);
            self.add(queue, one);
        }
    }

    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// The queue of a flow's hand with the least load; `None` if requests do not wait here.
    pub(super) fn choose(&self, flow: u64) -> Option<QueueId> {
        let config = self.config?;
        let mut best: Option<(u64, usize)> = None;
        shuffle::deal(
            flow,
            config.queues.max(1),
            config.hand_size.max(1),
            |card| {
                let load = self.queues.get(&card).map_or(0, |queue| queue.load);
                if best.is_none_or(|(least, _)| load < least) {
                    best = Some((load, card));
                }
            },
        );
        best.map(|(_, number)| self.id(number))
    }

    fn id(&self, number: usize) -> QueueId {
        QueueId {
            generation: self.generation,
            number,
        }
    }

    /// Adds a request to a queue. Returns whether there is room.
    pub(super) fn push(&mut self, queue: QueueId, waiting: Waiting) -> bool {
        let limit = self.config.map_or(0, |config| config.queue_length_limit);
        let queue = queue.number;
        let length = self.queues.get(&queue).map_or(0, |one| one.waiting.len());
        if length >= limit {
            return false;
        }
        self.add(queue, waiting);
        true
    }

    fn add(&mut self, queue: usize, waiting: Waiting) {
        let queue = self.queue(queue);
        queue.load += waiting.seats;
        queue.waiting.push_back(waiting);
        self.waiting += 1;
    }

    fn queue(&mut self, queue: usize) -> &mut Queue {
        let time = self.time;
        let queue = self.queues.entry(queue).or_insert_with(|| Queue {
            waiting: VecDeque::new(),
            load: 0,
            tag: 0,
            estimate: FIRST_ESTIMATE,
        });
        if queue.load == 0 {
            // An idle queue saves up no work.
            queue.tag = queue.tag.max(time);
        }
        queue
    }

    /// The queue whose turn it is.
    fn next(&self) -> Option<usize> {
        let waiting = self.queues.iter();
        let waiting = waiting.filter(|(_, queue)| !queue.waiting.is_empty());
        let next = waiting.min_by_key(|(number, queue)| (queue.tag.max(self.time), **number));
        next.map(|(number, _)| *number)
    }

    /// How many seats the next request needs.
    pub(super) fn next_seats(&self) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        let queue = self.queues.get(&self.next()?)?;
        queue.waiting.front().map(|waiting| waiting.seats)
    }

    /// Takes the next request out of its queue.
    pub(super) fn pop(&mut self) -> Option<(QueueId, Waiting)> {
        let number = self.next()?;
        let queue = self.queues.get_mut(&number)?;
        let waiting = queue.waiting.pop_front()?;
        queue.load -= waiting.seats;
        self.waiting -= 1;
        Some((self.id(number), waiting))
    }

    /// Takes a request that waits out of its queue. Returns whether it waited.
    pub(super) fn remove(&mut self, id: RequestId) -> bool {
        for queue in self.queues.values_mut() {
            if let Some(at) = queue.waiting.iter().position(|one| one.id == id)
                && let Some(waiting) = queue.waiting.remove(at)
            {
                queue.load -= waiting.seats;
                self.waiting -= 1;
                return true;
            }
        }
        false
    }

    /// A request of a queue begins: the queue is charged what it is assumed to take.
    pub(super) fn begin(&mut self, queue: QueueId, seats: u64) {
        let time = self.time;
        let queue = self.queue(queue.number);
        queue.load += seats;
        let start = queue.tag.max(time);
        queue.tag = start.saturating_add(seats.saturating_mul(queue.estimate));
        self.time = start;
    }

    /// A request of a queue has ended: the queue is charged what it took instead.
    pub(super) fn finish(&mut self, queue: QueueId, seats: u64, took: Duration) {
        let QueueId { generation, number } = queue;
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let queue = self.queues.get_mut(&number);
        // Those of an earlier configuration are gone.
        let Some(queue) = queue.filter(|_| generation == self.generation) else {
            return;
        };
        queue.load = queue.load.saturating_sub(seats);
        let tag = queue.tag.saturating_add(seats.saturating_mul(took));
        queue.tag = tag.saturating_sub(seats.saturating_mul(queue.estimate));
        queue.estimate = queue.estimate / 8 * 7 + took / 8;
        if queue.load == 0 && queue.tag <= self.time {
            self.queues.remove(&number);
        }
    }
}
