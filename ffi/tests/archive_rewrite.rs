//! Several archives become one: the same batches, one index, and nothing of a damaged source.

#[path = "fixtures/rewriting.rs"]
mod rewriting;
#[path = "fixtures/support.rs"]
mod support;

use std::fs;
use std::path::PathBuf;

use chronik::archive::{
    ArchiveBuilder, ArchiveError, ArchiveSpec, RewriteIndex, RewriteSpec, SourceArchive,
    rewrite_archives,
};
use chronik::codec::Codec;
use chronik::index::{FACT_PATHS_ARCHIVE_MAX, IndexMode, StopCheck};
use chronik::record::{BatchSpec, RecordSpec, encode_batch};
use tantivy::collector::TopDocs;
use tantivy::query::{AllQuery, QueryParser};

use rewriting::*;
use support::*;

#[test]
fn the_sources_become_one() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, all) = sources(dir.path(), 100, &[500, 1, 3000, 40], IndexMode::Full);
    let target = dir.path().join("merged.tar.gz");
    let spec = rewrite_spec(dir.path(), 100, 3640, RewriteIndex::Merge);
    let summary = merge(&paths, &target, spec).unwrap();
    assert_eq!((summary.base_offset, summary.last_offset), (100, 3640));
    assert_eq!((summary.records, summary.documents), (3541, 3541));
    assert_eq!(
        (summary.min_timestamp, summary.max_timestamp),
        (TIME + 100, TIME + 3640)
    );
    assert!(summary.timestamps_exact);
    assert_eq!(summary.aborted, 1);
    let manifest = verified(&target, &summary).manifest;
    assert_eq!(manifest.index, IndexMode::Full);
    assert_eq!(manifest.producer_snapshot.as_deref(), Some("state 3"));
    let starts: Vec<_> = manifest
        .leader_epochs
        .iter()
        .map(|e| e.start_offset)
        .collect();
    assert_eq!(starts, [100, 600, 601, 3601]);
    assert_eq!(batches_of_archive(&target), all);

    let index = opened_index(&target, &dir.path().join("opened"));
    assert!(index.validate_checksum().unwrap().is_empty());
    assert_eq!(offsets(&index), (100..=3640).collect::<Vec<u64>>());
    let fields = [index.schema().get_field("key").unwrap()];
    let query = QueryParser::for_index(&index, fields.to_vec());
    let found = index
        .reader()
        .unwrap()
        .searcher()
        .search(
            &query.parse_query("\"key-601\"").unwrap(),
            &TopDocs::with_limit(5).order_by_score(),
        )
        .unwrap();
    assert_eq!(
        found.iter().map(|(_, at)| at.doc_id).collect::<Vec<_>>(),
        [501]
    );
    let left = fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 6, "scratch is cleared");
}

#[test]
fn what_was_pending_is_joined_and_then_indexed() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, all) = sources(dir.path(), 0, &[300, 300], IndexMode::Pending);
    let joined = dir.path().join("joined.tar.gz");
    let spec = rewrite_spec(dir.path(), 0, 599, RewriteIndex::Merge);
    let summary = merge(&paths, &joined, spec).unwrap();
    assert_eq!((summary.documents, summary.index_bytes), (0, 0));
    assert!(!summary.timestamps_exact);
    assert_eq!(
        verified(&joined, &summary).manifest.index,
        IndexMode::Pending
    );

    let target = dir.path().join("indexed.tar.gz");
    let spec = RewriteSpec {
        generation: 3,
        ..rewrite_spec(dir.path(), 0, 599, RewriteIndex::Build(IndexMode::Text))
    };
    let indexed = merge(&[joined], &target, spec).unwrap();
    assert_eq!(indexed.batches_sha256, summary.batches_sha256);
    assert_eq!((indexed.documents, indexed.timestamps_exact), (600, true));
    assert_eq!(batches_of_archive(&target), all);
    assert_eq!(
        offsets(&opened_index(&target, &dir.path().join("opened"))).len(),
        600
    );
}

#[test]
fn different_modes_are_not_joined_but_may_be_built() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first.tar.gz");
    let second = dir.path().join("second.tar.gz");
    let spec_of = |index_mode| ArchiveSpec {
        index_mode,
        ..spec(dir.path())
    };
    build(
        &first,
        spec_of(IndexMode::Full),
        &json_batches(0, 50, 5, 100, Codec::None),
    );
    build(
        &second,
        spec_of(IndexMode::Pending),
        &json_batches(50, 50, 5, 100, Codec::None),
    );
    let paths = [first, second];
    let target = dir.path().join("merged.tar.gz");
    let refused = merge(
        &paths,
        &target,
        rewrite_spec(dir.path(), 0, 99, RewriteIndex::Merge),
    );
    assert!(matches!(refused, Err(ArchiveError::Spec(_))), "{refused:?}");
    assert!(!target.exists());
    let build = RewriteIndex::Build(IndexMode::Keys);
    let summary = merge(&paths, &target, rewrite_spec(dir.path(), 0, 99, build)).unwrap();
    assert_eq!(summary.documents, 100);
}

