//! Verifies a whole archive in one pass over its bytes, in bounded memory.
//!
//! Two views must agree: the tar as any tool sees it, member by member, and the TOC.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::ArchiveError;
use super::format::{
    BATCHES_NAME, CHUNK_RAW_BYTES_MAX, CHUNKS_MAX, ChunkEntry, INDEX_FILES_MAX, INDEX_PREFIX,
    IndexFileEntry, LOCATOR_BYTES, MANIFEST_BYTES_MAX, MANIFEST_NAME, Manifest, Member,
    TOC_BYTES_MAX, TOC_NAME, Toc, TocLocation, is_index_name,
};
use super::gzip::MemberReader;
use super::reader::locate_toc;
use super::tar::{BLOCK_BYTES, decode_header, padding_of};
use crate::record::{Origin, batches, validate_header};

/// What the archive must be; `None` is not compared.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    pub size: Option<u64>,
    /// SHA-256 of the file, hex.
    pub sha256: Option<String>,
    pub topic_id: Option<String>,
    pub partition: Option<i32>,
    pub generation: Option<u32>,
    pub base_offset: Option<i64>,
    pub last_offset: Option<i64>,
    pub records: Option<u64>,
    pub batches_sha256: Option<String>,
}

/// What was found, once everything held.
#[derive(Debug, Clone)]
pub struct VerifyReport {
    pub manifest: Manifest,
    pub toc: Toc,
    pub toc_location: TocLocation,
    pub size: u64,
    pub sha256: String,
}

/// Verifies the archive at `path`.
pub fn verify_archive(path: &Path, expected: &Expected) -> Result<VerifyReport, ArchiveError> {
    let file = File::open(path).map_err(ArchiveError::io("open", path))?;
    verify_archive_from(file, expected)
}

/// Verifies the archive that `source` reads: hash and size of the file, hash of every member,
/// every batch's CRC and place, and that manifest, TOC and content say the same.
pub fn verify_archive_from(
    source: impl Read,
    expected: &Expected,
) -> Result<VerifyReport, ArchiveError> {
    let mut walk = Walk {
        members: MemberReader::new(source),
        padding: 0,
    };
    let (manifest, manifest_range, manifest_sha256) = walk.manifest()?;
    let found = walk.batches(&manifest)?;
    let (index, toc_entry) = walk.index()?;
    let (toc, location) = walk.toc(toc_entry)?;
    let (size, sha256) = walk.members.finish();

    check_manifest(&manifest, &found, &index)?;
    let manifest_agrees = toc.manifest.position == manifest_range.0
        && toc.manifest.length == manifest_range.1
        && toc.manifest.sha256 == manifest_sha256;
    let index_agrees = toc
        .index
        .files
        .iter()
        .eq(index.iter().map(|(entry, _)| entry));
    if !manifest_agrees || !index_agrees || toc.batches.chunks != found.chunks {
        return Err(ArchiveError::damaged("toc.json and the content disagree"));
    }
    let report = VerifyReport {
        manifest,
        toc,
        toc_location: location,
        size,
        sha256,
    };
    check_expected(&report, expected)?;
    Ok(report)
}

/// What the batches say of themselves.
struct FoundBatches {
    chunks: Vec<ChunkEntry>,
    sha256: String,
    bytes: u64,
    records: u64,
    batches: u64,
    base_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
}

type FoundIndex = Vec<(IndexFileEntry, String)>;

struct Walk<R: Read> {
    members: MemberReader<R>,
    /// Zeros that must stand before the next header.
    padding: usize,
}

