//! Restores of a backup, interrupted at every call.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;

use super::{World, check, interrupt, model::Map, scenarios::well_used, world::held};
use crate::{
    Revision,
    disk::simulated::Simulated,
    embedded::{
        backup::{BackupReader, BackupStream, Contents, MANIFEST, StateSnapshot},
        offline::OfflineStore,
    },
};

fn backup(world: &World) -> Contents {
    let writer = world.writer.as_ref().unwrap();
    let state = StateSnapshot::new(writer.durable(writer.state.revision));
    let files = [(MANIFEST.to_owned(), Vec::new())];
    let mut stream = BackupStream::new(state, &files).unwrap();
    let mut reader = BackupReader::keeping();
    while let Some(part) = stream.next_part().unwrap() {
        reader.read(&part).unwrap();
    }
    reader.finish().unwrap()
}

fn values(map: &Map) -> BTreeMap<String, Bytes> {
    let items = map.0.iter();
    items
        .map(|(key, item)| (key.clone(), item.value.clone()))
        .collect()
}

/// Whether a store has been restored; an error if it is neither the old nor the new one.
fn is_restored(
    found: &(Map, Revision),
    old: &(Map, Revision),
    new: &(Map, Revision),
) -> Result<bool, String> {
    if found.1 == old.1 && found.0 == old.0 {
        return Ok(false);
    }
    let mut created = found.0.0.values().map(|item| item.created);
    if found.1 == new.1 && values(&found.0) == values(&new.0) && created.all(|at| at > old.1) {
        return Ok(true);
    }
    Err(format!("{found:?}\nis neither\n{old:?}\nnor\n{new:?}"))
}

/// Restores a backup, with a crash at a call. Says whether the restore was over before.
fn restore(seed: u64, call: u64) -> Result<bool, String> {
    let mut world = well_used(seed);
    let contents = backup(&world);
    let backed_up = world.now.durable();
    for _ in 0..seed % 4 {
        world.batch()?;
    }
    // The next start drops the volatile keys, and raises the revision for it.
    let raised = Revision::from(world.now.has_volatile());
    let old_revision = world.writer.as_ref().unwrap().state.revision + raised;
    let old = (world.now.durable(), old_revision);
    world.close()?;
    let files = world.disk.files();
    // All of it durable: what the close has not synced is not what is tested here.
    world.disk = Simulated::new(world.rng.next());
    for (name, content) in &files {
        world.disk.put_file(name, content.clone());
    }
    let open = |world: &World| OfflineStore::open_on(Arc::new(world.disk.clone())).unwrap();
    let offline = open(&world);
    let new = (backed_up, offline.restored_revision(&contents));
    let apply = || offline.restore(&contents);
    let (is_applied, is_over) = interrupt(&mut world, &files, call, apply)?;
    let found = |world: &World| {
        let writer = world.try_open().map_err(|error| error.to_string())?;
        Ok::<_, String>((held(&writer), writer.state.revision))
    };
    let after = found(&world)?;
    if !is_restored(&after, &old, &new)? {
        if is_applied {
            return Err("it was done, and is gone".to_owned());
        }
        let again = open(&world).restore(&contents);
        again.map_err(|error| error.to_string())?;
        world.crash(true);
        if !is_restored(&found(&world)?, &old, &new)? {
            return Err("it cannot be repeated".to_owned());
        }
    }
    Ok(is_over)
}

#[test]
fn a_restore_that_is_interrupted_anywhere_leaves_the_old_or_the_new_store_and_loses_no_file() {
    check(20, |seed| {
        for call in 1.. {
            let is_over = restore(seed, call).map_err(|why| format!("call {call}: {why}"))?;
            if is_over {
                return Ok(());
            }
        }
        Ok(())
    });
}