/// A transaction's data and marker, the latter without documents.
fn control_batch(offset: i64) -> Vec<u8> {
    let spec = BatchSpec {
        base_offset: offset,
        producer_id: 9,
        producer_epoch: 0,
        transactional: true,
        control: true,
        codec: Codec::None,
        ..BatchSpec::default()
    };
    let record = RecordSpec {
        offset_delta: 0,
        timestamp: TIME + offset,
        key: Some(&[0, 0, 0, 1]),
        value: Some(&[0, 0, 0, 0, 0, 0]),
        headers: Vec::new(),
    };
    encode_batch(&spec, &[record]).unwrap()
}

#[test]
fn a_source_without_documents_is_joined_too() {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..3)
        .map(|i| dir.path().join(format!("{i}.tar.gz")))
        .collect();
    build(&paths[0], spec(dir.path()), &[control_batch(0)]);
    build(
        &paths[1],
        spec(dir.path()),
        &json_batches(1, 10, 5, 100, Codec::None),
    );
    build(&paths[2], spec(dir.path()), &[control_batch(11)]);
    let target = dir.path().join("merged.tar.gz");
    let spec = rewrite_spec(dir.path(), 0, 11, RewriteIndex::Merge);
    let summary = merge(&paths, &target, spec).unwrap();
    assert_eq!((summary.records, summary.documents), (12, 10));
    verified(&target, &summary);
    let index = opened_index(&target, &dir.path().join("opened"));
    assert_eq!(offsets(&index), (1..=10).collect::<Vec<u64>>());

    // Also where there is nothing at all.
    let none = dir.path().join("none.tar.gz");
    let spec = rewrite_spec(dir.path(), 0, 0, RewriteIndex::Merge);
    let summary = merge(&paths[..1], &none, spec).unwrap();
    assert_eq!((summary.records, summary.documents), (1, 0));
    verified(&none, &summary);
}

#[test]
fn a_later_generation_may_have_holes_also_at_its_ends() {
    let dir = tempfile::tempdir().unwrap();
    let holey = dir.path().join("holey.tar.gz");
    let source = [
        json_batches(10, 5, 5, 100, Codec::None),
        json_batches(30, 5, 5, 100, Codec::None),
    ]
    .concat();
    let later = ArchiveSpec {
        generation: 2,
        range: Some((0, 99)),
        ..spec(dir.path())
    };
    let summary = build(&holey, later.clone(), &source);
    assert_eq!((summary.base_offset, summary.last_offset), (0, 99));
    verified(&holey, &summary);
    assert_eq!(batches_of_archive(&holey), source.concat());

    let beyond = ArchiveSpec {
        range: Some((0, 33)),
        ..later.clone()
    };
    let mut builder = ArchiveBuilder::create(&dir.path().join("x"), beyond).unwrap();
    builder.push_batch(&source[0]).unwrap();
    let refused = builder.push_batch(&source[1]);
    assert!(
        matches!(refused, Err(ArchiveError::NotContiguous { .. })),
        "{refused:?}"
    );
    let first = ArchiveSpec {
        generation: 1,
        ..later
    };
    assert!(ArchiveBuilder::create(&dir.path().join("x"), first).is_err());

    // And is a source like another: the next one begins where its range ends.
    let next = dir.path().join("next.tar.gz");
    build(
        &next,
        spec(dir.path()),
        &json_batches(100, 5, 5, 100, Codec::None),
    );
    let target = dir.path().join("merged.tar.gz");
    let spec = RewriteSpec {
        generation: 3,
        ..rewrite_spec(dir.path(), 0, 104, RewriteIndex::Merge)
    };
    let summary = merge(&[holey, next], &target, spec).unwrap();
    assert_eq!((summary.records, summary.documents), (15, 15));
    let read = batches_of_archive(&target).len() as u64;
    assert_eq!(read, summary.raw_bytes);
}

