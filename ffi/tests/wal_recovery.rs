//! What recovery makes of torn, flipped, missing and swapped bytes (fault matrix S4, S9, S10).

mod wal_support;

use std::path::PathBuf;

use chronik::status::Status;
use chronik::wal::error::WalError;
use wal_support::{
    Options, Random, batch_of, data_end, long_segments, one, open, segment_files, three_files,
};

/// Cutting, zeroing and overwriting the last frames at every byte.
#[test]
fn torn_tail_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let options = long_segments(&dir);
    let opened = open(&options).unwrap();
    let mut random = Random(3);
    let bodies: Vec<_> = (0..4).map(|base| one(base, &mut random, 40)).collect();
    // One frame known durable, then one group of three that was never acknowledged as a whole.
    opened.append(&bodies[..1]);
    let acked_end = data_end(&opened) as usize;
    opened.append(&bodies[1..]);
    let end = data_end(&opened) as usize;
    drop(opened);
    let path = segment_files(&options).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let frame = 88 + bodies[1].len();
    for cut in acked_end..end {
        let fills: [fn(usize) -> u8; 3] = [|_| 0, |at| (at * 31) as u8 | 1, |_| b'C'];
        for fill in fills {
            let mut torn = whole[..cut].to_vec();
            torn.extend((cut..end + 20).map(fill));
            // The byte at the cut must really differ.
            torn[cut] = !whole[cut];
            std::fs::write(&path, &torn).unwrap();
            let opened = open(&options).unwrap();
            assert_eq!(opened.damaged(), None, "cut at {cut}");
            let kept = 1 + (cut - acked_end) / frame;
            assert_eq!(
                opened.read_all().unwrap(),
                bodies[..kept].concat(),
                "cut at {cut}"
            );
            assert!(opened.report.cut_bytes > 0 && !opened.report.clean);
            // And the log goes on where it was cut.
            let next = one(kept as i64, &mut random, 10);
            assert_eq!(opened.append(std::slice::from_ref(&next)), [Status::Ok]);
            drop(opened);
            let again = open(&options).unwrap();
            assert_eq!(
                again.read_all().unwrap(),
                [bodies[..kept].concat(), next].concat()
            );
        }
        let mut short = whole.clone();
        short.truncate(cut);
        std::fs::write(&path, &short).unwrap();
        let opened = open(&options).unwrap();
        let kept = 1 + (cut - acked_end) / frame;
        assert_eq!(opened.read_all().unwrap(), bodies[..kept].concat());
    }
}

/// One flipped bit in bytes that a later frame knows durable: reported, kept, read-only.
#[test]
fn a_flipped_bit_in_the_active_file_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let options = long_segments(&dir);
    let bodies = three_files(&options, 4);
    let path = segment_files(&options).pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let last_group = 3 * (88 + bodies[8].len());
    let mut random = Random(11);
    for _ in 0..300 {
        let at = random.below(last_group as u64) as usize;
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << random.below(8);
        std::fs::write(&path, &flipped).unwrap();
        let opened = open(&options).unwrap();
        let damage = opened.damaged().expect("a flipped bit went unnoticed");
        assert!(damage.file.ends_with("wal_0_2.log"), "{damage}");
        let kept = 8 + at / (88 + bodies[8].len());
        assert_eq!(opened.log.bounds(), (0, kept as i64), "flipped at {at}");
        assert_eq!(opened.read_all().unwrap(), bodies[..kept].concat());
        let next = one(kept as i64, &mut random, 10);
        assert_eq!(opened.append(&[next]), [Status::Damaged]);
        assert!(matches!(
            opened.seal(),
            Err(WalError::Damaged(_)) | Ok(None)
        ));
        opened.stop().unwrap();
        assert_eq!(
            std::fs::read(&path).unwrap(),
            flipped,
            "the evidence was changed"
        );
    }
}

