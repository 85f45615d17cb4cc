//! A damaged or hostile archive is an error, never other bytes.

#[path = "fixtures/support.rs"]
mod support;

use std::fs;
use std::path::Path;

use chronik::archive::{
    ArchiveError, Expected, LOCATOR_BYTES, Toc, inflate_chunk, locate_toc, read_manifest,
    read_manifest_from, read_toc, verify_archive, verify_archive_from,
};
use chronik::codec::Codec;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;

use support::*;

fn sample() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    build(
        &path,
        spec(dir.path()),
        &json_batches(0, 400, 20, 200, Codec::None),
    );
    fs::read(&path).unwrap()
}

fn verify(bytes: &[u8]) -> Result<chronik::archive::VerifyReport, ArchiveError> {
    verify_archive_from(bytes, &Expected::default())
}

fn range(bytes: &[u8], position: u64, length: u64) -> &[u8] {
    &bytes[position as usize..(position + length) as usize]
}

/// The batches by way of the TOC, as a cold fetch reads them.
fn fetch_all(archive: &[u8]) -> Result<Vec<u8>, ArchiveError> {
    let tail = &archive[archive.len().saturating_sub(100)..];
    let location = locate_toc(tail, archive.len() as u64)?;
    let toc: Toc = read_toc(
        range(archive, location.position, location.length),
        &location,
    )?;
    let mut out = Vec::new();
    for chunk in &toc.batches.chunks {
        let member = range(archive, chunk.position, chunk.length);
        out.extend(inflate_chunk(member, chunk.bytes, chunk.crc32c)?);
    }
    Ok(out)
}

#[test]
fn a_flip_anywhere_is_seen() {
    let good = sample();
    let source = fetch_all(&good).unwrap();
    let sha256 = verify(&good).unwrap().sha256;
    let expected = Expected {
        sha256: Some(sha256),
        ..Expected::default()
    };
    let step = good.len() / 1500 + 1;
    let mut unseen = Vec::new();
    for position in (0..good.len())
        .step_by(step)
        .chain(good.len() - 80..good.len())
    {
        let mut bad = good.clone();
        bad[position] ^= 1 << (position % 8);
        assert!(
            verify_archive_from(&bad[..], &expected).is_err(),
            "flip at {position}"
        );
        // Without the hash only bytes that mean nothing may go unseen, and what is read is right.
        if verify(&bad).is_ok() {
            unseen.push(position);
        }
        if let Ok(read) = fetch_all(&bad) {
            assert!(read == source, "flip at {position} gives other bytes");
        }
    }
    assert!(unseen.len() < 100, "{unseen:?}");
}

