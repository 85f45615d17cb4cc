//! The shapes inside an archive, as JSON says them, and the locator at its end.

use serde::{Deserialize, Serialize};

use super::ArchiveError;
use crate::index::IndexMode;

pub const FORMAT_NAME: &str = "chronik-archive";
/// Version of everything in this file.
pub const FORMAT_VERSION: u32 = 1;

/// A chunk is closed when it has this many bytes of batches.
pub const CHUNK_RAW_BYTES_MIN: usize = 256 * 1024;
/// A chunk is below the minimum before its last batch, which a request frame bounds (100 MiB).
pub const CHUNK_RAW_BYTES_MAX: usize = CHUNK_RAW_BYTES_MIN + 100 * 1024 * 1024;
pub const MANIFEST_BYTES_MAX: usize = 16 * 1024 * 1024;
pub const TOC_BYTES_MAX: usize = 16 * 1024 * 1024;
pub const CHUNKS_MAX: usize = 65_536;
pub const INDEX_FILES_MAX: usize = 64;
/// A name in `index/`: letters, digits, `.`, `_`, `-`; no dot first.
pub const INDEX_NAME_BYTES_MAX: usize = 64;

pub const MANIFEST_NAME: &str = "manifest.json";
pub const BATCHES_NAME: &str = "batches";
pub const INDEX_PREFIX: &str = "index/";
pub const TOC_NAME: &str = "toc.json";

/// `manifest.json`: what the archive is. Its own integrity is the TOC's `manifest.sha256`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always `chronik-archive`.
    pub format: String,
    /// Version of the archive format.
    pub version: u32,
    /// Version of the search schema in `index/`.
    pub schema_version: u32,
    /// Wall clock of the build, ms since 1970.
    pub created_at: i64,
    pub topic: String,
    pub topic_id: String,
    pub partition: i32,
    /// 1 for the first archive of a range; rewrites count up.
    pub generation: u32,
    pub base_offset: i64,
    pub last_offset: i64,
    /// Smallest timestamp, ms. A lower bound only when `timestamps_exact`.
    pub min_timestamp: i64,
    /// Largest timestamp of the batches' headers, ms.
    pub max_timestamp: i64,
    /// Every record was looked at for `min_timestamp`; else it is the batches' base timestamps.
    pub timestamps_exact: bool,
    /// Records, control records included.
    pub records: u64,
    pub batches: u64,
    /// Bytes of `batches`.
    pub bytes: u64,
    pub leader_epochs: Vec<LeaderEpoch>,
    pub aborted: Vec<AbortedRange>,
    /// The log's producer states at the end of the range; opaque here.
    pub producer_snapshot: Option<String>,
    pub index: IndexMode,
    /// Records in the index: neither control records nor aborted ones.
    pub documents: u64,
    /// Records left out of the index because their batch could not be read.
    pub unindexed_records: u64,
    /// Values of which only the beginning is indexed.
    pub truncated_values: u64,
    /// `batches` and `index/*` in archive order.
    pub members: Vec<Member>,
}

/// The first offset of a leader epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderEpoch {
    pub epoch: i32,
    pub start_offset: i64,
}

/// Transactional records of `producer_id` from `first_offset` to `last_offset` were aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortedRange {
    pub producer_id: i64,
    pub first_offset: i64,
    pub last_offset: i64,
}

/// A file of the archive: its length and SHA-256 (hex), both uncompressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
}

/// `toc.json`: where everything is. `position` and `length` are of gzip members in the archive,
/// `bytes` is what they hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toc {
    pub version: u32,
    pub manifest: ManifestEntry,
    pub batches: BatchesEntry,
    pub index: IndexEntry,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    pub position: u64,
    pub length: u64,
    pub bytes: u64,
    pub sha256: String,
}

/// The chunks lie end to end from `position`, `length` bytes in all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchesEntry {
    pub position: u64,
    pub length: u64,
    pub bytes: u64,
    pub chunks: Vec<ChunkEntry>,
}

/// Whole batches in one gzip member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkEntry {
    pub position: u64,
    pub length: u64,
    pub bytes: u64,
    /// CRC-32C of the batches.
    pub crc32c: u32,
    pub base_offset: i64,
    pub last_offset: i64,
    pub max_timestamp: i64,
    /// Leader epoch of the first batch.
    pub leader_epoch: i32,
}

/// One range holds every file of `index/`; tar headers lie between them. No index: all zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    pub position: u64,
    pub length: u64,
    pub files: Vec<IndexFileEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFileEntry {
    /// Without `index/`.
    pub name: String,
    pub position: u64,
    pub length: u64,
    pub bytes: u64,
}

/// Where the TOC's gzip member is, and the CRC-32C of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TocLocation {
    pub position: u64,
    pub length: u64,
    pub crc32c: u32,
}

/// The locator is an empty gzip member of this size, the last bytes of every archive.
pub const LOCATOR_BYTES: usize = 54;

const LOCATOR_MAGIC: [u8; 8] = *b"CHRNKTOC";
/// gzip header with FEXTRA alone; 32 bytes of extra: subfield `Ck` with 28 bytes of data.
const LOCATOR_HEAD: [u8; 16] = [
    0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 32, 0, b'C', b'k', 28, 0,
];
/// An empty final deflate block, CRC-32 and length 0.
const LOCATOR_END: [u8; 10] = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