/// After a clean stop even the very last frame is known durable.
#[test]
fn a_clean_stop_covers_the_last_group() {
    let dir = tempfile::tempdir().unwrap();
    let options = long_segments(&dir);
    let bodies = three_files(&options, 2);
    let opened = open(&options).unwrap();
    opened.stop().unwrap();
    opened.stop().unwrap();
    drop(opened);
    let path = segment_files(&options).pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    assert_eq!(
        whole.len(),
        2 * (88 + bodies[0].len()) + 88,
        "one mark, no spare bytes"
    );
    let clean = open(&options).unwrap();
    assert!(clean.report.clean);
    drop(clean);
    let mut flipped = whole.clone();
    let at = whole.len() - 88 - 5;
    flipped[at] ^= 1;
    std::fs::write(&path, &flipped).unwrap();
    assert!(open(&options).unwrap().damaged().is_some());
    std::fs::write(&path, &whole).unwrap();
    let opened = open(&options).unwrap();
    let next = one(6, &mut Random(5), 30);
    assert_eq!(opened.append(std::slice::from_ref(&next)), [Status::Ok]);
    let expected = [bodies.concat(), next].concat();
    assert_eq!(opened.read_all().unwrap(), expected, "the mark is no batch");
}

/// A flipped bit in a sealed file: found by the read, for its offsets only.
#[test]
fn a_flipped_bit_in_a_sealed_file_is_found_at_read() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        from_offset: 8,
        ..long_segments(&dir)
    };
    let bodies = three_files(&options, 4);
    let path = segment_files(&options).remove(0);
    let whole = std::fs::read(&path).unwrap();
    let frame = 88 + bodies[0].len();
    for victim in 0..4 {
        let mut flipped = whole.clone();
        flipped[victim * frame + 200] ^= 4;
        std::fs::write(&path, &flipped).unwrap();
        let opened = open(&options).unwrap();
        assert_eq!(opened.damaged(), None, "sealed files are trusted at open");
        let found = opened.read(victim as i64, 12, u32::MAX);
        assert!(matches!(found, Err(WalError::Corrupt { .. })), "{found:?}");
        if victim > 0 {
            let found = opened.read(0, 12, u32::MAX).unwrap();
            assert_eq!(
                found.bytes,
                bodies[..victim].concat(),
                "whole up to the damage"
            );
        }
        assert_eq!(
            opened.read(4, 12, u32::MAX).unwrap().bytes,
            bodies[4..].concat()
        );
    }
}

