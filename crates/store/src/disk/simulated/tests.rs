//! The simulated disk does what a real one may.

use super::*;
use crate::disk::write_all_at;

/// Writes a file and syncs it.
fn file(disk: &Simulated, name: &str, content: &[u8]) -> Box<dyn DiskFile> {
    let file = disk.create(name).unwrap();
    write_all_at(&*file, content, 0, Step::WriteFrame).unwrap();
    file.sync_all(Step::SyncFrame).unwrap();
    file
}

fn disk(seed: u64) -> Simulated {
    let disk = Simulated::new(seed);
    disk.create_directory().unwrap();
    disk.sync_directory(Directory::Parent, Step::SyncParent)
        .unwrap();
    disk
}

fn sync_names(disk: &Simulated) {
    let step = Step::SyncDirectoryAfterSegment;
    disk.sync_directory(Directory::Own, step).unwrap();
}

/// What many power failures leave, each once.
fn outcomes<T: Ord>(make: impl Fn(&Simulated) -> T) -> Vec<T> {
    let all = (0..200).map(|seed| make(&disk(seed)));
    all.collect::<std::collections::BTreeSet<T>>()
        .into_iter()
        .collect()
}

#[test]
fn what_is_synced_survives_and_what_is_not_is_lost_in_any_part() {
    let left = outcomes(|disk| {
        let open = file(disk, "a", &[1; 256]);
        sync_names(disk);
        write_all_at(&*open, &[2; 256], 128, Step::WriteFrame).unwrap();
        disk.fail_power();
        let content = disk.files()["a"].clone();
        assert_eq!(content[..128], [1; 128]);
        let second: Vec<u8> = content[128..].chunks(64).map(|chunk| chunk[0]).collect();
        let is_torn = content[128..256].windows(2).any(|pair| pair[0] != pair[1]);
        (second, is_torn)
    });
    let has = |second: &[u8], is_torn| left.contains(&(second.to_vec(), is_torn));
    assert!(has(&[1, 1], false), "nothing: {left:?}");
    assert!(has(&[2, 2, 2, 2], false), "everything: {left:?}");
    assert!(has(&[1, 1, 2, 2], false), "the later one alone: {left:?}");
    assert!(left.iter().any(|(_, is_torn)| *is_torn), "torn: {left:?}");
}

#[test]
fn names_are_lost_in_any_part_until_their_directory_is_synced() {
    let left = outcomes(|disk| {
        file(disk, "a", b"1");
        sync_names(disk);
        file(disk, "new", b"2");
        disk.rename("new", "b", Step::RenameCheckpoint).unwrap();
        disk.remove("a", Step::RemoveReplaced).unwrap();
        disk.fail_power();
        disk.files().into_keys().collect::<Vec<String>>().join(" ")
    });
    assert_eq!(left, ["", "a", "a b", "a new", "b", "new"]);
    let left = outcomes(|disk| {
        disk.create_below("kept").unwrap();
        file(disk, "a", b"1");
        sync_names(disk);
        disk.link("a", "kept", Step::LinkKept).unwrap();
        disk.sync_directory(Directory::Below("kept"), Step::SyncKept)
            .unwrap();
        disk.fail_power();
        disk.files().into_keys().collect::<Vec<String>>().join(" ")
    });
    assert_eq!(left, ["a kept/a"]);
}

#[test]
fn a_directory_is_lost_until_its_parent_is_synced() {
    let left: Vec<usize> = (0..20)
        .map(|seed| {
            let disk = Simulated::new(seed);
            disk.create_directory().unwrap();
            file(&disk, "a", b"1");
            sync_names(&disk);
            disk.fail_power();
            disk.files().len()
        })
        .collect();
    assert!(left.contains(&0) && left.contains(&1), "{left:?}");
}

#[test]
fn a_sync_after_one_that_failed_writes_nothing() {
    let left = outcomes(|disk| {
        let open = file(disk, "a", &[1; 128]);
        sync_names(disk);
        write_all_at(&*open, &[2; 128], 0, Step::WriteFrame).unwrap();
        disk.set_single(Some((disk.calls() + 1, Single::Io)));
        open.sync_data(Step::SyncFrame).unwrap_err();
        // Processes see it all the same.
        assert_eq!(disk.files()["a"], [2; 128]);
        open.sync_data(Step::SyncFrame).unwrap();
        disk.fail_power();
        disk.files()["a"][0]
    });
    assert_eq!(left, [1, 2]);
}

#[test]
fn a_killed_process_leaves_what_it_has_written() {
    let disk = disk(1);
    let open = disk.create("a").unwrap();
    write_all_at(&*open, b"12", 0, Step::WriteFrame).unwrap();
    disk.crash_at(disk.calls() + 1);
    open.sync_all(Step::SyncFrame).unwrap_err();
    assert!(disk.is_crashed());
    disk.kill();
    assert_eq!(disk.files()["a"], b"12");
    open.set_size(1, Step::CutAfterFailure).unwrap();
    assert_eq!(disk.files()["a"], b"1");
}

#[test]
fn faults_are_those_that_are_asked_for() {
    let disk = disk(1);
    let open = file(&disk, "a", &[1; 100]);
    disk.set_faults(Faults {
        short: 1000,
        ..Faults::NONE
    });
    assert!(open.write_at(&[2; 100], 0, Step::WriteFrame).unwrap() < 100);
    write_all_at(&*open, &[3; 100], 0, Step::WriteFrame).unwrap();
    assert!(open.read_at(&mut [0; 100], 0).unwrap() < 100);
    disk.set_faults(Faults {
        full: 1000,
        ..Faults::NONE
    });
    let full = open.allocate(0, 1000).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    open.sync_data(Step::SyncFrame).unwrap();
    disk.set_faults(Faults {
        read: 1000,
        ..Faults::NONE
    });
    assert_eq!(
        open.read_at(&mut [0; 9], 0).unwrap_err().raw_os_error(),
        Some(5)
    );
    let locked = disk.lock().unwrap();
    assert!(matches!(disk.lock(), Err(Error::Locked(_))));
    drop(locked);
    disk.lock().unwrap();
}

#[test]
fn a_mutation_leaves_a_step_out_or_exchanges_two() {
    let steps = [Step::RenameCheckpoint, Step::SyncDirectoryAfterRename];
    let run = |mutation| {
        outcomes(|disk| {
            file(disk, "a", b"1");
            sync_names(disk);
            disk.mutate(Some(mutation));
            disk.rename("a", "b", steps[0]).unwrap();
            disk.sync_directory(Directory::Own, steps[1]).unwrap();
            disk.fail_power();
            disk.files().into_keys().collect::<String>()
        })
    };
    assert_eq!(run(Mutation::RepeatedSyncs), ["b"]);
    assert_eq!(run(Mutation::Without(steps[0])), ["a"]);
    assert_eq!(run(Mutation::Without(steps[1])), ["a", "b"]);
    assert_eq!(run(Mutation::After(steps[0], steps[1])), ["a", "b"]);
}