impl TocLocation {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(LOCATOR_BYTES);
        out.extend_from_slice(&LOCATOR_HEAD);
        out.extend_from_slice(&LOCATOR_MAGIC);
        out.extend_from_slice(&self.position.to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.crc32c.to_le_bytes());
        out.extend_from_slice(&LOCATOR_END);
        out
    }

    /// Every byte of a locator is fixed or a number of ours; anything else is none.
    pub fn decode(bytes: &[u8; LOCATOR_BYTES]) -> Option<TocLocation> {
        let rest = bytes.strip_prefix(&LOCATOR_HEAD)?;
        let rest = rest.strip_prefix(&LOCATOR_MAGIC)?;
        let (position, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (crc32c, rest) = rest.split_first_chunk()?;
        (rest == LOCATOR_END).then(|| TocLocation {
            position: u64::from_le_bytes(*position),
            length: u64::from_le_bytes(*length),
            crc32c: u32::from_le_bytes(*crc32c),
        })
    }
}

impl Manifest {
    /// Parses and checks what any reader relies on.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ArchiveError> {
        let manifest: Manifest = parse_versioned(bytes, MANIFEST_NAME)?;
        let sound = manifest.format == FORMAT_NAME
            && manifest.base_offset >= 0
            && manifest.base_offset <= manifest.last_offset
            && manifest.partition >= 0
            && manifest.members.len() <= INDEX_FILES_MAX + 1;
        if sound {
            Ok(manifest)
        } else {
            Err(ArchiveError::damaged("manifest.json contradicts itself"))
        }
    }
}

impl Toc {
    /// Parses a TOC and checks that its ranges lie in order, without overlap, below `toc_position`
    /// (the position of the TOC itself), and its offsets rise.
    pub fn parse(bytes: &[u8], toc_position: u64) -> Result<Toc, ArchiveError> {
        let toc: Toc = parse_versioned(bytes, TOC_NAME)?;
        toc.check(toc_position)
            .map_err(|reason| ArchiveError::damaged(format!("toc.json: {reason}")))?;
        Ok(toc)
    }

    fn check(&self, toc_position: u64) -> Result<(), &'static str> {
        if self.batches.chunks.is_empty() || self.batches.chunks.len() > CHUNKS_MAX {
            return Err("number of chunks");
        }
        if self.index.files.len() > INDEX_FILES_MAX {
            return Err("number of index files");
        }
        let end = end_of(self.manifest.position, self.manifest.length)?;
        if self.manifest.bytes > MANIFEST_BYTES_MAX as u64 || self.batches.position < end {
            return Err("manifest range");
        }
        let end = self.check_chunks()?;
        let end = self.check_index(end)?;
        if end > toc_position {
            return Err("a range passes the toc");
        }
        Ok(())
    }

    fn check_chunks(&self) -> Result<u64, &'static str> {
        let mut end = self.batches.position;
        let mut bytes = 0u64;
        let mut previous_offset = -1i64;
        for chunk in &self.batches.chunks {
            if chunk.position != end {
                return Err("chunks are not end to end");
            }
            if chunk.bytes == 0 || chunk.bytes > CHUNK_RAW_BYTES_MAX as u64 {
                return Err("chunk size");
            }
            if chunk.base_offset <= previous_offset || chunk.last_offset < chunk.base_offset {
                return Err("chunk offsets do not rise");
            }
            previous_offset = chunk.last_offset;
            bytes = bytes.saturating_add(chunk.bytes);
            end = end_of(chunk.position, chunk.length)?;
        }
        if bytes != self.batches.bytes || end_of(self.batches.position, self.batches.length)? != end
        {
            return Err("chunks do not add up");
        }
        Ok(end)
    }

    fn check_index(&self, batches_end: u64) -> Result<u64, &'static str> {
        let (Some(first), Some(last)) = (self.index.files.first(), self.index.files.last()) else {
            return Ok(batches_end);
        };
        let mut end = batches_end;
        for file in &self.index.files {
            if !is_index_name(&file.name) || file.position < end {
                return Err("index files");
            }
            end = end_of(file.position, file.length)?;
        }
        let range_end = end_of(self.index.position, self.index.length)?;
        if first.position != self.index.position || end_of(last.position, last.length)? != range_end
        {
            return Err("index range");
        }
        Ok(end)
    }
}

/// Whether a file may be called so in `index/`: nothing that could leave its folder.
pub fn is_index_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= INDEX_NAME_BYTES_MAX
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn end_of(position: u64, length: u64) -> Result<u64, &'static str> {
    position.checked_add(length).ok_or("a range passes 64 bits")
}

/// A later version is told apart from damage before its shape is looked at.
fn parse_versioned<T: for<'de> Deserialize<'de>>(
    bytes: &[u8],
    name: &str,
) -> Result<T, ArchiveError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let damaged = |e: serde_json::Error| ArchiveError::damaged(format!("{name}: {e}"));
    let Versioned { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version != FORMAT_VERSION {
        return Err(ArchiveError::Version {
            found: version,
            known: FORMAT_VERSION,
        });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}
