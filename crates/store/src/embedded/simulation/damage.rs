//! Flipped bits and files that are cut off: a start refuses them and changes nothing, or what it
//! drops is the last frame.

use std::collections::BTreeMap;

use super::{World, check, model::Map, scenarios::well_used, world::held};
use crate::{Error, disk::simulated::Simulated};

/// A start on these files: what the store holds, or why it does not open.
fn start(world: &mut World, files: &BTreeMap<String, Vec<u8>>) -> Result<Map, Error> {
    world.disk = Simulated::new(world.rng.next());
    for (name, content) in files {
        world.disk.put_file(name, content.clone());
    }
    let opened = world.try_open();
    if opened.is_err() {
        assert_eq!(
            world.disk.files(),
            *files,
            "a start that refuses changes nothing"
        );
    }
    opened.map(|writer| held(&writer))
}

/// Damages each file in several ways.
fn damage(seed: u64, is_closed: bool) -> Result<(), String> {
    let mut world = well_used(seed);
    if is_closed {
        world.close()?;
    }
    let (files, history) = (world.disk.files(), world.history.clone());
    let last = &history[history.len() - 1..];
    // The last frame of a store that was closed has no write.
    let before_last = match is_closed {
        true => last,
        false => &history[history.len().saturating_sub(2)..],
    };
    let newest = files.keys().rfind(|name| name.starts_with("log-"));
    let newest = newest.cloned().unwrap_or_default();
    for (name, content) in &files {
        for _ in 0..12 {
            let mut damaged = files.clone();
            let bits = 8 * content.len();
            let bit = world.rng.below(bits);
            damaged.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            match start(&mut world, &damaged) {
                Err(Error::Damaged(_)) => {}
                Ok(held) if before_last.contains(&held) => {}
                other => return Err(format!("bit {bit} of {name}: {other:?}")),
            }
        }
        for _ in 0..6 {
            let mut damaged = files.clone();
            let size = world.rng.below(content.len());
            damaged.get_mut(name).unwrap().truncate(size);
            match start(&mut world, &damaged) {
                Err(Error::Damaged(_)) => {}
                // It looks like one that a crash has cut off.
                Ok(held) if *name == newest && history.contains(&held) => {}
                Ok(held) if last.contains(&held) => {}
                other => return Err(format!("{name} cut off at {size}: {other:?}")),
            }
        }
        let mut damaged = files.clone();
        damaged.remove(name);
        match start(&mut world, &damaged) {
            Err(Error::Damaged(_)) => {}
            Ok(held) if *name == newest && history.contains(&held) => {}
            Ok(held) if last.contains(&held) => {}
            other => return Err(format!("without {name}: {other:?}")),
        }
    }
    Ok(())
}

#[test]
fn a_flipped_bit_is_refused_or_costs_the_last_frame_alone() {
    check(150, |seed| damage(seed, seed % 2 == 0));
}
