//! An archive gives back what went in: whole, by its parts, and to other programs' readers.

#[path = "fixtures/support.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use chronik::archive::{
    AbortedRange, ArchiveBuilder, ArchiveError, ArchiveSpec, Expected, LOCATOR_BYTES, LeaderEpoch,
    Toc, copy_member, inflate_chunk, locate_toc, read_manifest, read_toc, verify_archive,
};
use chronik::codec::Codec;
use chronik::index::IndexMode;
use chronik::record::{BatchSpec, RecordSpec, batches, encode_batch};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use support::*;

fn toc_of(archive: &[u8]) -> Toc {
    let tail = &archive[archive.len() - LOCATOR_BYTES..];
    let location = locate_toc(tail, archive.len() as u64).unwrap();
    read_toc(
        range(archive, location.position, location.length),
        &location,
    )
    .unwrap()
}

fn range(bytes: &[u8], position: u64, length: u64) -> &[u8] {
    &bytes[position as usize..(position + length) as usize]
}

fn full_spec(scratch: &Path) -> ArchiveSpec {
    ArchiveSpec {
        leader_epochs: vec![LeaderEpoch {
            epoch: 3,
            start_offset: 100,
        }],
        aborted: vec![AbortedRange {
            producer_id: 9,
            first_offset: 1,
            last_offset: 2,
        }],
        producer_snapshot: Some("{\"producers\":[]}".to_owned()),
        ..spec(scratch)
    }
}

#[test]
fn what_goes_in_comes_out() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    for codec in CODECS {
        let source = json_batches(100, 6000, 50, 300, codec);
        let summary = build(&path, full_spec(dir.path()), &source);
        let archive = fs::read(&path).unwrap();
        assert_eq!(summary.size, archive.len() as u64);
        assert_eq!(summary.sha256, format!("{:x}", Sha256::digest(&archive)));
        assert_eq!((summary.base_offset, summary.last_offset), (100, 6099));
        assert_eq!((summary.records, summary.documents), (6000, 6000));
        assert_eq!(summary.min_timestamp, TIME + 100);
        assert_eq!(summary.max_timestamp, TIME + 6099);
        assert!(summary.timestamps_exact);
        assert!(summary.build_cpu_ms.is_some());

        let expected = Expected {
            size: Some(summary.size),
            sha256: Some(summary.sha256.clone()),
            records: Some(6000),
            base_offset: Some(100),
            last_offset: Some(6099),
            generation: Some(1),
            partition: Some(2),
            topic_id: Some("q8Tn1rG2Sd6bX0a5u7Zp9w".to_owned()),
            batches_sha256: Some(summary.batches_sha256.clone()),
        };
        let report = verify_archive(&path, &expected).unwrap();
        assert_eq!(report.toc_location.position, summary.toc_position);
        assert_eq!(report.toc_location.length, summary.toc_length);
        assert_eq!(report.toc, toc_of(&archive));
        let manifest = read_manifest(&path).unwrap();
        assert_eq!(manifest, report.manifest);
        assert_eq!(manifest.leader_epochs[0].epoch, 3);
        assert_eq!(manifest.aborted[0].producer_id, 9);
        assert_eq!(
            manifest.producer_snapshot.as_deref(),
            Some("{\"producers\":[]}")
        );

        let mut joined = Vec::new();
        for chunk in &report.toc.batches.chunks {
            // Only the chunk's own range is touched.
            let member = range(&archive, chunk.position, chunk.length).to_vec();
            let raw = inflate_chunk(&member, chunk.bytes, chunk.crc32c).unwrap();
            let first = batches(&raw).next().unwrap().unwrap();
            let last = batches(&raw).last().unwrap().unwrap();
            assert_eq!(first.header.base_offset, chunk.base_offset);
            assert_eq!(last.header.last_offset(), chunk.last_offset);
            assert_eq!(first.header.leader_epoch, chunk.leader_epoch);
            joined.extend_from_slice(&raw);
        }
        assert_eq!(joined, source.concat());
        assert_eq!(summary.chunks, report.toc.batches.chunks.len());
        let closed = &report.toc.batches.chunks[..summary.chunks - 1];
        assert!(closed.iter().all(|chunk| chunk.bytes >= 256 * 1024));
        if codec == Codec::None {
            assert!(summary.chunks > 3, "{} chunks", summary.chunks);
        }
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "scratch is cleared: {left:?}");
}