/// Files deleted, emptied, cut, swapped, or of another log are never taken for emptiness.
#[test]
fn missing_is_not_empty() {
    type Harm = fn(&[PathBuf]);
    let harms: [(&str, Harm); 6] = [
        ("deleted", |paths| std::fs::remove_file(&paths[1]).unwrap()),
        ("emptied", |paths| std::fs::write(&paths[1], b"").unwrap()),
        ("cut", |paths| {
            let bytes = std::fs::read(&paths[1]).unwrap();
            std::fs::write(&paths[1], &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("swapped", |paths| {
            let spare = paths[0].with_extension("spare");
            std::fs::rename(&paths[0], &spare).unwrap();
            std::fs::rename(&paths[1], &paths[0]).unwrap();
            std::fs::rename(&spare, &paths[1]).unwrap();
        }),
        ("copied over", |paths| {
            std::fs::copy(&paths[0], &paths[1]).unwrap();
        }),
        ("footer lost", |paths| {
            let bytes = std::fs::read(&paths[1]).unwrap();
            std::fs::write(&paths[1], &bytes[..bytes.len() - 1]).unwrap();
        }),
    ];
    for (name, harm) in harms {
        let dir = tempfile::tempdir().unwrap();
        let options = long_segments(&dir);
        let bodies = three_files(&options, 3);
        harm(&segment_files(&options));
        let opened = open(&options).unwrap();
        assert!(opened.damaged().is_some(), "{name} went unnoticed");
        assert_eq!(
            opened.append(&[one(9, &mut Random(1), 10)]),
            [Status::Damaged],
            "{name}"
        );
        // What is served is right, and no read jumps over a hole.
        for from in 0..9 {
            if let Ok(found) = opened.read(from, 9, 1) {
                let batch = &bodies[from as usize];
                assert!(
                    found.batches == 0 || found.bytes == *batch,
                    "{name} at {from}"
                );
            }
        }
    }
}

/// The newest file is lost: only the checkpoint knows, and its offset is enough.
#[test]
fn a_log_below_its_checkpoint_is_damaged() {
    for (name, emptied) in [("deleted", false), ("emptied", true)] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options {
            from_offset: 9,
            ..long_segments(&dir)
        };
        three_files(&options, 3);
        assert_eq!(open(&options).unwrap().damaged(), None);
        let path = segment_files(&options).pop().unwrap();
        if emptied {
            std::fs::write(&path, b"").unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
        let opened = open(&options).unwrap();
        let damage = opened
            .damaged()
            .unwrap_or_else(|| panic!("{name} went unnoticed"));
        assert!(damage.reason.contains("checkpoint"), "{damage}");
        assert_eq!(path.exists(), emptied, "nothing is cleaned up");
    }
}

/// A footer whose truncation did not happen any more is completed.
#[test]
fn an_interrupted_seal_is_completed() {
    let dir = tempfile::tempdir().unwrap();
    let options = long_segments(&dir);
    let bodies = three_files(&options, 3);
    let path = segment_files(&options)[1].clone();
    std::fs::remove_file(&segment_files(&options)[2]).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let whole = bytes.clone();
    bytes.extend([0; 5000]);
    std::fs::write(&path, &bytes).unwrap();
    let opened = open(&options).unwrap();
    assert_eq!(opened.damaged(), None);
    assert!(opened.log.segments().iter().all(|meta| meta.sealed));
    assert_eq!(opened.read_all().unwrap(), bodies[..6].concat());
    assert_eq!(std::fs::read(&path).unwrap(), whole);
    assert_eq!(opened.append(&[one(6, &mut Random(1), 10)]), [Status::Ok]);
    assert!(segment_files(&options)[2].ends_with("wal_0_2.log"));
}

/// Frames of a later version are refused by name, never cut as garbage.
#[test]
fn unknown_versions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let options = long_segments(&dir);
    three_files(&options, 2);
    let path = segment_files(&options).pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4] = 3;
    let length = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    let crc = chronik::wal::frame::checksum(&bytes[..88], &bytes[88..length]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let Err(error) = open(&options) else {
        panic!("version 3 was opened")
    };
    assert_eq!(error.status(), Status::UnknownVersion);
    assert!(error.to_string().contains("version 3"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

/// Ten gigabytes of sealed log open by their footers; here fewer, but no byte of them is scanned.
#[test]
fn sealed_files_open_by_footer() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes_max: 16 << 20,
        from_offset: 160,
        files_open_max: 4,
        ..Options::new(dir.path())
    };
    let opened = open(&options).unwrap();
    let mut random = Random(9);
    let value = random.bytes(900_000);
    for base in 0..160 {
        assert_eq!(
            opened.append(&[batch_of(base, std::slice::from_ref(&value))]),
            [Status::Ok]
        );
    }
    drop(opened);
    let start = std::time::Instant::now();
    let opened = open(&options).unwrap();
    let elapsed = start.elapsed();
    assert_eq!(opened.log.bounds(), (0, 160));
    assert!(opened.log.segments().len() >= 9);
    // 144 MB scanned would take longer than reading nine footers.
    println!("open of {} files: {elapsed:?}", opened.log.segments().len());
    assert!(elapsed.as_millis() < 500, "{elapsed:?}");
}

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wal_v2")
}

fn fixture_bodies() -> Vec<Vec<u8>> {
    (0..12)
        .map(|base| one(base, &mut Random(base as u64 + 1), 50))
        .collect()
}

/// Writes the fixture anew, when the format changes: `CHRONIK_WRITE_FIXTURES=1 cargo test`.
fn write_fixture() {
    let dir = fixture();
    std::fs::create_dir_all(&dir).unwrap();
    let options = Options {
        dir,
        segment_bytes_max: 1 << 20,
        ..Options::new(&fixture())
    };
    let opened = open(&options).unwrap();
    for (index, body) in fixture_bodies().iter().enumerate() {
        assert_eq!(opened.append(std::slice::from_ref(body)), [Status::Ok]);
        if index == 3 || index == 7 {
            opened.seal().unwrap();
        }
    }
    opened.stop().unwrap();
}

/// Files written by the first build of format 2 open in every later one.
#[test]
fn the_first_format_2_still_opens() {
    if std::env::var_os("CHRONIK_WRITE_FIXTURES").is_some() {
        write_fixture();
    }
    let dir = tempfile::tempdir().unwrap();
    let options = long_segments(&dir);
    std::fs::create_dir_all(&options.dir).unwrap();
    for entry in std::fs::read_dir(fixture()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), options.dir.join(entry.file_name())).unwrap();
    }
    let opened = open(&options).unwrap();
    assert_eq!(opened.damaged(), None);
    assert!(opened.report.clean);
    assert_eq!(opened.log.bounds(), (0, 12));
    assert_eq!(opened.log.segments().len(), 3);
    assert_eq!(opened.read_all().unwrap(), fixture_bodies().concat());
    assert_eq!(opened.report.epochs, [(7, 0)]);
    assert_eq!(opened.report.producer_count, 12);
}