impl<R: Read> Walk<R> {
    fn header(&mut self) -> Result<(String, u64), ArchiveError> {
        let bytes_max = (self.padding + BLOCK_BYTES) as u64;
        let block = self.members.read_member(bytes_max)?;
        let (padding, header) = block
            .split_at_checked(self.padding)
            .ok_or_else(|| ArchiveError::damaged("tar padding is missing"))?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::damaged("tar padding is not zero"));
        }
        let (name, bytes) = decode_header(header)?;
        self.padding = padding_of(bytes);
        Ok((name, bytes))
    }

    fn manifest(&mut self) -> Result<(Manifest, (u64, u64), String), ArchiveError> {
        let (name, bytes) = self.header()?;
        if name != MANIFEST_NAME || bytes > MANIFEST_BYTES_MAX as u64 {
            return Err(ArchiveError::damaged("manifest.json does not come first"));
        }
        let position = self.members.position();
        let json = self.whole_member(bytes)?;
        let length = self.members.position() - position;
        let manifest = Manifest::parse(&json)?;
        let sha256 = format!("{:x}", Sha256::digest(&json));
        Ok((manifest, (position, length), sha256))
    }

    fn batches(&mut self, manifest: &Manifest) -> Result<FoundBatches, ArchiveError> {
        let (name, bytes) = self.header()?;
        if name != BATCHES_NAME || bytes != manifest.bytes || bytes == 0 {
            return Err(ArchiveError::damaged("batches do not follow the manifest"));
        }
        let mut hash = Sha256::new();
        let mut found = FoundBatches {
            chunks: Vec::new(),
            sha256: String::new(),
            bytes: 0,
            records: 0,
            batches: 0,
            base_offset: -1,
            last_offset: -1,
            max_timestamp: -1,
        };
        while found.bytes < bytes {
            if found.chunks.len() >= CHUNKS_MAX {
                return Err(ArchiveError::damaged("too many chunks"));
            }
            let left = bytes - found.bytes;
            let position = self.members.position();
            let chunk = self
                .members
                .read_member(left.min(CHUNK_RAW_BYTES_MAX as u64))?;
            let length = self.members.position() - position;
            hash.update(&chunk);
            let mut entry = check_chunk(&chunk, &mut found, manifest.generation)?;
            entry.position = position;
            entry.length = length;
            found.bytes += chunk.len() as u64;
            found.chunks.push(entry);
        }
        found.sha256 = format!("{:x}", hash.finalize());
        Ok(found)
    }

    /// The files of `index/`, and the size of the TOC that ends them.
    fn index(&mut self) -> Result<(FoundIndex, u64), ArchiveError> {
        let mut files = Vec::new();
        loop {
            let (name, bytes) = self.header()?;
            if name == TOC_NAME {
                return Ok((files, bytes));
            }
            let Some(name) = name.strip_prefix(INDEX_PREFIX).filter(|n| is_index_name(n)) else {
                return Err(ArchiveError::damaged("unexpected file in the archive"));
            };
            if files.len() >= INDEX_FILES_MAX {
                return Err(ArchiveError::damaged("too many files in the archive"));
            }
            let position = self.members.position();
            let mut hash = HashSink(Sha256::new());
            if self.members.copy_member(bytes, &mut hash)? != bytes {
                return Err(ArchiveError::damaged("index file is shorter than stated"));
            }
            let entry = IndexFileEntry {
                name: name.to_owned(),
                position,
                length: self.members.position() - position,
                bytes,
            };
            files.push((entry, format!("{:x}", hash.0.finalize())));
        }
    }

    /// The TOC, the end of the tar, the locator, and then nothing.
    fn toc(&mut self, bytes: u64) -> Result<(Toc, TocLocation), ArchiveError> {
        if bytes > TOC_BYTES_MAX as u64 {
            return Err(ArchiveError::damaged("toc.json is too large"));
        }
        let position = self.members.position();
        let json = self.whole_member(bytes)?;
        let length = self.members.position() - position;
        let end = self.padding + 2 * BLOCK_BYTES;
        let zeros = self.members.read_member(end as u64)?;
        if zeros.len() != end || zeros.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::damaged(
                "the tar does not end in two zero blocks",
            ));
        }
        let tail = self.members.read_raw(LOCATOR_BYTES)?;
        let found = TocLocation {
            position,
            length,
            crc32c: crc32c::crc32c(&json),
        };
        let location = locate_toc(&tail, self.members.position())?;
        if location != found {
            return Err(ArchiveError::damaged("the locator names another toc"));
        }
        Ok((Toc::parse(&json, position)?, location))
    }

    fn whole_member(&mut self, bytes: u64) -> Result<Vec<u8>, ArchiveError> {
        let content = self.members.read_member(bytes)?;
        if content.len() as u64 != bytes {
            return Err(ArchiveError::damaged("file is shorter than stated"));
        }
        Ok(content)
    }
}