#[test]
fn the_index_is_one_range() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    build(
        &path,
        spec(dir.path()),
        &json_batches(0, 500, 10, 200, Codec::Lz4),
    );
    let archive = fs::read(&path).unwrap();
    let toc = toc_of(&archive);
    let index = range(&archive, toc.index.position, toc.index.length);
    let target = dir.path().join("opened");
    fs::create_dir(&target).unwrap();
    for file in &toc.index.files {
        let member = range(index, file.position - toc.index.position, file.length);
        let mut out = fs::File::create(target.join(&file.name)).unwrap();
        copy_member(member, file.bytes, &mut out).unwrap();
    }
    let opened = tantivy::Index::open_in_dir(&target).unwrap();
    assert!(opened.validate_checksum().unwrap().is_empty());
    assert_eq!(opened.reader().unwrap().searcher().num_docs(), 500);
}

#[test]
fn other_programs_open_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    let source = json_batches(7, 3000, 20, 256, Codec::Zstd);
    build(&path, spec(dir.path()), &source);

    run(Command::new("gzip").arg("-t").arg(&path));
    let listed = run(Command::new("tar").arg("tzf").arg(&path));
    let names: Vec<&str> = listed.lines().collect();
    assert_eq!(names[..2], ["manifest.json", "batches"]);
    assert_eq!(names.last(), Some(&"toc.json"));
    assert!(
        names[2..names.len() - 1]
            .iter()
            .all(|n| n.starts_with("index/"))
    );

    let opened = dir.path().join("opened");
    fs::create_dir(&opened).unwrap();
    run(Command::new("tar")
        .arg("xzf")
        .arg(&path)
        .arg("-C")
        .arg(&opened));
    assert_eq!(fs::read(opened.join("batches")).unwrap(), source.concat());
    let index = tantivy::Index::open_in_dir(opened.join("index")).unwrap();
    assert_eq!(index.reader().unwrap().searcher().num_docs(), 3000);

    let script = "import sys,tarfile,hashlib,json\n\
        t=tarfile.open(sys.argv[1],'r:gz')\n\
        m=json.load(t.extractfile('manifest.json'))\n\
        for e in m['members']:\n\
        \x20 b=t.extractfile(e['name']).read()\n\
        \x20 assert len(b)==e['bytes'] and hashlib.sha256(b).hexdigest()==e['sha256'], e\n\
        print(len(t.getmembers()), m['records'])";
    let printed = run(Command::new("python3").arg("-c").arg(script).arg(&path));
    assert_eq!(printed.trim(), format!("{} 3000", names.len()));
}

fn run(command: &mut Command) -> String {
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => panic!("{command:?}: {e}"),
    };
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{command:?}: {errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn modes_without_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    for index_mode in [IndexMode::None, IndexMode::Pending] {
        let spec = ArchiveSpec {
            index_mode,
            ..spec(dir.path())
        };
        let summary = build(&path, spec, &json_batches(0, 100, 10, 100, Codec::Gzip));
        assert_eq!((summary.documents, summary.index_bytes), (0, 0));
        assert_eq!(
            (summary.min_timestamp, summary.timestamps_exact),
            (TIME, false)
        );
        let report = verify_archive(&path, &Expected::default()).unwrap();
        assert_eq!(report.manifest.index, index_mode);
        assert!(report.toc.index.files.is_empty());
    }
}

#[test]
fn a_batch_larger_than_a_chunk_stays_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    let mut source = json_batches(0, 10, 5, 100, Codec::None);
    let giant = vec![b'x'; 3_000_000];
    let records = [RecordSpec {
        value: Some(&giant),
        timestamp: TIME,
        ..RecordSpec::default()
    }];
    let spec_of_giant = BatchSpec {
        base_offset: 10,
        ..BatchSpec::default()
    };
    source.push(encode_batch(&spec_of_giant, &records).unwrap());
    source.extend(json_batches(11, 10, 5, 100, Codec::None));
    let summary = build(&path, spec(dir.path()), &source);
    assert_eq!((summary.chunks, summary.records), (2, 21));
    verify_archive(&path, &Expected::default()).unwrap();
}

