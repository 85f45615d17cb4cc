//! The index inside an archive, opened with plain Tantivy.

#[path = "fixtures/support.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use chronik::archive::{
    AbortedRange, ArchiveSpec, ArchiveSummary, Expected, copy_member, verify_archive,
};
use chronik::codec::Codec;
use chronik::index::{IndexMode, key_term, search_schema};
use chronik::record::{BatchSpec, RecordSpec, encode_batch};
use tantivy::collector::{Count, DocSetCollector, TopDocs};
use tantivy::query::{Query, QueryParser, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{Index, Term};

use support::*;

/// Unpacks `index/` by the TOC's ranges and opens it as anyone would.
fn open(archive: &Path, into: &Path) -> Index {
    let report = verify_archive(archive, &Expected::default()).unwrap();
    let bytes = fs::read(archive).unwrap();
    fs::create_dir_all(into).unwrap();
    for file in &report.toc.index.files {
        let range = file.position as usize..(file.position + file.length) as usize;
        let mut out = fs::File::create(into.join(&file.name)).unwrap();
        copy_member(&bytes[range], file.bytes, &mut out).unwrap();
    }
    Index::open_in_dir(into).unwrap()
}

struct Built {
    _dir: tempfile::TempDir,
    summary: ArchiveSummary,
    index: Index,
    path: PathBuf,
}

fn built(change: impl FnOnce(&mut ArchiveSpec), batches: &[Vec<u8>]) -> Built {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    let mut archive = spec(dir.path());
    change(&mut archive);
    let summary = build(&path, archive, batches);
    let index = open(&path, &dir.path().join("opened"));
    Built {
        _dir: dir,
        summary,
        index,
        path,
    }
}

impl Built {
    /// Offsets of the hits, ascending.
    fn hits(&self, query: &str) -> Vec<u64> {
        let schema = self.index.schema();
        let fields = vec![schema.get_field("value").unwrap()];
        let parser = QueryParser::for_index(&self.index, fields);
        self.run(&*parser.parse_query(query).unwrap())
    }

    fn by_key(&self, key: &[u8]) -> Vec<u64> {
        let field = self.index.schema().get_field("key").unwrap();
        let term = Term::from_field_text(field, &key_term(key));
        self.run(&TermQuery::new(term, IndexRecordOption::Basic))
    }

    fn run(&self, query: &dyn Query) -> Vec<u64> {
        let searcher = self.index.reader().unwrap().searcher();
        let mut offsets: Vec<u64> = searcher
            .search(query, &DocSetCollector)
            .unwrap()
            .into_iter()
            .map(|address| {
                let reader = searcher.segment_reader(address.segment_ord);
                let column = reader.fast_fields().u64("offset").unwrap();
                column.first(address.doc_id).unwrap()
            })
            .collect();
        offsets.sort_unstable();
        offsets
    }
}

type KeyValue<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn batch_of(base_offset: i64, records: &[KeyValue<'_>]) -> Vec<u8> {
    let records: Vec<_> = records
        .iter()
        .enumerate()
        .map(|(i, (key, value))| RecordSpec {
            offset_delta: i as i32,
            timestamp: TIME + 1000 * (base_offset + i as i64),
            key: *key,
            value: *value,
            headers: vec![(b"source", Some(b"Shop North")), (b"bin", Some(b"\xff"))],
        })
        .collect();
    let spec = BatchSpec {
        base_offset,
        ..BatchSpec::default()
    };
    encode_batch(&spec, &records).unwrap()
}

#[test]
fn records_are_found() {
    let long_key = vec![b'k'; 40_000];
    let ada = r#"{"user":{"name":"Ada Lovelace","age":36},"tags":["red","blue"],"k8s.node":"n1"}"#;
    let bob = r#"{"user":{"name":"Bob"},"ok":true,"amount":12.5,"big":18446744073709551615} "#;
    let values: [KeyValue<'_>; 7] = [
        (Some(b"alpha"), Some(ada.as_bytes())),
        (Some(b"beta"), Some(b"the quick brown fox")),
        (None, Some(b"{not json} but quick words")),
        (Some(b""), None),
        (Some(b"\xff\xfe"), Some(b"\xff\xfequick")),
        (Some(&long_key), Some(br#"[{"user":"array at the top"}]"#)),
        (Some(b"alpha"), Some(bob.as_bytes())),
    ];
    let found = built(|_| {}, &[batch_of(10, &values)]);
    assert_eq!(found.summary.documents, 7);
    assert_eq!(found.by_key(b"alpha"), [10, 16]);
    assert_eq!(found.by_key(b"beta"), [11]);
    assert_eq!(found.by_key(b""), [13]);
    assert_eq!(found.by_key(b"\xff\xfe"), [14]);
    assert_eq!(found.by_key(&long_key), [15]);
    assert_eq!(
        found.by_key("\u{fffd}\u{fffd}".as_bytes()),
        [0u64; 0],
        "no lossy keys"
    );

    assert_eq!(
        found.hits("quick"),
        [11, 12],
        "no text from bytes that are not text"
    );
    assert_eq!(found.hits("\"brown fox\""), [11]);
    assert_eq!(found.hits("\"fox brown\""), [0u64; 0]);
    assert_eq!(found.hits("array"), [15]);
    assert_eq!(found.hits("json.user.name:lovelace"), [10]);
    assert_eq!(found.hits("json.user.age:36"), [10]);
    assert_eq!(found.hits("json.tags:blue"), [10]);
    assert_eq!(found.hits("json.k8s.node:n1"), [10]);
    assert_eq!(found.hits("json.ok:true"), [16]);
    // The query parser would make a phrase of "12.5".
    let json = found.index.schema().get_field("json").unwrap();
    let mut amount = Term::from_field_json_path(json, "amount", true);
    amount.append_type_and_fast_value(12.5);
    assert_eq!(
        found.run(&TermQuery::new(amount, IndexRecordOption::Basic)),
        [16]
    );
    assert_eq!(found.hits("json.big:18446744073709551615"), [16]);
    assert_eq!(
        found.hits("json.user:array"),
        [0u64; 0],
        "only objects are JSON here"
    );
    assert_eq!(found.hits("headers.source:north").len(), 7);
    assert_eq!(found.hits("offset:[12 TO 14}"), [12, 13]);
    assert_eq!(found.hits("offset:16"), [16]);
    // TIME is 2023-11-14T22:13:20Z; records are a second apart.
    assert_eq!(
        found.hits("timestamp:[2023-11-14T22:13:32Z TO 2023-11-14T22:13:33Z]"),
        [12, 13]
    );
}

#[test]
fn the_schema_is_fixed() {
    let (schema, _) = search_schema();
    let json = serde_json::to_string_pretty(&schema).unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/search-schema-v1.json");
    if std::env::var_os("CHRONIK_WRITE_FIXTURES").is_some() {
        fs::write(&path, format!("{json}\n")).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), json);
    let found = built(|_| {}, &json_batches(0, 10, 5, 100, Codec::None));
    assert_eq!(found.index.schema(), schema);
}

#[test]
fn facts_have_bounds() {
    let long = "x".repeat(65);
    let wide: String = (0..70).map(|i| format!("\"p{i:02}\":{i},")).collect();
    let deep = format!("{}{{\"n\":1}}{}", "{\"d\":".repeat(20), "}".repeat(20));
    let values = [
        format!(r#"{{"n":1,"flag":true,"short":"ok","long":"{long}","list":[1,2,3]}}"#),
        format!("{{{wide}\"last\":1}}"),
        deep,
    ];
    let records: Vec<_> = values.iter().map(|v| (None, Some(v.as_bytes()))).collect();
    let found = built(|_| {}, &[batch_of(0, &records)]);
    let searcher = found.index.reader().unwrap().searcher();
    let facts = searcher.segment_reader(0).fast_fields();
    let column = |name: &str| facts.dynamic_column_handles(name).unwrap().len();
    assert_eq!(column("facts.n"), 1);
    assert_eq!(column("facts.flag"), 1);
    assert_eq!(column("facts.short"), 1);
    assert_eq!(
        column("facts.long"),
        0,
        "strings over 64 bytes are no facts"
    );
    assert_eq!(
        (
            column("facts.p63"),
            column("facts.p64"),
            column("facts.last")
        ),
        (1, 0, 0)
    );
    assert_eq!(column(&format!("facts{}.n", ".d".repeat(20))), 0);
    let list = facts.column_opt::<i64>("facts.list").unwrap().unwrap();
    assert_eq!(list.values_for_doc(0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(
        found.hits(&format!("json.long:{}", "x".repeat(65))),
        [0u64; 0]
    );
    assert_eq!(
        found.hits("json.p64:64"),
        [1],
        "every path is searched, facts or not"
    );
}

#[test]
fn hostile_json_stays_small() {
    // A new path in every value, and long paths over many leaves.
    let many: Vec<String> = (0..3000)
        .map(|i| format!(r#"{{"a{i}":{i},"b{i}":"{i}","c{i}":true}}"#))
        .collect();
    let prefix = format!("{{\"{}\":", "k".repeat(400)).repeat(10);
    let heavy = format!("{prefix}[{}1]{}", "1,".repeat(200_000), "}".repeat(10));
    let bottomless = "[".repeat(100_000);
    let nested = format!("{}1{}", "{\"a\":".repeat(5000), "}".repeat(5000));
    let zero = r#"{"a\u0000b":1,"":2,"\u0001":3}"#.to_owned();
    let mut values = many;
    values.extend([heavy, bottomless, nested, zero]);
    let records: Vec<_> = values.iter().map(|v| (None, Some(v.as_bytes()))).collect();
    let found = built(|_| {}, &[batch_of(0, &records)]);
    assert_eq!(found.summary.documents, 3004);
    let searcher = found.index.reader().unwrap().searcher();
    let facts = searcher.segment_reader(0).fast_fields();
    let columns = (0..3000)
        .flat_map(|i| ["a", "b", "c"].map(|letter| format!("facts.{letter}{i}")))
        .filter(|name| !facts.dynamic_column_handles(name).unwrap().is_empty())
        .count();
    assert_eq!(columns, 1000);
    assert!(
        found.summary.index_bytes < 4_000_000,
        "{}",
        found.summary.index_bytes
    );
    assert_eq!(found.hits("json.a2999:2999"), [2999]);
}

#[test]
fn modes_index_what_they_say() {
    let batches = json_batches(0, 200, 20, 200, Codec::Snappy);
    let text = built(|spec| spec.index_mode = IndexMode::Text, &batches);
    assert_eq!(text.by_key(b"key-7"), [7]);
    assert!(!text.hits("created").is_empty());
    assert!(text.hits("json.status:created").is_empty());
    assert!(text.hits("headers.trace:abc").is_empty());
    let keys = built(|spec| spec.index_mode = IndexMode::Keys, &batches);
    assert_eq!(keys.by_key(b"key-7"), [7]);
    assert!(keys.hits("created").is_empty());
    assert_eq!(keys.hits("offset:[10 TO 12]"), [10, 11, 12]);
    let full = built(|_| {}, &batches);
    assert_eq!(full.hits("json.status:created"), text.hits("created"));
    assert_eq!(full.hits("headers.trace:abc").len(), 200);
}

#[test]
fn slices_join_in_offset_order() {
    let batches = json_batches(5, 30_000, 100, 300, Codec::None);
    // A writer's memory starts at about 9 MB.
    let found = built(|spec| spec.index_memory_bytes = 16_000_000, &batches);
    let searcher = found.index.reader().unwrap().searcher();
    assert_eq!(searcher.segment_readers().len(), 1);
    let reader = searcher.segment_reader(0);
    assert_eq!(reader.num_docs(), 30_000);
    let offsets = reader.fast_fields().u64("offset").unwrap();
    for doc in 0..30_000u32 {
        assert_eq!(offsets.first(doc), Some(5 + u64::from(doc)));
    }
    assert_eq!(found.by_key(b"key-5"), [5]);
    assert_eq!(found.by_key(b"key-30004"), [30_004]);
    let whole = built(|_| {}, &batches);
    for query in [
        "created",
        "json.customer.city:ka OR lo",
        "\"status delivered\"",
        "json.express:true",
    ] {
        assert_eq!(found.hits(query), whole.hits(query), "{query}");
    }
    assert_eq!(found.index.validate_checksum().unwrap().len(), 0);
}

#[test]
fn control_and_aborted_records_are_left_out() {
    let one = |base_offset, control, transactional, producer_id, word: &str| {
        let spec = BatchSpec {
            base_offset,
            control,
            transactional,
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            ..BatchSpec::default()
        };
        let records = [RecordSpec {
            value: Some(word.as_bytes()),
            key: Some(b"\0\0\0\0"),
            timestamp: TIME,
            ..RecordSpec::default()
        }];
        encode_batch(&spec, &records).unwrap()
    };
    let batches = [
        one(0, false, true, 7, "aborted"),
        one(1, false, true, 8, "committed"),
        one(2, true, true, 7, "marker"),
        one(3, false, true, 7, "later"),
        one(4, false, false, 7, "plain"),
    ];
    let aborted = AbortedRange {
        producer_id: 7,
        first_offset: 0,
        last_offset: 2,
    };
    let found = built(|spec| spec.aborted = vec![aborted], &batches);
    assert_eq!((found.summary.records, found.summary.documents), (5, 3));
    assert_eq!(found.hits("aborted OR marker"), [0u64; 0]);
    assert_eq!(found.hits("committed OR later OR plain"), [1, 3, 4]);
}

#[test]
fn nothing_to_index_is_still_an_index() {
    let spec_of_marker = BatchSpec {
        control: true,
        transactional: true,
        producer_id: 7,
        producer_epoch: 0,
        ..BatchSpec::default()
    };
    let marker = encode_batch(&spec_of_marker, &[RecordSpec::default()]).unwrap();
    let found = built(|_| {}, &[marker]);
    assert_eq!(found.summary.documents, 0);
    let searcher = found.index.reader().unwrap().searcher();
    assert_eq!(
        searcher.search(&tantivy::query::AllQuery, &Count).unwrap(),
        0
    );
}

#[test]
fn unreadable_batches_are_archived_all_the_same() {
    // A valid CRC over records that are not what the header says.
    let mut bad = json_batches(3, 4, 4, 100, Codec::Gzip).remove(0);
    let last = bad.len() - 12;
    bad[last] ^= 0x55;
    let crc = crc32c::crc32c(&bad[21..]);
    bad[17..21].copy_from_slice(&crc.to_be_bytes());
    let mut batches = json_batches(0, 3, 3, 100, Codec::None);
    batches.push(bad);
    batches.extend(json_batches(7, 3, 3, 100, Codec::None));
    let found = built(|_| {}, &batches);
    let summary = &found.summary;
    assert_eq!(
        (
            summary.records,
            summary.documents,
            summary.unindexed_records
        ),
        (10, 6, 4)
    );
    assert!(!summary.timestamps_exact);
    assert_eq!(found.hits("offset:[0 TO 100]"), [0, 1, 2, 7, 8, 9]);
    let report = verify_archive(&found.path, &Expected::default()).unwrap();
    assert_eq!(report.manifest.unindexed_records, 4);
}

#[test]
fn timestamps_at_the_ends_of_time() {
    let records: Vec<_> = [i64::MIN / 2, -1, 0, i64::MAX / 2]
        .iter()
        .enumerate()
        .map(|(i, timestamp)| RecordSpec {
            offset_delta: i as i32,
            timestamp: *timestamp,
            value: Some(b"x"),
            ..RecordSpec::default()
        })
        .collect();
    let found = built(
        |_| {},
        &[encode_batch(&BatchSpec::default(), &records).unwrap()],
    );
    assert_eq!(
        found.hits("timestamp:[1960-01-01T00:00:00Z TO 2050-01-01T00:00:00Z]"),
        [1, 2]
    );
    assert_eq!(found.summary.min_timestamp, i64::MIN / 2);
    let top = found.index.reader().unwrap().searcher();
    let docs = top.search(
        &tantivy::query::AllQuery,
        &TopDocs::with_limit(9).order_by_score(),
    );
    assert_eq!(docs.unwrap().len(), 4);
}
