//! Verification of a log's files finds every flipped bit of what was sealed, names the offsets that
//! are lost by it, changes nothing, and may run beside the writer.

mod wal_support;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use chronik::disk::RealDisk;
use chronik::wal::log::{Kind, LogSpec};
use chronik::wal::verify::{LogReport, verify_log};
use wal_support::{LOG_ID, Options, Random, long_segments, one, open, segment_files, three_files};

fn verify(options: &Options) -> LogReport {
    let spec = LogSpec {
        dir: options.dir.clone(),
        prefix: "wal_0".into(),
        log_id: LOG_ID,
        partition: 0,
        kind: Kind::Batches,
        segment_bytes_max: 4096,
    };
    verify_log(&RealDisk, &spec).unwrap()
}

fn reasons(options: &Options) -> Vec<String> {
    let report = verify(options);
    report.findings.into_iter().map(|f| f.reason).collect()
}

fn contents(options: &Options) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    segment_files(options).into_iter().map(read).collect()
}

#[test]
fn a_sound_log_has_no_findings_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let options = long_segments(&dir);
    let bodies = three_files(&options, 20);
    let before = contents(&options);
    let report = verify(&options);
    assert_eq!(report.findings, []);
    assert_eq!((report.segments, report.records), (3, bodies.len() as u64));
    assert_eq!(contents(&options), before);
    open(&options).unwrap().stop().unwrap();
    assert_eq!(verify(&options).findings, []);
}

/// A flip in a sealed file is seen wherever it is, and the offsets named are those that a read of
/// the log does not give.
#[test]
fn a_flip_anywhere_in_a_sealed_file_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let options = long_segments(&dir);
    let bodies = three_files(&options, 60);
    let path = segment_files(&options)[0].clone();
    let good = fs::read(&path).unwrap();
    for position in (0..good.len()).step_by(good.len() / 300 + 1) {
        let mut bad = good.clone();
        bad[position] ^= 1 << (position % 8);
        fs::write(&path, &bad).unwrap();
        let report = verify(&options);
        assert!(!report.findings.is_empty(), "flip at {position}");
        let lost = &report.findings[0];
        assert_eq!(lost.file, path.display().to_string());
        let (Some(first), Some(last)) = (lost.first_offset, lost.last_offset) else {
            continue;
        };
        assert!(first <= last && last < 60, "{lost:?}");
        // About 8 KiB of frames lie between two places where a reader can take up again.
        assert!(last - first < 40, "flip at {position}: {lost:?}");
        let opened = open(&options).unwrap();
        for (offset, body) in bodies.iter().enumerate().take(60) {
            let offset = offset as i64;
            let found = opened.read(offset, offset + 1, 1).map(|found| found.bytes);
            let is_lost = (first..=last).contains(&offset);
            assert!(found.is_err() || &found.unwrap() == body);
            if !is_lost {
                let again = opened.read(offset, offset + 1, 1);
                assert!(
                    again.is_ok(),
                    "offset {offset}, flip at {position}: {lost:?}"
                );
            }
        }
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(verify(&options).findings, []);
}

#[test]
fn files_that_are_gone_cut_swapped_or_empty() {
    let dir = tempfile::tempdir().unwrap();
    let options = long_segments(&dir);
    three_files(&options, 20);
    let files = segment_files(&options);
    let good: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    let whole = |options: &Options| {
        for (path, bytes) in files.iter().zip(&good) {
            fs::write(path, bytes).unwrap();
        }
        assert_eq!(verify(options).findings, []);
    };
    fs::remove_file(&files[1]).unwrap();
    assert_eq!(reasons(&options), ["segments 1 to 1 are missing"]);
    whole(&options);
    fs::write(&files[0], &good[0][..good[0].len() - 20]).unwrap();
    assert_eq!(reasons(&options), ["the footer is gone"]);
    fs::write(&files[0], []).unwrap();
    assert_eq!(reasons(&options), ["the footer is gone"]);
    whole(&options);
    fs::write(&files[0], &good[1]).unwrap();
    assert!(!verify(&options).findings.is_empty());
    whole(&options);
    // The newest file: what was durable before a later group is damage, its torn end is none.
    let mut bad = good[2].clone();
    bad[100] ^= 1;
    fs::write(&files[2], &bad).unwrap();
    assert_eq!(verify(&options).findings.len(), 1);
    let used = good[2].iter().rposition(|byte| *byte != 0).unwrap();
    let mut torn = good[2].clone();
    torn[used - 5] ^= 1;
    fs::write(&files[2], &torn).unwrap();
    assert_eq!(verify(&options).findings, []);
}

#[test]
fn findings_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let options = long_segments(&dir);
    three_files(&options, 10);
    let first = segment_files(&options)[0].clone();
    let bytes = fs::read(&first).unwrap();
    for id in (10..1000).step_by(2) {
        fs::write(options.dir.join(format!("wal_0_{id}.log")), &bytes).unwrap();
    }
    let report = verify(&options);
    assert_eq!(report.findings.len(), 100);
    assert!(report.more > 300, "{}", report.more);
}

/// A writer that appends and seals all the time is never taken for damage.
#[test]
fn beside_a_writer() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes_max: 64 << 10,
        ..Options::new(dir.path())
    };
    let opened = open(&options).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut random = Random(9);
            for offset in 0..3_000 {
                opened.append(&[one(offset, &mut random, 200)]);
                if offset % 700 == 699 {
                    opened.seal().unwrap();
                }
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut looks = 0;
        while !done.load(Ordering::SeqCst) {
            let report = verify(&options);
            assert_eq!(report.findings, [], "look {looks}");
            looks += 1;
        }
        assert!(looks > 3, "{looks} looks");
    });
    assert_eq!(verify(&options).records, 3_000);
}
