//! What happens to a store in a test, as far as a seed says.

use pandaemon_testkit::environment::number;

use super::world::World;
use crate::disk::simulated::{Faults, Mutation, Single};

/// A workload with faults and crashes. In the end the power fails, and the store goes on.
pub(super) fn run(seed: u64, mutation: Option<Mutation>) -> Result<(), String> {
    let mut world = World::new(seed, mutation);
    if number("STORE_SEED").is_some() {
        world.trace();
    }
    world.open()?;
    for _ in 0..5 + world.rng.below(40) {
        world.step()?;
    }
    world.clear_faults();
    for fails_power in [world.rng.chance(500), true] {
        world.crash(fails_power);
        world.open()?;
        world.batch()?;
        world.checkpoint()?;
    }
    world.close()?;
    world.open()
}

/// A store that was used without faults, closed and opened again several times.
pub(super) fn well_used(seed: u64) -> World {
    let mut world = World::new(seed, None);
    world.open().unwrap();
    for _ in 0..8 + world.rng.below(20) {
        match world.rng.below(12) {
            0 => world.compact().unwrap(),
            1 => world.checkpoint().unwrap(),
            2 => {
                world.close().unwrap();
                world.open().unwrap();
            }
            _ => world.batch().unwrap(),
        }
    }
    world
}

/// A crash at a call of a compaction, and one at a call of the start after it. Says whether both
/// were over before.
pub(super) fn crash_twice(
    seed: u64,
    calls: [u64; 2],
    mutation: Option<Mutation>,
) -> Result<[bool; 2], String> {
    let mut world = World::new(seed, mutation);
    let mut is_over = [false; 2];
    world.open()?;
    for _ in 0..4 {
        world.batch()?;
    }
    world.disk.crash_at(world.disk.calls() + calls[0]);
    world.compact()?;
    world.checkpoint()?;
    is_over[0] = !world.disk.is_crashed();
    world.crash(false);
    world.disk.crash_at(world.disk.calls() + calls[1]);
    world.open()?;
    world.batch()?;
    is_over[1] = !world.disk.is_crashed();
    world.crash(true);
    world.open()?;
    Ok(is_over)
}

/// A call that fails, and then a crash at another one. Says whether both were over before.
pub(super) fn fail_and_die(
    seed: u64,
    calls: [u64; 2],
    mutation: Option<Mutation>,
) -> Result<[bool; 2], String> {
    let mut world = World::new(seed, mutation);
    world.disk.set_faults(Faults {
        background: 300,
        ..Faults::NONE
    });
    world.open()?;
    if seed % 2 == 1 {
        world.batch()?;
    }
    let now = world.disk.calls();
    world.has_faults = true;
    world.disk.set_single(Some((now + calls[0], Single::Io)));
    world.disk.crash_at(now + calls[0] + calls[1]);
    world.batch()?;
    world.batch()?;
    let made = world.disk.calls() - now;
    let fails_power = world.rng.chance(500);
    world.crash(fails_power);
    world.clear_faults();
    world.open()?;
    world.batch()?;
    world.crash(true);
    world.open()?;
    Ok([made < calls[0], made < calls[0] + calls[1]])
}
