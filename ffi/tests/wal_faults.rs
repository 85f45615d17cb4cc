//! A failing disk (fault matrix S2, S3, S5–S8): the Nth call for every N, full disks, lost power.

mod wal_support;

use std::sync::Arc;

use chronik::status::Status;
use wal_support::disk::{Calls, Fault, FaultyDisk};
use wal_support::{Opened, Options, Random, one, open, open_on};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

struct Run {
    /// Batches in the order they were offered, with whether they were acknowledged.
    offered: Vec<(Vec<u8>, bool)>,
    released: i64,
}

/// Appends, seals, releases, cleans and stops; goes on after refusals like the broker does.
fn scenario(opened: &Opened) -> Run {
    let mut random = Random(21);
    let mut run = Run {
        offered: Vec::new(),
        released: 0,
    };
    let mut next = 0;
    for round in 0..8 {
        let group: Vec<_> = (0..3).map(|at| one(next + at, &mut random, 500)).collect();
        let statuses = opened.append(&group);
        for (body, status) in group.into_iter().zip(&statuses) {
            let acked = *status == Status::Ok;
            next += i64::from(acked);
            run.offered.push((body, acked));
        }
        if round == 2 || round == 5 {
            let _ = opened.seal();
        }
        if round == 6 {
            let first = opened
                .log
                .segments()
                .first()
                .filter(|meta| meta.sealed)
                .copied();
            if let Some(first) = first {
                // Whatever the answer, the segment may be gone.
                let _ = opened.release(&[first.id]);
                run.released = first.last + 1;
            }
        }
    }
    let _ = opened.stop();
    run
}

/// Every acknowledged batch is there, in order, byte for byte; nothing else but offered ones.
fn check_recovered(options: &Options, run: &Run, what: &str) {
    for _ in 0..2 {
        let opened = open(options).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(opened.damaged(), None, "{what}");
        let (start, end) = opened.log.bounds();
        assert!(start <= run.released, "{what}: starts at {start}");
        let acked_end = run.offered.iter().filter(|(_, acked)| *acked).count() as i64;
        assert!(end >= acked_end || (start == end && end == 0 && run.released >= acked_end));
        let bytes = opened
            .read_all()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let mut at = 0;
        for offset in start..end {
            let base = |body: &[u8]| i64::from_be_bytes(body[..8].try_into().unwrap());
            let same = |body: &[u8]| bytes[at..].starts_with(body);
            let mut offers = run.offered.iter().filter(|(body, _)| base(body) == offset);
            let acked = offers.clone().find(|(_, acked)| *acked);
            let found = match acked {
                Some((body, _)) => same(body).then_some(body),
                None => offers.find(|(body, _)| same(body)).map(|(body, _)| body),
            };
            let body = found.unwrap_or_else(|| panic!("{what}: offset {offset} differs"));
            at += body.len();
        }
        assert_eq!(at, bytes.len(), "{what}");
    }
}

fn world(dir: &tempfile::TempDir) -> (Options, FaultyDisk) {
    let options = Options {
        segment_bytes_max: 4000,
        ..Options::new(dir.path())
    };
    (options, FaultyDisk::new(&dir.path().join("trash")))
}

/// How many calls of a kind the scenario makes after the open.
fn calls_of_scenario(calls: Calls) -> u64 {
    let dir = tempfile::tempdir().unwrap();
    let (options, disk) = world(&dir);
    let opened = open_on(&options, Arc::new(disk.clone())).unwrap();
    let before = disk.seen(calls);
    let run = scenario(&opened);
    assert!(run.offered.iter().all(|(_, acked)| *acked));
    disk.seen(calls) - before
}

fn sweep(calls: Calls, fault: Fault, check: impl Fn(&Options, &FaultyDisk, &Opened, &Run, u64)) {
    let total = calls_of_scenario(calls);
    assert!(total >= 5, "{calls:?}: only {total} calls");
    for nth in 1..=total {
        let dir = tempfile::tempdir().unwrap();
        let (options, disk) = world(&dir);
        let opened = open_on(&options, Arc::new(disk.clone())).unwrap();
        disk.plan(calls, nth, fault);
        let run = scenario(&opened);
        check(&options, &disk, &opened, &run, nth);
    }
}