#[test]
fn sources_that_do_not_belong_together_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, _) = sources(dir.path(), 0, &[20, 20, 20], IndexMode::None);
    let target = dir.path().join("merged.tar.gz");
    let merge_of = |order: &[usize], last: i64| {
        let chosen: Vec<PathBuf> = order.iter().map(|index| paths[*index].clone()).collect();
        let spec = rewrite_spec(dir.path(), 0, last, RewriteIndex::Merge);
        merge(&chosen, &target, spec)
    };
    assert!(merge_of(&[0, 2], 59).is_err(), "a hole");
    assert!(merge_of(&[1, 0, 2], 59).is_err(), "order");
    assert!(merge_of(&[0, 0], 39).is_err(), "twice");
    assert!(merge_of(&[0, 1], 59).is_err(), "too few");
    assert!(merge_of(&[0, 1, 2], 39).is_err(), "too many");
    let spec = rewrite_spec(dir.path(), 0, 59, RewriteIndex::Merge);
    let other = RewriteSpec {
        topic_id: "another".to_owned(),
        ..spec.clone()
    };
    let error = merge(&paths, &target, other).unwrap_err().to_string();
    assert!(
        error.starts_with("source 1, ") && error.contains("topic_id"),
        "{error}"
    );
    assert!(
        merge(
            &paths,
            &target,
            RewriteSpec {
                generation: 1,
                ..spec
            }
        )
        .is_err()
    );
    assert!(!target.exists());
    merge_of(&[0, 1, 2], 59).unwrap();
}

#[test]
fn damage_names_source_chunk_and_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first.tar.gz");
    let second = dir.path().join("second.tar.gz");
    let none = ArchiveSpec {
        index_mode: IndexMode::None,
        ..spec(dir.path())
    };
    build(
        &first,
        none.clone(),
        &json_batches(0, 50, 5, 100, Codec::None),
    );
    build(&second, none, &json_batches(50, 9000, 50, 300, Codec::None));
    let source = SourceArchive::open(&second).unwrap();
    let chunk = source.toc().batches.chunks[2];
    let mut bytes = fs::read(&second).unwrap();
    bytes[(chunk.position + chunk.length / 2) as usize] ^= 4;
    fs::write(&second, bytes).unwrap();
    let target = dir.path().join("merged.tar.gz");
    let spec = rewrite_spec(dir.path(), 0, 9049, RewriteIndex::Merge);
    let error = merge(&[first, second], &target, spec)
        .unwrap_err()
        .to_string();
    let place = format!(
        "chunk 2 (offsets {} to {})",
        chunk.base_offset, chunk.last_offset
    );
    assert!(
        error.starts_with("source 2, ") && error.contains(&place),
        "{error}"
    );
    assert!(!target.exists());
}

#[test]
fn a_stop_ends_it_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (paths, _) = sources(dir.path(), 0, &[3000, 3000], IndexMode::Full);
    let before = fs::read_dir(dir.path()).unwrap().count();
    let target = dir.path().join("merged.tar.gz");
    let mut ends = Vec::new();
    for steps in [0u64, 1, 2, 3, 5, 10, 100, 250] {
        let left = std::sync::atomic::AtomicU64::new(steps);
        let stop = StopCheck::new(move || {
            let relaxed = std::sync::atomic::Ordering::Relaxed;
            left.fetch_update(relaxed, relaxed, |n| n.checked_sub(1))
                .is_err()
        });
        let spec = rewrite_spec(dir.path(), 0, 5999, RewriteIndex::Merge);
        ends.push(rewrite_archives(&paths, &target, spec, &stop).unwrap_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), before);
    }
    assert!(
        ends.iter().all(|e| matches!(e, ArchiveError::Stopped)),
        "{ends:?}"
    );
}

#[test]
fn too_many_fact_paths_are_indexed_anew() {
    let dir = tempfile::tempdir().unwrap();
    let wide: Shape = |_, number, _| format!("{{\"path_{}\":{number}}}", number);
    let mut paths = Vec::new();
    for index in 0..3 {
        let path = dir.path().join(format!("{index}.tar.gz"));
        let batches = batches_of(wide, index * 400, 400, 40, 0, Codec::None);
        build(&path, spec(dir.path()), &batches);
        paths.push(path);
    }
    let target = dir.path().join("merged.tar.gz");
    let spec = rewrite_spec(dir.path(), 0, 1199, RewriteIndex::Merge);
    let summary = merge(&paths, &target, spec).unwrap();
    assert_eq!(summary.documents, 1200);
    verified(&target, &summary);
    let index = opened_index(&target, &dir.path().join("opened"));
    let searcher = index.reader().unwrap().searcher();
    let columns = searcher.segment_reader(0).fast_fields();
    let facts = columns
        .dynamic_subpath_column_handles("facts")
        .unwrap()
        .len();
    assert_eq!(facts, FACT_PATHS_ARCHIVE_MAX);
    let hits = searcher
        .search(&AllQuery, &tantivy::collector::Count)
        .unwrap();
    assert_eq!(hits, 1200);
}
