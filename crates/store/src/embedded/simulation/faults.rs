//! Crashes and faults: nothing acknowledged is lost, and nothing else is half there.

use super::{
    World, check, run,
    scenarios::{crash_twice, fail_and_die},
};
use crate::disk::simulated::Single;

/// Seeds of each of the two tests, which run at the same time.
const SEEDS: u64 = 4000;

#[test]
fn nothing_acknowledged_is_lost_on_a_disk_with_faults() {
    check(SEEDS, |seed| run(2 * seed, None));
}

#[test]
fn nothing_acknowledged_is_lost_on_a_disk_with_faults_other_seeds() {
    check(SEEDS, |seed| run(2 * seed + 1, None));
}

/// Tries all pairs of calls, until both are over before.
fn all_pairs(run: impl Fn([u64; 2]) -> Result<[bool; 2], String>) -> Result<(), String> {
    for first in 1.. {
        for second in 1.. {
            let over = run([first, second]);
            match over.map_err(|why| format!("calls {first} and {second}: {why}"))? {
                [true, true] => return Ok(()),
                [_, true] => break,
                _ => {}
            }
        }
    }
    Ok(())
}

#[test]
fn a_crash_in_a_compaction_and_one_in_the_start_after_it_lose_nothing() {
    check(3, |seed| all_pairs(|calls| crash_twice(seed, calls, None)));
}

#[test]
fn a_call_that_fails_and_a_crash_after_it_lose_nothing() {
    check(100, |seed| {
        all_pairs(|calls| fail_and_die(seed, calls, None))
    });
}

/// A workload in which one call does something else. Says whether there are so many calls.
fn with_single(seed: u64, call: u64, single: Single) -> Result<bool, String> {
    let mut world = World::new(seed, None);
    world.has_faults = true;
    world.disk.set_single(Some((call, single)));
    world.open()?;
    for step in 0..9 {
        if world.writer.is_none() {
            world.open()?;
        }
        match step {
            3 => world.compact()?,
            4 => world.checkpoint()?,
            6 => world.close()?,
            _ => world.batch()?,
        }
    }
    let is_over = world.disk.calls() < call;
    world.clear_faults();
    // The store goes on, at the latest after a start.
    for fails_power in [None, Some(false), Some(true)] {
        if let Some(fails_power) = fails_power {
            world.crash(fails_power);
            world.open()?;
        }
        world.batch()?;
    }
    Ok(is_over)
}

#[test]
fn any_single_call_may_fail() {
    check(6, |seed| {
        for single in [Single::Io, Single::Full] {
            for call in 1.. {
                let over = with_single(seed, call, single);
                if over.map_err(|why| format!("{single:?} at call {call}: {why}"))? {
                    break;
                }
            }
        }
        Ok(())
    });
}

#[test]
fn runs_are_repeatable() {
    let steps = |seed| {
        let mut world = World::new(seed, None);
        world.disk.record();
        world.open().unwrap();
        for _ in 0..9 {
            world.batch().unwrap();
        }
        world.compact().unwrap();
        world.checkpoint().unwrap();
        (world.disk.steps(), world.disk.files())
    };
    assert_eq!(steps(1), steps(1));
    assert_ne!(steps(1).1, steps(2).1);
}