#[test]
fn a_crash_at_every_change() {
    sweep(Calls::Changes, Fault::Crash, |options, _, _, run, nth| {
        check_recovered(options, run, &format!("killed at change {nth}"));
    });
}

#[test]
fn a_power_loss_at_every_change() {
    for seed in 1..6 {
        sweep(
            Calls::Changes,
            Fault::Crash,
            |options, disk, _, run, nth| {
                disk.lose_power(&mut Random(seed * 1000 + nth));
                check_recovered(
                    options,
                    run,
                    &format!("power lost at change {nth}, seed {seed}"),
                );
            },
        );
    }
}

#[test]
fn a_failed_fsync_ends_the_process() {
    for number in [EIO, ENOSPC] {
        sweep(
            Calls::Syncs,
            Fault::Once(number),
            |options, _, opened, run, nth| {
                let exits = opened.exits.lock().unwrap().clone();
                assert_eq!(exits, [9], "sync {nth} failed with {number}");
                // Nothing was acknowledged after it: the refused ones are all at the end.
                let first = run.offered.iter().position(|(_, acked)| !acked);
                let tail = first.map_or(&[][..], |first| &run.offered[first..]);
                assert!(
                    tail.iter().all(|(_, acked)| !acked),
                    "acknowledged after sync {nth}"
                );
                check_recovered(options, run, &format!("sync {nth}"));
            },
        );
    }
}

#[test]
fn a_failed_write_ends_the_process() {
    sweep(
        Calls::Writes,
        Fault::Once(EIO),
        |options, _, opened, run, nth| {
            assert_eq!(opened.exits.lock().unwrap().clone(), [9], "write {nth}");
            check_recovered(options, run, &format!("write {nth}"));
        },
    );
}

#[test]
fn short_writes_go_on() {
    sweep(
        Calls::Writes,
        Fault::Short,
        |options, _, opened, run, nth| {
            assert!(opened.exits.lock().unwrap().is_empty());
            assert!(run.offered.iter().all(|(_, acked)| *acked), "write {nth}");
            check_recovered(options, run, &format!("short write {nth}"));
        },
    );
}

#[test]
fn interrupted_writes_go_on() {
    for number in [4, 11] {
        sweep(
            Calls::Writes,
            Fault::Once(number),
            |options, _, opened, run, nth| {
                assert!(opened.exits.lock().unwrap().is_empty());
                assert!(run.offered.iter().all(|(_, acked)| *acked), "write {nth}");
                check_recovered(options, run, &format!("errno {number} at write {nth}"));
            },
        );
    }
}

/// A full disk at every write and reservation: the group is refused, the next one is taken.
#[test]
fn a_full_disk_refuses_and_goes_on() {
    for calls in [Calls::Writes, Calls::Allocations] {
        sweep_enospc(calls);
    }
}

fn sweep_enospc(calls: Calls) {
    for nth in 1..=calls_of_scenario(calls) {
        let dir = tempfile::tempdir().unwrap();
        let (options, disk) = world(&dir);
        let opened = open_on(&options, Arc::new(disk.clone())).unwrap();
        disk.plan(calls, nth, Fault::Once(ENOSPC));
        let run = scenario(&opened);
        assert!(opened.exits.lock().unwrap().is_empty(), "{calls:?} {nth}");
        let refused = run.offered.iter().filter(|(_, acked)| !acked).count();
        // A refused group of three at most; a footer or mark that finds no room costs nothing.
        assert!(refused <= 3, "{calls:?} {nth}: {refused} refused");
        assert_eq!(opened.damaged(), None);
        let (start, end) = opened.log.bounds();
        assert_eq!(opened.read(start, end, u32::MAX).unwrap().next_offset, end);
        check_recovered(&options, &run, &format!("{calls:?} {nth} full"));
    }
}