#[test]
fn holes_are_for_later_generations() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    let early = json_batches(0, 10, 10, 100, Codec::None);
    let late = json_batches(20, 10, 10, 100, Codec::None);
    let mut first = ArchiveBuilder::create(&path, spec(dir.path())).unwrap();
    first.push_batch(&early[0]).unwrap();
    let error = first.push_batch(&late[0]).unwrap_err();
    let hole = ArchiveError::NotContiguous {
        base_offset: 20,
        expected: 10,
    };
    assert_eq!(error.to_string(), hole.to_string());
    drop(first);
    assert!(!path.exists());

    let spec = ArchiveSpec {
        generation: 2,
        ..spec(dir.path())
    };
    let mut second = ArchiveBuilder::create(&path, spec).unwrap();
    second.push_batch(&late[0]).unwrap();
    assert!(second.push_batch(&early[0]).is_err(), "offsets go up");
    drop(second);

    let spec = ArchiveSpec {
        generation: 2,
        ..support::spec(dir.path())
    };
    let summary = build(&path, spec, &[early[0].clone(), late[0].clone()]);
    assert_eq!((summary.last_offset, summary.records), (29, 20));
    verify_archive(&path, &Expected::default()).unwrap();
}

#[test]
fn nothing_and_nonsense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    let empty = ArchiveBuilder::create(&path, spec(dir.path())).unwrap();
    assert!(matches!(empty.finish(), Err(ArchiveError::Spec(_))));
    let mut builder = ArchiveBuilder::create(&path, spec(dir.path())).unwrap();
    let batch = json_batches(0, 3, 3, 50, Codec::None).remove(0);
    for position in [16, 17, 25, 70] {
        let mut damaged = batch.clone();
        damaged[position] ^= 1;
        assert!(builder.push_batch(&damaged).is_err(), "flip at {position}");
    }
    assert!(builder.push_batch(&batch[..batch.len() - 1]).is_err());
    assert!(
        builder
            .push_batches(&[batch.clone(), vec![0; 5]].concat())
            .is_err()
    );
    let expected = Expected {
        records: Some(4),
        ..Expected::default()
    };
    build(&path, spec(dir.path()), &[batch]);
    let error = verify_archive(&path, &expected).unwrap_err();
    assert!(matches!(
        error,
        ArchiveError::Mismatch {
            what: "records",
            ..
        }
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_batches_round_trip(
        base in 0i64..1_000_000_000_000,
        batches_in in prop::collection::vec(
            (0usize..5, prop::collection::vec(
                (prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
                 prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
                 any::<i32>()), 1..20)), 1..12),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar.gz");
        let mut next = base;
        let mut source = Vec::new();
        for (codec, records) in &batches_in {
            let records: Vec<RecordSpec> = records.iter().enumerate().map(|(i, (key, value, t))| {
                RecordSpec {
                    offset_delta: i as i32,
                    timestamp: TIME + i64::from(*t),
                    key: key.as_deref(),
                    value: value.as_deref(),
                    headers: Vec::new(),
                }
            }).collect();
            let codec = CODECS[*codec];
            let spec = BatchSpec { base_offset: next, codec, ..BatchSpec::default() };
            source.push(encode_batch(&spec, &records).unwrap());
            next += records.len() as i64;
        }
        let summary = build(&path, spec(dir.path()), &source);
        prop_assert_eq!(summary.documents as i64, next - base);
        let report = verify_archive(&path, &Expected::default()).unwrap();
        let archive = fs::read(&path).unwrap();
        let mut joined = Vec::new();
        for c in &report.toc.batches.chunks {
            let member = range(&archive, c.position, c.length);
            joined.extend(inflate_chunk(member, c.bytes, c.crc32c).unwrap());
        }
        prop_assert_eq!(joined, source.concat());
    }
}
