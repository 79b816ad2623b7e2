//! Repairs of a damaged store, interrupted at every call.

use std::{collections::BTreeMap, sync::Arc};

use super::{World, check, interrupt, scenarios::well_used, world::held};
use crate::{
    Error,
    disk::simulated::{Mutation, Simulated},
    embedded::offline::OfflineStore,
};

/// A store that does not open because of a flipped bit, and its files.
fn damaged(seed: u64, mutation: Option<Mutation>) -> (World, BTreeMap<String, Vec<u8>>) {
    let mut world = well_used(seed);
    world.close().unwrap();
    loop {
        let disk = Simulated::new(world.rng.next());
        let files = world.disk.files();
        let at = world.rng.below(files.len());
        for (number, (name, content)) in files.iter().enumerate() {
            let mut content = content.clone();
            if number == at && !content.is_empty() {
                let bit = world.rng.below(8 * content.len());
                content[bit / 8] ^= 1 << (bit % 8);
            }
            disk.put_file(name, content);
        }
        let before = std::mem::replace(&mut world.disk, disk);
        if matches!(world.try_open(), Err(Error::Damaged(_))) {
            world.disk.mutate(mutation);
            let files = world.disk.files();
            return (world, files);
        }
        world.disk = before;
    }
}

/// Repairs a store, with a crash at a call. Says whether the repair was over before.
pub(super) fn repair(seed: u64, call: u64, mutation: Option<Mutation>) -> Result<bool, String> {
    let (mut world, files) = damaged(seed, mutation);
    let open = |world: &World| OfflineStore::open_on(Arc::new(world.disk.clone()));
    let repair = open(&world).unwrap();
    let report = repair.report();
    // After its last steps fail, a start does them.
    let (is_applied, is_over) = interrupt(&mut world, &files, call, || repair.repair())?;
    let writer = match world.try_open() {
        Err(Error::Damaged(_)) if !is_applied => {
            open(&world)
                .unwrap()
                .repair()
                .map_err(|error| error.to_string())?;
            world.try_open()
        }
        opened => opened,
    };
    let writer = writer.map_err(|error| error.to_string())?;
    if held(&writer).0.len() != report.entries || writer.state.revision <= report.revision {
        return Err(format!("{:?}, not {report:?}", writer.state));
    }
    Ok(is_over)
}

#[test]
fn a_repair_that_is_interrupted_anywhere_loses_no_file() {
    check(20, |seed| {
        for call in 1.. {
            let is_over = repair(seed, call, None).map_err(|why| format!("call {call}: {why}"))?;
            if is_over {
                return Ok(());
            }
        }
        Ok(())
    });
}