/// Appends that were on their way when the disk was full are refused like the first.
#[test]
fn appends_behind_a_full_disk_are_refused_alike() {
    let dir = tempfile::tempdir().unwrap();
    let (options, disk) = world(&dir);
    let opened = open_on(&options, Arc::new(disk.clone())).unwrap();
    let mut random = Random(2);
    assert_eq!(opened.append(&[one(0, &mut random, 10)]), [Status::Ok]);
    disk.plan(Calls::Writes, 1, Fault::Once(ENOSPC));
    assert_eq!(opened.append(&[one(1, &mut random, 10)]), [Status::NoSpace]);
    assert_eq!(opened.append(&[one(2, &mut random, 10)]), [Status::NoSpace]);
    assert_eq!(opened.append(&[one(1, &mut random, 10)]), [Status::Ok]);
    assert_eq!(
        opened.append(&[one(5, &mut random, 10)]),
        [Status::OutOfRange]
    );
    assert_eq!(
        opened.append(&[one(1, &mut random, 10)]),
        [Status::OutOfRange]
    );
}

/// In an empty log any base may come first, but not one from behind a refused append.
#[test]
fn a_full_disk_at_the_first_append_leaves_no_hole() {
    for (calls, nth) in [
        (Calls::Changes, 1),
        (Calls::Allocations, 1),
        (Calls::Writes, 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (options, disk) = world(&dir);
        let opened = open_on(&options, Arc::new(disk.clone())).unwrap();
        let mut random = Random(2);
        disk.plan(calls, nth, Fault::Times(2, ENOSPC));
        let first = opened.append(&[one(0, &mut random, 10)]);
        assert_eq!(first, [Status::NoSpace], "{calls:?}");
        // Submitted before the answer was heard; there is room again.
        disk.plan(Calls::Changes, 1000, Fault::Short);
        let second = opened.append(&[one(1, &mut random, 10)]);
        assert_eq!(second, [Status::NoSpace], "{calls:?}");
        let bodies = [one(0, &mut random, 10), one(1, &mut random, 10)];
        assert_eq!(opened.append(&bodies), [Status::Ok; 2], "{calls:?}");
        assert_eq!(opened.read_all().unwrap(), bodies.concat());
    }
}

/// Out of descriptors is no reason to end: nothing was written, nothing is acknowledged.
#[test]
fn without_descriptors_appends_fail_and_go_on() {
    const EMFILE: i32 = 24;
    // The creation, and the directory's fsync after the data's.
    for (calls, nth) in [(Calls::Changes, 1), (Calls::Syncs, 2)] {
        for times in [1, 2] {
            let dir = tempfile::tempdir().unwrap();
            let (options, disk) = world(&dir);
            let opened = open_on(&options, Arc::new(disk.clone())).unwrap();
            let mut random = Random(2);
            let bodies = [one(0, &mut random, 10), one(1, &mut random, 10)];
            disk.plan(calls, nth, Fault::Times(times, EMFILE));
            let statuses = opened.append(&bodies);
            if times == 2 {
                assert_eq!(statuses, [Status::Io; 2], "{calls:?}");
                assert_eq!(opened.log.bounds(), (0, 0));
                assert_eq!(opened.append(&bodies), [Status::Ok; 2], "{calls:?}");
            } else {
                assert_eq!(statuses, [Status::Ok; 2], "the cached files made room");
            }
            assert_eq!(*opened.exits.lock().unwrap(), Vec::<i32>::new());
            assert!(disk.seen(Calls::Syncs) >= 2, "the directory was synced");
            drop(opened);
            let opened = open(&options).unwrap();
            assert_eq!(opened.damaged(), None);
            assert_eq!(opened.read_all().unwrap(), bodies.concat());
        }
    }
}

/// A bad append is refused alone; its neighbours in the group are not.
#[test]
fn lying_appends_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (options, disk) = world(&dir);
    let opened = open_on(&options, Arc::new(disk)).unwrap();
    let mut random = Random(2);
    let good: Vec<_> = (0..2).map(|base| one(base, &mut random, 10)).collect();
    let mut longer = one(1, &mut random, 10);
    longer.push(0);
    let two = [one(1, &mut random, 10), one(2, &mut random, 10)].concat();
    let huge = one(1, &mut random, 1 << 20);
    let group = [good[0].clone(), longer, two, huge, good[1].clone()];
    let invalid = Status::InvalidArgument;
    let expected = [Status::Ok, invalid, invalid, Status::TooLarge, Status::Ok];
    assert_eq!(opened.append(&group), expected);
    assert_eq!(opened.read_all().unwrap(), good.concat());
}
