//! The limiter against model servers in simulated time: it finds their best rate, and yields under
//! trouble.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use super::{Bounds, ConcurrencyLimiter, Outcome};

/// A server with so many workers; requests beyond `queue` waiting ones are answered with 429.
struct Model {
    workers: usize,
    /// The time of a request, by the number of busy workers and the time of day.
    takes: fn(usize, Duration) -> Duration,
    queue: usize,
}

fn model(workers: usize, takes: fn(usize, Duration) -> Duration) -> Model {
    let queue = 1_000;
    Model {
        workers,
        takes,
        queue,
    }
}

#[derive(Default)]
struct Seen {
    answered: usize,
    refused: usize,
    /// The largest latency.
    slowest: Duration,
    limit: usize,
}

/// Runs a closed loop with endless demand; counts answers after `warm`.
fn run(
    limiter: &mut ConcurrencyLimiter,
    model: &Model,
    from: Duration,
    warm: Duration,
    until: Duration,
) -> Seen {
    let (mut now, mut seen) = (from, Seen::default());
    // Requests of an earlier model are gone.
    limiter.under_way = 0;
    let mut working: BinaryHeap<Reverse<(Duration, Duration)>> = BinaryHeap::new();
    let mut waiting: VecDeque<Duration> = VecDeque::new();
    while now < until {
        while limiter.has_room() && limiter.paused_until(now).is_none() {
            limiter.begin(now);
            if waiting.len() >= model.queue {
                limiter.end(
                    now,
                    Duration::ZERO,
                    Outcome::Throttled(Some(Duration::from_millis(100))),
                );
                seen.refused += 1;
            } else {
                waiting.push_back(now);
            }
        }
        while working.len() < model.workers {
            let Some(began) = waiting.pop_front() else {
                break;
            };
            let takes = (model.takes)(working.len() + 1, now);
            working.push(Reverse((now + takes, began)));
        }
        match (working.pop(), limiter.paused_until(now)) {
            (Some(Reverse((at, began))), _) => {
                now = at;
                limiter.end(now, now - began, Outcome::Answered);
                if now >= warm {
                    seen.answered += 1;
                    seen.slowest = seen.slowest.max(now - began);
                }
            }
            (None, Some(at)) => now = at,
            (None, None) => panic!("nothing to do at {now:?}"),
        }
    }
    seen.limit = limiter.limit();
    seen
}

const fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

#[test]
fn it_finds_the_ceiling_of_any_server() {
    let cases = [
        (
            "one slow disk",
            model(1, |_, _| Duration::from_millis(1)),
            1_000.0,
        ),
        (
            "eight cores",
            model(8, |_, _| Duration::from_millis(2)),
            4_000.0,
        ),
        (
            "many replicas",
            model(100, |_, _| Duration::from_millis(10)),
            10_000.0,
        ),
        (
            "far away",
            model(200, |_, _| Duration::from_millis(40)),
            5_000.0,
        ),
        (
            "group commit",
            model(256, |n, _| Duration::from_micros(500 + 20 * n as u64)),
            0.0,
        ),
        (
            "two cores",
            model(20, |_, _| Duration::from_micros(14_285)),
            1_400.0,
        ),
    ];
    for (name, server, ceiling) in cases {
        // What endless parallel requests get: the model with the limit at its maximum.
        let all = Bounds {
            min: 256,
            start: 256,
            max: 256,
        };
        let plain = run(
            &mut ConcurrencyLimiter::new(all),
            &server,
            seconds(0),
            seconds(1),
            seconds(5),
        );
        if ceiling > 0.0 {
            assert!(
                (plain.answered as f64 / 4.0 / ceiling - 1.0).abs() < 0.05,
                "{name}: the model is wrong"
            );
        }
        let mut limiter = ConcurrencyLimiter::new(Bounds::default());
        let first = run(&mut limiter, &server, seconds(0), seconds(0), seconds(1));
        let then = run(&mut limiter, &server, seconds(1), seconds(1), seconds(5));
        let share =
            |seen: &Seen, time: f64| seen.answered as f64 / time / (plain.answered as f64 / 4.0);
        assert!(
            share(&first, 1.0) > 0.7,
            "{name}: {} in the first second",
            share(&first, 1.0)
        );
        assert!(
            share(&then, 4.0) > 0.9,
            "{name}: {} with a limit of {}",
            share(&then, 4.0),
            then.limit
        );
        assert!(then.refused == 0, "{name}: {} refused", then.refused);
    }
}

