//! What happens when a sync is left out, or two steps are exchanged: a seed notices.

use super::{
    repair::repair,
    run,
    scenarios::{crash_twice, fail_and_die},
};
use crate::{
    disk::{Step, simulated::Mutation},
    random::Rng,
};

/// So many seeds at most have to notice a mutation.
const SEEDS: u64 = 20_000;

/// Steps that nothing depends on, with the reason.
const NOT_NEEDED: [(Step, &str); 1] = [(
    Step::FreeSpace,
    "zeros after the last frame do no harm, nor does the rest of a checkpoint",
)];

/// Steps whose order matters, each with the one that must not come first.
const ORDERS: [(Step, Step); 11] = [
    (Step::SyncSegmentHeader, Step::WriteFrame),
    (Step::CutAfterFailure, Step::SyncCut),
    (Step::SyncCut, Step::WriteFrame),
    (Step::SyncCheckpoint, Step::RenameCheckpoint),
    (Step::RenameCheckpoint, Step::SyncDirectoryAfterRename),
    (Step::SyncDirectoryAfterRename, Step::RemoveReplaced),
    (Step::RewriteLastFrame, Step::SyncRecovered),
    (Step::SyncRecovered, Step::WriteFrame),
    (Step::SyncRecoveredDirectory, Step::RemoveReplaced),
    (Step::LinkKept, Step::SyncKept),
    (Step::SyncKept, Step::RemoveReplaced),
];

/// Runs the scenario in which the step matters most, or any.
fn scenario(seed: u64, mutation: Mutation) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let mut call = || 1 + u64::try_from(rng.below(25)).unwrap();
    let number = match mutation {
        Mutation::Without(Step::LinkKept | Step::SyncKept)
        | Mutation::After(Step::LinkKept | Step::SyncKept, _) => 0,
        Mutation::Without(Step::SyncRecoveredDirectory)
        | Mutation::After(Step::SyncRecoveredDirectory, _) => 1,
        Mutation::Without(Step::SyncCut) | Mutation::After(Step::SyncCut, _) => 2,
        _ => seed % 5,
    };
    let mutation = Some(mutation);
    match number {
        0 => repair(seed, call(), mutation).map(drop),
        1 => crash_twice(seed, [call(), call()], mutation).map(drop),
        2 => fail_and_die(seed, [call(), call()], mutation).map(drop),
        _ => run(seed, mutation),
    }
}

/// The seed that notices a mutation.
fn noticed(mutation: Mutation) -> Option<u64> {
    (0..SEEDS).find(|seed| scenario(*seed, mutation).is_err())
}

#[test]
fn every_sync_and_every_order_is_needed() {
    let is_needed = |step: &Step| NOT_NEEDED.iter().all(|(other, _)| step != other);
    let without = Step::ALL.iter().copied().filter(is_needed);
    let mutations = without
        .map(Mutation::Without)
        .chain(ORDERS.map(|(first, second)| Mutation::After(first, second)))
        .chain([Mutation::RepeatedSyncs]);
    let mut unnoticed = Vec::new();
    for mutation in mutations {
        match noticed(mutation) {
            Some(seed) => println!("{mutation:?}: seed {seed}"),
            None => unnoticed.push(mutation),
        }
    }
    assert!(unnoticed.is_empty(), "no seed notices {unnoticed:?}");
}
