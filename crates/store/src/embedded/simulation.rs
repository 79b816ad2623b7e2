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

use self::{scenarios::run, world::World};

/// A number from the environment.
fn asked_for(name: &str) -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no command line of its own"
    )]
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap())
}

/// The seeds of a test: so many, or as many as the environment says, or the one that it names.
fn seeds(count: u64) -> std::ops::Range<u64> {
    match asked_for("STORE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked_for("STORE_SEEDS").unwrap_or(count),
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