#[test]
fn it_settles_without_a_long_queue_at_the_server() {
    let server = model(8, |_, _| Duration::from_millis(2));
    let mut limiter = ConcurrencyLimiter::new(Bounds::default());
    let seen = run(&mut limiter, &server, seconds(0), seconds(20), seconds(30));
    assert!(seen.limit <= 24, "{}", seen.limit);
    assert!(
        seen.slowest < Duration::from_millis(10),
        "{:?}",
        seen.slowest
    );
}

#[test]
fn it_yields_to_429() {
    let server = Model {
        queue: 20,
        ..model(10, |_, _| Duration::from_millis(10))
    };
    let mut limiter = ConcurrencyLimiter::new(Bounds::default());
    let seen = run(&mut limiter, &server, seconds(0), seconds(2), seconds(12));
    assert!(seen.answered >= 8_500, "{}", seen.answered);
    assert!(
        seen.refused * 50 < seen.answered,
        "{} of {}",
        seen.refused,
        seen.answered
    );
}

#[test]
fn it_yields_to_a_server_that_becomes_slow_and_comes_back() {
    let fast = model(64, |_, _| Duration::from_millis(5));
    let slow = model(2, |_, _| Duration::from_millis(50));
    let mut limiter = ConcurrencyLimiter::new(Bounds::default());
    let before = run(&mut limiter, &fast, seconds(0), seconds(2), seconds(4));
    run(&mut limiter, &slow, seconds(4), seconds(4), seconds(60));
    assert!(
        limiter.limit() * 3 <= before.limit,
        "{} after {}",
        limiter.limit(),
        before.limit
    );
    let after = run(&mut limiter, &fast, seconds(60), seconds(70), seconds(72));
    assert!(
        after.answered * 10 >= before.answered * 9,
        "{} after {}",
        after.answered,
        before.answered
    );
}

#[test]
fn requests_that_fail_together_cut_once() {
    let mut limiter = ConcurrencyLimiter::new(Bounds::default());
    for _ in 0..32 {
        limiter.begin(seconds(1));
    }
    for _ in 0..32 {
        limiter.end(seconds(2), seconds(1), Outcome::Failed);
    }
    assert_eq!(limiter.limit(), 19);
    limiter.begin(seconds(3));
    limiter.end(
        seconds(3),
        Duration::ZERO,
        Outcome::Throttled(Some(seconds(7))),
    );
    assert_eq!(
        (limiter.limit(), limiter.paused_until(seconds(4))),
        (11, Some(seconds(10)))
    );
    assert_eq!(limiter.paused_until(seconds(10)), None);
}

#[test]
fn the_limit_stays_without_demand() {
    let mut limiter = ConcurrencyLimiter::new(Bounds::default());
    for second in 0..100 {
        limiter.begin(seconds(second));
        limiter.end(seconds(second), Duration::from_millis(3), Outcome::Answered);
    }
    assert_eq!(limiter.limit(), 32);
}

/// A busy machine: everything takes longer or shorter for a while, as others come and go.
fn busy(now: Duration) -> f64 {
    let slice = u64::try_from(now.as_millis() / 150).unwrap();
    let random = slice
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    0.6 + f64::from(u32::try_from(random >> 40).unwrap() % 1_000) / 1_000.0
}

#[test]
fn noise_does_not_starve_it() {
    let server = model(100, |_, now| Duration::from_millis(100).mul_f64(busy(now)));
    let all = Bounds {
        min: 256,
        start: 256,
        max: 256,
    };
    let plain = run(
        &mut ConcurrencyLimiter::new(all),
        &server,
        seconds(0),
        seconds(2),
        seconds(20),
    );
    let mut limiter = ConcurrencyLimiter::new(Bounds::default());
    let seen = run(&mut limiter, &server, seconds(0), seconds(2), seconds(20));
    assert!(
        seen.answered * 10 >= plain.answered * 9,
        "{} of {}, limit {}",
        seen.answered,
        plain.answered,
        seen.limit
    );
}
