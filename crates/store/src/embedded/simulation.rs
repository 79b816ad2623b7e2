//! The embedded store on a simulated disk: seeds drive a random workload with faults and crashes,
//! and a model says what must be there afterwards.
//!
//! Everything follows from a seed: the writer serves its requests without its thread, and a
//! checkpoint is written when the test says so.
//!
//! ```text
//! STORE_SEED=4711 cargo nextest run -p pandaemon-store simulation     one seed, with what happens
//! STORE_SEEDS=100000 cargo nextest run -p pandaemon-store simulation  so many of each test
//! ```

mod damage;
mod faults;
mod model;
mod mutations;
mod repair;
mod restore;
mod scenarios;
mod world;

use std::{collections::BTreeMap, fmt::Debug};

use pandaemon_testkit::environment::number;

use self::{scenarios::run, world::World};

/// The seeds of a test: so many, or as many as the environment says, or the one that it names.
fn seeds(count: u64) -> std::ops::Range<u64> {
    match number("STORE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("STORE_SEEDS").unwrap_or(count),
    }
}

/// Changes the files of a world, with a crash at a call. Every file of before has to be there
/// afterwards, under any name. Says whether the change was done, and whether it was over before.
fn interrupt<T: Debug>(
    world: &mut World,
    files: &BTreeMap<String, Vec<u8>>,
    call: u64,
    apply: impl FnOnce() -> crate::Result<T>,
) -> Result<(bool, bool), String> {
    world.disk.crash_at(world.disk.calls() + call);
    let applied = apply();
    let (is_applied, is_over) = (applied.is_ok(), !world.disk.is_crashed());
    if is_over && !is_applied {
        return Err(format!("{applied:?}"));
    }
    world.crash(true);
    let left: Vec<Vec<u8>> = world.disk.files().into_values().collect();
    match files.iter().find(|(_, content)| !left.contains(content)) {
        Some((name, _)) => Err(format!("{name} is lost")),
        None => Ok((is_applied, is_over)),
    }
}

/// Runs seeds, and says which one failed.
fn check(count: u64, run: impl Fn(u64) -> Result<(), String>) {
    for seed in seeds(count) {
        if let Err(why) = run(seed) {
            panic!("{why}\nto repeat it: STORE_SEED={seed}");
        }
    }
}