/// Checks a chunk's batches and adds them to what was found; position and length stay 0.
fn check_chunk(
    chunk: &[u8],
    found: &mut FoundBatches,
    generation: u32,
) -> Result<ChunkEntry, ArchiveError> {
    let mut entry: Option<ChunkEntry> = None;
    for batch in batches(chunk) {
        let at = |source| ArchiveError::Batch {
            offset: found.last_offset + 1,
            source,
        };
        let batch = batch.map_err(at)?;
        let header = validate_header(batch.bytes, Origin::Log)
            .map_err(at)?
            .header;
        let due = found.last_offset + 1;
        let first = found.batches == 0;
        let base_offset = header.base_offset;
        let contiguous = match generation {
            1 => first || base_offset == due,
            _ => base_offset >= due,
        };
        if base_offset < 0 || !contiguous || header.last_offset() == i64::MAX {
            return Err(ArchiveError::NotContiguous {
                base_offset,
                expected: due,
            });
        }
        let chunk_entry = entry.get_or_insert(ChunkEntry {
            position: 0,
            length: 0,
            bytes: chunk.len() as u64,
            crc32c: crc32c::crc32c(chunk),
            base_offset,
            last_offset: 0,
            max_timestamp: header.max_timestamp,
            leader_epoch: header.leader_epoch,
        });
        chunk_entry.last_offset = header.last_offset();
        chunk_entry.max_timestamp = chunk_entry.max_timestamp.max(header.max_timestamp);
        if first {
            found.base_offset = base_offset;
        }
        found.last_offset = header.last_offset();
        found.records += u64::try_from(header.record_count).unwrap_or(0);
        found.batches += 1;
        found.max_timestamp = found.max_timestamp.max(header.max_timestamp);
    }
    entry.ok_or_else(|| ArchiveError::damaged("empty chunk"))
}

fn check_manifest(
    manifest: &Manifest,
    found: &FoundBatches,
    index: &FoundIndex,
) -> Result<(), ArchiveError> {
    let batches = Member {
        name: BATCHES_NAME.to_owned(),
        bytes: found.bytes,
        sha256: found.sha256.clone(),
    };
    let index = index.iter().map(|(entry, sha256)| Member {
        name: format!("{INDEX_PREFIX}{}", entry.name),
        bytes: entry.bytes,
        sha256: sha256.clone(),
    });
    let members: Vec<Member> = std::iter::once(batches).chain(index).collect();
    if members != manifest.members {
        return Err(ArchiveError::damaged(
            "manifest.json and the files disagree",
        ));
    }
    if manifest.index.has_index() != (members.len() > 1) {
        return Err(ArchiveError::damaged("manifest.json and index/ disagree"));
    }
    // A rewrite may have left nothing at the ends of the range it covers.
    let covers = match manifest.generation {
        1 => manifest.base_offset == found.base_offset && manifest.last_offset == found.last_offset,
        _ => manifest.base_offset <= found.base_offset && manifest.last_offset >= found.last_offset,
    };
    let agrees = covers
        && manifest.records == found.records
        && manifest.batches == found.batches
        && manifest.max_timestamp == found.max_timestamp;
    if agrees {
        Ok(())
    } else {
        Err(ArchiveError::damaged(
            "manifest.json and the batches disagree",
        ))
    }
}

fn check_expected(report: &VerifyReport, expected: &Expected) -> Result<(), ArchiveError> {
    let manifest = &report.manifest;
    let batches_sha256 = manifest.members.first().map_or("", |m| &m.sha256);
    same("size", &report.size, expected.size.as_ref())?;
    same("sha256", &report.sha256, expected.sha256.as_ref())?;
    same("topic_id", &manifest.topic_id, expected.topic_id.as_ref())?;
    same(
        "partition",
        &manifest.partition,
        expected.partition.as_ref(),
    )?;
    same(
        "generation",
        &manifest.generation,
        expected.generation.as_ref(),
    )?;
    same(
        "base_offset",
        &manifest.base_offset,
        expected.base_offset.as_ref(),
    )?;
    same(
        "last_offset",
        &manifest.last_offset,
        expected.last_offset.as_ref(),
    )?;
    same("records", &manifest.records, expected.records.as_ref())?;
    same(
        "sha256 of batches",
        &batches_sha256.to_owned(),
        expected.batches_sha256.as_ref(),
    )
}

fn same<T: PartialEq + std::fmt::Display>(
    what: &'static str,
    found: &T,
    expected: Option<&T>,
) -> Result<(), ArchiveError> {
    match expected {
        Some(expected) if expected != found => Err(ArchiveError::Mismatch {
            what,
            found: found.to_string(),
            expected: expected.to_string(),
        }),
        _ => Ok(()),
    }
}

struct HashSink(Sha256);

impl Write for HashSink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