#[test]
fn a_cut_anywhere_is_seen() {
    let good = sample();
    let step = good.len() / 700 + 1;
    for end in (0..good.len())
        .step_by(step)
        .chain(good.len() - 70..good.len())
    {
        assert!(verify(&good[..end]).is_err(), "cut at {end}");
        assert!(fetch_all(&good[..end]).is_err(), "cut at {end}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(verify(&longer).is_err());
    let doubled = [good.clone(), good.clone()].concat();
    assert!(verify(&doubled).is_err());
    assert!(locate_toc(&good[good.len() - LOCATOR_BYTES..], 100).is_err());
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn header(name: &str, size: u64, kind: tar::EntryType) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// The sample up to the end of its batches, padded, and what may follow.
fn hostile(after_batches: &[Vec<u8>]) -> Vec<u8> {
    let good = sample();
    let toc = verify(&good).unwrap().toc;
    let end = (toc.batches.position + toc.batches.length) as usize;
    let padding = (512 - toc.batches.bytes % 512) % 512;
    let mut out = good[..end].to_vec();
    for (index, member) in after_batches.iter().enumerate() {
        match index {
            0 => out.extend(gz(&[vec![0; padding as usize], member.clone()].concat())),
            _ => out.extend(gz(member)),
        }
    }
    out
}

#[test]
fn names_links_and_sizes_that_lie() {
    let regular = tar::EntryType::Regular;
    for name in [
        "../../etc/passwd",
        "/etc/passwd",
        "index/../x",
        "index//x",
        "index/.x",
        "index/",
        "index/a/b",
        "index/a\\b",
        "other",
        "batches",
        "manifest.json",
        "index/a b",
    ] {
        let error = verify(&hostile(&[header(name, 1, regular), vec![1]])).unwrap_err();
        assert!(
            error.to_string().contains("unexpected file"),
            "{name}: {error}"
        );
    }
    for kind in [
        tar::EntryType::Symlink,
        tar::EntryType::Link,
        tar::EntryType::Directory,
        tar::EntryType::Char,
        tar::EntryType::GNULongName,
        tar::EntryType::XHeader,
        tar::EntryType::GNUSparse,
        tar::EntryType::Fifo,
    ] {
        let error = verify(&hostile(&[header("index/a", 0, kind)])).unwrap_err();
        assert!(
            error.to_string().contains("not a regular file"),
            "{kind:?}: {error}"
        );
    }
    // More bytes than stated, fewer, and an absurd toc.
    let more = hostile(&[header("index/a", 5, regular), vec![1; 6]]);
    assert!(
        verify(&more)
            .unwrap_err()
            .to_string()
            .contains("more than 5 bytes")
    );
    let fewer = hostile(&[header("index/a", 5, regular), vec![1; 4]]);
    assert!(verify(&fewer).unwrap_err().to_string().contains("shorter"));
    let toc = hostile(&[header("toc.json", 1 << 40, regular), vec![1; 4]]);
    assert!(verify(&toc).unwrap_err().to_string().contains("too large"));
    let mut bad_sum = header("index/a", 5, regular);
    bad_sum[0] ^= 1;
    assert!(
        verify(&hostile(&[bad_sum]))
            .unwrap_err()
            .to_string()
            .contains("checksum")
    );
    let padded = hostile(&[[vec![7; 512], header("index/a", 5, regular)].concat()]);
    assert!(verify(&padded).is_err());
}

/// The sample with its manifest and TOC written anew, as one who lies about a member would.
fn with_manifest(change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let good = sample();
    let report = verify(&good).unwrap();
    let mut manifest = serde_json::to_value(&report.manifest).unwrap();
    change(&mut manifest);
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let regular = tar::EntryType::Regular;
    let name = |name: &str, bytes: usize| gz(&header(name, bytes as u64, regular));
    let mut out = [name("manifest.json", manifest.len()), gz(&manifest)].concat();
    let old = &report.toc.manifest;
    let mut toc = serde_json::to_value(&report.toc).unwrap();
    toc["manifest"] = serde_json::json!({
        "position": out.len() - gz(&manifest).len(), "length": gz(&manifest).len(),
        "bytes": manifest.len(), "sha256": sha256(&manifest),
    });
    let padding = |bytes: usize| vec![0; (512 - bytes % 512) % 512];
    let block = header("batches", report.toc.batches.bytes, regular);
    out.extend(gz(&[padding(manifest.len()), block].concat()));
    // Batches and index as they were, from here on: only their positions move.
    let from = report.toc.batches.position;
    let to = report.toc.index.position + report.toc.index.length;
    let shift = out.len() as i64 - from as i64;
    assert!(old.position < from && from < to);
    out.extend(range(&good, from, to - from));
    shift_positions(&mut toc["batches"], shift);
    shift_positions(&mut toc["index"], shift);
    let json = serde_json::to_vec(&toc).unwrap();
    let last = report.toc.index.files.last().unwrap().bytes as usize;
    let block = header("toc.json", json.len() as u64, regular);
    out.extend(gz(&[padding(last), block].concat()));
    let location = chronik::archive::TocLocation {
        position: out.len() as u64,
        length: gz(&json).len() as u64,
        crc32c: crc32c::crc32c(&json),
    };
    out.extend(gz(&json));
    out.extend(gz(&[padding(json.len()), vec![0; 1024]].concat()));
    out.extend(location.encode());
    out
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    format!("{:x}", Sha256::digest(bytes))
}

fn shift_positions(value: &mut serde_json::Value, shift: i64) {
    match value {
        serde_json::Value::Array(all) => all.iter_mut().for_each(|one| shift_positions(one, shift)),
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_i64().filter(|_| name == "position") {
                    Some(position) => *field = (position + shift).into(),
                    None => shift_positions(field, shift),
                }
            }
        }
        _ => {}
    }
}

/// Every member's hash counts: one that lies in an otherwise consistent archive is seen.
#[test]
fn a_member_hash_that_lies_is_seen() {
    verify(&with_manifest(|_| {})).unwrap();
    let members = verify(&sample()).unwrap().manifest.members.len();
    assert!(members > 2, "batches and an index");
    for member in 0..members {
        let lying = with_manifest(|manifest| {
            manifest["members"][member]["sha256"] = sha256(b"other bytes").into();
        });
        let error = verify(&lying).unwrap_err();
        assert!(
            error.to_string().contains("disagree"),
            "member {member}: {error}"
        );
    }
}

#[test]
fn a_million_entries_are_not_walked() {
    let regular = tar::EntryType::Regular;
    let mut members = Vec::new();
    for i in 0..200 {
        members.push(header(&format!("index/f{i}"), 0, regular));
        members.push(Vec::new());
    }
    let error = verify(&hostile(&members)).unwrap_err();
    assert!(error.to_string().contains("too many files"), "{error}");
}

#[test]
fn bombs_in_an_archive() {
    let regular = tar::EntryType::Regular;
    let zeros = vec![0u8; 64 << 20];
    let manifest = [gz(&header("manifest.json", 64 << 20, regular)), gz(&zeros)].concat();
    assert!(verify(&manifest).is_err());
    assert!(read_manifest_from(&manifest[..]).is_err());
    let lying = [gz(&header("manifest.json", 100, regular)), gz(&zeros)].concat();
    assert!(
        read_manifest_from(&lying[..])
            .unwrap_err()
            .to_string()
            .contains("more than 100")
    );
    let first_member = gz(&zeros);
    assert!(read_manifest_from(&first_member[..]).is_err());
    assert!(
        inflate_chunk(&gz(&zeros), 1000, 0)
            .unwrap_err()
            .to_string()
            .contains("more than")
    );
    assert!(inflate_chunk(&gz(b"abc"), u64::MAX, 0).is_err());
    let crc = crc32c::crc32c(b"abc");
    assert_eq!(inflate_chunk(&gz(b"abc"), 3, crc).unwrap(), b"abc");
    assert!(inflate_chunk(&gz(b"abc"), 4, crc).is_err());
    assert!(inflate_chunk(&gz(b"abc"), 3, crc ^ 1).is_err());
    assert!(inflate_chunk(&[gz(b"abc"), gz(b"d")].concat(), 3, crc).is_err());
}

#[test]
fn a_later_version_says_so() {
    let regular = tar::EntryType::Regular;
    let json = br#"{"version":2,"shape":"unknown here"}"#;
    let archive = [
        gz(&header("manifest.json", json.len() as u64, regular)),
        gz(json),
    ]
    .concat();
    let error = read_manifest_from(&archive[..]).unwrap_err();
    assert!(
        matches!(error, ArchiveError::Version { found: 2, known: 1 }),
        "{error}"
    );
}

/// Written once by version 1 and kept: every later version reads it.
#[test]
fn the_archive_of_version_1_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/archive-v1");
    let path = folder.join("segment-40-159.tar.gz");
    let source: Vec<Vec<u8>> = CODECS
        .iter()
        .enumerate()
        .flat_map(|(i, codec)| json_batches(40 + 24 * i as i64, 24, 12, 150, *codec))
        .collect();
    if std::env::var_os("CHRONIK_WRITE_FIXTURES").is_some() {
        fs::create_dir_all(&folder).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        build(&path, spec(scratch.path()), &source);
        fs::write(folder.join("batches.bin"), source.concat()).unwrap();
    }
    let batches = fs::read(folder.join("batches.bin")).unwrap();
    let report = verify_archive(&path, &Expected::default()).unwrap();
    assert_eq!(fetch_all(&fs::read(&path).unwrap()).unwrap(), batches);
    let manifest = read_manifest(&path).unwrap();
    assert_eq!((manifest.base_offset, manifest.last_offset), (40, 159));
    assert_eq!((manifest.topic.as_str(), manifest.partition), ("orders", 2));
    assert_eq!((manifest.records, manifest.documents), (120, 120));
    assert_eq!(manifest.created_at, TIME);

    let opened = tempfile::tempdir().unwrap();
    let archive = fs::read(&path).unwrap();
    for file in &report.toc.index.files {
        let mut out = fs::File::create(opened.path().join(&file.name)).unwrap();
        let member = range(&archive, file.position, file.length);
        chronik::archive::copy_member(member, file.bytes, &mut out).unwrap();
    }
    let index = tantivy::Index::open_in_dir(opened.path()).unwrap();
    let field = index.schema().get_field("key").unwrap();
    let query = tantivy::query::TermQuery::new(
        tantivy::Term::from_field_text(field, "key-77"),
        tantivy::schema::IndexRecordOption::Basic,
    );
    let searcher = index.reader().unwrap().searcher();
    let hits = searcher.search(&query, &tantivy::collector::Count).unwrap();
    assert_eq!(hits, 1);
}
