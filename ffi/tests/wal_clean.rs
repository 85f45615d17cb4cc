//! Compaction (design D8): what stays, and a crash at every change of it.

mod wal_support;

use std::sync::Arc;

use chronik::cleaning::Decisions;
use chronik::disk::RealDisk;
use chronik::status::Status;
use chronik::wal::clean::{Rules, clean_log};
use chronik::wal::error::WalError;
use wal_support::disk::{Calls, Fault, FaultyDisk};
use wal_support::{Opened, Options, Pair, keyed_batch, open, open_on};

const OLD: &[u8] = b"old";
const NEW: &[u8] = b"new";

/// Four sealed segments and an active one; key k0..k3 rewritten, one tombstone.
fn compactable(opened: &Opened) {
    let keys: [&[u8]; 4] = [b"k0", b"k1", b"k2", b"k3"];
    let mut base = 0;
    let mut add = |pairs: &[Pair<'_>]| {
        assert_eq!(opened.append(&[keyed_batch(base, pairs)]), [Status::Ok]);
        base += pairs.len() as i64;
    };
    for round in 0..4 {
        let value = if round == 3 { NEW } else { OLD };
        add(&[(Some(keys[0]), Some(value)), (Some(keys[1]), Some(value))]);
        add(&[(Some(keys[2]), Some(value)), (None, Some(b"keyless"))]);
        if round == 0 {
            add(&[(Some(keys[3]), Some(OLD))]);
        }
        if round == 2 {
            add(&[(Some(keys[3]), None)]);
        }
        opened.seal().unwrap().unwrap();
    }
    add(&[(Some(keys[0]), Some(b"active"))]);
}

/// Offset, key and value.
type Found = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn contents(opened: &Opened) -> Vec<Found> {
    use chronik::record::{batches, decode_records};
    let bytes = opened.read_all().unwrap();
    let mut out = Vec::new();
    for batch in batches(&bytes) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        for record in decode_records(&batch, 1 << 20).unwrap().iter() {
            let record = record.unwrap();
            out.push((
                record.offset,
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
            ));
        }
    }
    out
}

fn rules(map_entries_max: usize, tombstones_before_ms: i64) -> Rules {
    Rules {
        keep_from: i64::MAX,
        tombstones_before_ms,
        map_entries_max,
        decisions: Decisions::new(&[], i64::MAX),
    }
}

#[test]
fn cleaning_keeps_the_last_record_of_each_key() {
    for entries in [1, 2, 1000] {
        for tombstones_go in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let options = Options {
                segment_bytes_max: 1 << 20,
                ..Options::new(dir.path())
            };
            let opened = open(&options).unwrap();
            compactable(&opened);
            let before = contents(&opened);
            let bounds = opened.log.bounds();
            let cutoff = if tombstones_go { i64::MAX } else { 0 };
            let cleaned = clean_log(&opened.wal, &opened.log, &rules(entries, cutoff)).unwrap();
            assert!(cleaned.segments > 0 && cleaned.bytes_after < cleaned.bytes_before);
            let last_of = |key: &Option<Vec<u8>>| {
                before
                    .iter()
                    .rev()
                    .find(|(_, other, _)| other == key)
                    .unwrap()
                    .0
            };
            let expected: Vec<_> = before
                .iter()
                .filter(|(offset, key, value)| {
                    let stays = key.is_none() || last_of(key) == *offset;
                    stays && (value.is_some() || !tombstones_go)
                })
                .cloned()
                .collect();
            assert_eq!(contents(&opened), expected, "map of {entries}");
            assert_eq!(opened.log.bounds(), bounds, "offsets stay");
            let again = clean_log(&opened.wal, &opened.log, &rules(entries, cutoff)).unwrap();
            assert_eq!(again.segments, 0, "nothing left to clean");
            drop(opened);
            let opened = open(&options).unwrap();
            assert_eq!(opened.damaged(), None);
            assert_eq!(contents(&opened), expected);
            assert!(opened.log.segments().iter().any(|meta| meta.cleaned));
        }
    }
}

/// A crash at every change of a cleaning: all last values are there, and it can be repeated.
#[test]
fn cleaning_survives_a_crash_at_every_change() {
    for nth in 1..200 {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            segment_bytes_max: 1 << 20,
            ..Options::new(dir.path())
        };
        compactable(&open(&options).unwrap());
        let disk = FaultyDisk::new(&dir.path().join("trash"));
        let opened = open_on(&options, Arc::new(disk.clone())).unwrap();
        disk.plan(Calls::Changes, nth, Fault::Crash);
        let done = clean_log(&opened.wal, &opened.log, &rules(1000, i64::MAX)).is_ok();
        drop(opened);
        let opened = open_on(&options, Arc::new(RealDisk)).unwrap();
        assert_eq!(opened.damaged(), None, "crash at {nth}");
        let value = |key: &[u8]| {
            let found = contents(&opened);
            let last = found
                .into_iter()
                .rev()
                .find(|(_, other, _)| other.as_deref() == Some(key));
            last.and_then(|(_, _, value)| value)
        };
        assert_eq!(value(b"k1").as_deref(), Some(NEW), "crash at {nth}");
        assert_eq!(value(b"k0").as_deref(), Some(&b"active"[..]));
        assert_eq!(value(b"k3"), None, "a deleted key came back at {nth}");
        clean_log(&opened.wal, &opened.log, &rules(1000, i64::MAX)).unwrap();
        assert_eq!(
            contents(&opened)
                .iter()
                .filter(|(_, key, _)| key.is_some())
                .count(),
            3
        );
        if done {
            assert!(nth > 10, "only {nth} changes");
            return;
        }
    }
    panic!("the cleaning never ended");
}

/// A committed record goes like any other, and then its tombstone may.
#[test]
fn a_tombstone_over_a_committed_record_goes_with_it() {
    for entries in [1, 1000] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            segment_bytes_max: 1 << 20,
            ..Options::new(dir.path())
        };
        let opened = open(&options).unwrap();
        let mut committed = keyed_batch(0, &[(Some(b"k"), Some(OLD))]);
        committed[22] |= 0x10;
        let crc = crc32c::crc32c(&committed[21..]);
        committed[17..21].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(opened.append(&[committed]), [Status::Ok]);
        let gone: [Pair<'_>; 2] = [(Some(b"other"), None), (Some(b"k"), None)];
        assert_eq!(opened.append(&[keyed_batch(1, &gone)]), [Status::Ok]);
        opened.seal().unwrap().unwrap();
        let later = keyed_batch(3, &[(Some(b"later"), Some(NEW))]);
        assert_eq!(opened.append(&[later]), [Status::Ok]);
        clean_log(&opened.wal, &opened.log, &rules(entries, i64::MAX)).unwrap();
        let found: Vec<_> = contents(&opened).into_iter().map(|one| one.0).collect();
        assert_eq!(found, [3], "map of {entries}");
    }
}

#[test]
fn a_journal_is_not_cleaned() {
    let dir = tempfile::tempdir().unwrap();
    let kind = chronik::wal::log::Kind::Journal;
    let opened = open(&Options {
        kind,
        ..Options::new(dir.path())
    })
    .unwrap();
    let cleaned = clean_log(&opened.wal, &opened.log, &rules(10, 0));
    assert!(matches!(cleaned, Err(WalError::Invalid(_))));
}
