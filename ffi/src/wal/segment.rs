//! One segment file: its metadata, its footer once sealed, and how readers get at it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use serde::Serialize;

use super::cache::Lru;
use super::error::WalError;
use super::frame::{FLAG_FOOTER, FRAME_BYTES_READ_MAX, FrameHeader, HEADER_BYTES, Identity};
use super::index::{ENTRY_BYTES, SparseIndex};
use super::scan::{Scanner, Step};
use crate::bytes::{i64_le, read, u32_le, u64_le, write};
use crate::disk::{Disk, DiskFile, OpenMode, is_out_of_files, read_full};

/// What a segment holds; goes to the broker as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SegmentMeta {
    pub id: u64,
    pub base: i64,
    pub last: i64,
    /// Frames, in bytes (headers included, footer not): the durable end.
    pub bytes: u64,
    pub records: u64,
    /// Largest timestamp of its batches; -1 = none.
    pub max_timestamp: i64,
    pub sealed: bool,
    pub cleaned: bool,
    /// Wall clock of the first append.
    pub first_append_ms: i64,
}

/// Mutable part of a segment.
pub struct SegmentState {
    pub meta: SegmentMeta,
    /// Kept while active; sealed segments load theirs from the footer.
    pub index: Option<Arc<SparseIndex>>,
    /// Released, truncated or replaced: look the offset up again.
    pub obsolete: bool,
}

/// A segment as readers share it.
pub struct Segment {
    pub id: u64,
    pub base: i64,
    pub path: PathBuf,
    pub identity: Identity,
    /// Unique in the process: the key of both caches (a rewritten file is another key).
    pub key: u64,
    pub state: RwLock<SegmentState>,
}

impl Segment {
    /// A copy of the metadata.
    pub fn meta(&self) -> SegmentMeta {
        read(&self.state).meta
    }

    /// Marks the segment as no longer part of the log.
    pub fn retire(&self) {
        write(&self.state).obsolete = true;
    }
}

/// Open files and sparse indexes of all logs.
pub struct Files {
    pub disk: Arc<dyn Disk>,
    open: Lru<u64, Arc<dyn DiskFile>>,
    indexes: Lru<u64, Arc<SparseIndex>>,
}

/// A view on a segment that stays valid whatever happens to the log meanwhile.
pub struct Pinned {
    pub file: Arc<dyn DiskFile>,
    pub index: Arc<SparseIndex>,
    pub meta: SegmentMeta,
}

impl Files {
    pub fn new(disk: Arc<dyn Disk>, files_open_max: usize, index_bytes_max: usize) -> Self {
        Files {
            disk,
            open: Lru::new(files_open_max.max(1)),
            indexes: Lru::new(index_bytes_max),
        }
    }

    /// Files held open now.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// The open file of a segment, from the cache or opened now.
    pub fn file(&self, segment: &Segment) -> Result<Arc<dyn DiskFile>, WalError> {
        if let Some(file) = self.open.get(segment.key) {
            return Ok(file);
        }
        let opened = self.with_room(|| self.disk.open(&segment.path, OpenMode::ReadWrite));
        let file = opened.map_err(|error| WalError::io("open", &segment.path, error))?;
        self.open.put(segment.key, Arc::clone(&file), 1);
        Ok(file)
    }

    /// Runs what needs a descriptor; where none is left the cached files give theirs up first.
    pub fn with_room<T>(&self, run: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match run() {
            Err(error) if is_out_of_files(&error) => {
                self.open.clear();
                run()
            }
            other => other,
        }
    }

    /// Keeps a file that was just created.
    pub fn adopt(&self, segment: &Segment, file: Arc<dyn DiskFile>) {
        self.open.put(segment.key, file, 1);
    }

    /// Forgets a segment's file and index.
    pub fn forget(&self, segment: &Segment) {
        self.open.remove(segment.key);
        self.indexes.remove(segment.key);
    }

    /// File, index and durable end together; None when the segment left the log meanwhile.
    pub fn pin(&self, segment: &Segment) -> Result<Option<Pinned>, WalError> {
        // Under the segment's lock: whoever unlinks or replaces the file marks it first.
        let state = read(&segment.state);
        if state.obsolete {
            return Ok(None);
        }
        let file = self.file(segment)?;
        let meta = state.meta;
        let index = match &state.index {
            Some(index) => Arc::clone(index),
            None => self.sealed_index(segment, file.as_ref())?,
        };
        Ok(Some(Pinned { file, index, meta }))
    }

    fn sealed_index(
        &self,
        segment: &Segment,
        file: &dyn DiskFile,
    ) -> Result<Arc<SparseIndex>, WalError> {
        if let Some(index) = self.indexes.get(segment.key) {
            return Ok(index);
        }
        let footer = read_footer(file, segment.identity, &segment.path)?;
        let Some((_, index)) = footer else {
            return Err(WalError::Corrupt {
                file: segment.path.clone(),
                position: 0,
                reason: "the footer of a sealed segment is gone".into(),
            });
        };
        let index = Arc::new(index);
        self.indexes
            .put(segment.key, Arc::clone(&index), index.bytes());
        Ok(index)
    }
}

const FOOTER_VERSION: u32 = 1;
const FOOTER_FIXED_BYTES: usize = 64;
const TRAILER_BYTES: usize = 16;
const TRAILER_MAGIC: [u8; 8] = *b"CHWLEND2";
const FLAG_CLEANED: u32 = 1;

/// The body of a footer frame: metadata, sparse index, and where the frame starts.
pub fn encode_footer(meta: &SegmentMeta, index: &SparseIndex) -> Vec<u8> {
    let entries = index.entries().len();
    let mut out = Vec::with_capacity(FOOTER_FIXED_BYTES + entries * ENTRY_BYTES + TRAILER_BYTES);
    let flags = if meta.cleaned { FLAG_CLEANED } else { 0 };
    out.extend_from_slice(&FOOTER_VERSION.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&meta.base.to_le_bytes());
    out.extend_from_slice(&meta.last.to_le_bytes());
    out.extend_from_slice(&meta.bytes.to_le_bytes());
    out.extend_from_slice(&meta.records.to_le_bytes());
    out.extend_from_slice(&meta.max_timestamp.to_le_bytes());
    out.extend_from_slice(&meta.first_append_ms.to_le_bytes());
    out.extend_from_slice(&(entries as u64).to_le_bytes());
    index.encode(&mut out);
    out.extend_from_slice(&meta.bytes.to_le_bytes());
    out.extend_from_slice(&TRAILER_MAGIC);
    out
}

/// Reads a footer's body; None when it is not one this build wrote.
pub fn decode_footer(id: u64, body: &[u8]) -> Option<(SegmentMeta, SparseIndex)> {
    if u32_le(body, 0)? != FOOTER_VERSION {
        return None;
    }
    let meta = SegmentMeta {
        id,
        base: i64_le(body, 8)?,
        last: i64_le(body, 16)?,
        bytes: u64_le(body, 24)?,
        records: u64_le(body, 32)?,
        max_timestamp: i64_le(body, 40)?,
        first_append_ms: i64_le(body, 48)?,
        sealed: true,
        cleaned: u32_le(body, 4)? & FLAG_CLEANED != 0,
    };
    let entries = usize::try_from(u64_le(body, 56)?).ok()?;
    let end = FOOTER_FIXED_BYTES.checked_add(entries.checked_mul(ENTRY_BYTES)?)?;
    let index = SparseIndex::decode(body.get(FOOTER_FIXED_BYTES..end)?)?;
    let whole = body.len() == end + TRAILER_BYTES && u64_le(body, end)? == meta.bytes;
    whole.then_some((meta, index))
}

/// The footer at the file's very end, verified; None when the file does not end with one.
pub fn read_footer(
    file: &dyn DiskFile,
    identity: Identity,
    path: &Path,
) -> Result<Option<(SegmentMeta, SparseIndex)>, WalError> {
    let fail = |error| WalError::io("read", path, error);
    let file_bytes = file.bytes().map_err(fail)?;
    let least = (HEADER_BYTES + FOOTER_FIXED_BYTES + TRAILER_BYTES) as u64;
    if file_bytes < least {
        return Ok(None);
    }
    let mut trailer = [0; TRAILER_BYTES];
    read_full(file, &mut trailer, file_bytes - TRAILER_BYTES as u64).map_err(fail)?;
    let position = u64_le(&trailer, 0).unwrap_or(u64::MAX);
    if trailer.get(8..) != Some(&TRAILER_MAGIC) || position > file_bytes - least {
        return Ok(None);
    }
    let mut scanner = Scanner::new(file, identity, position, file_bytes, FRAME_BYTES_READ_MAX);
    let Step::Frame(frame) = scanner.step().map_err(fail)? else {
        return Ok(None);
    };
    let ends_here = position + u64::from(frame.header.length) == file_bytes;
    if frame.header.flags & FLAG_FOOTER == 0 || !ends_here {
        return Ok(None);
    }
    let (salt, version) = (frame.header.salt, u32_le(frame.body, 0));
    let decoded = decode_footer(identity.segment_id, frame.body);
    if is_foreign(file, identity, salt, file_bytes).map_err(fail)? {
        return Ok(None);
    }
    let Some((meta, index)) = decoded else {
        let found = u64::from(version.unwrap_or(0));
        if found == u64::from(FOOTER_VERSION) {
            return Ok(None);
        }
        let known = u64::from(FOOTER_VERSION);
        let file = path.to_owned();
        return Err(WalError::UnknownVersion {
            file,
            what: "footer",
            found,
            known,
        });
    };
    Ok(Some((meta, index)))
}

/// True when the file's first frame is intact and of another salt: what looks like the footer was
/// put at the end of a batch by a client.
fn is_foreign(file: &dyn DiskFile, identity: Identity, salt: u32, limit: u64) -> io::Result<bool> {
    let mut head = [0; HEADER_BYTES];
    let got = read_full(file, &mut head, 0)?;
    match FrameHeader::parse(head.get(..got).unwrap_or_default()) {
        Ok(first) if first.salt != salt => {
            let mut scanner = Scanner::new(file, identity, 0, limit, FRAME_BYTES_READ_MAX);
            Ok(matches!(scanner.step()?, Step::Frame(_)))
        }
        Ok(_) | Err(_) => Ok(false),
    }
}

/// The header of a footer frame.
pub fn footer_header(meta: &SegmentMeta, identity: Identity, salt: u32, now: i64) -> FrameHeader {
    FrameHeader {
        flags: FLAG_FOOTER,
        length: 0,
        crc: 0,
        identity,
        record_count: 0,
        base_offset: meta.base,
        last_offset: meta.last,
        synced_to: meta.bytes,
        leader_epoch: 0,
        salt,
        append_ms: now,
    }
}

/// `{dir}/{prefix}_{id}.log`
pub fn segment_path(dir: &Path, prefix: &str, id: u64) -> PathBuf {
    dir.join(format!("{prefix}_{id}.log"))
}

/// The id in a segment file's name; None for any other name.
pub fn parse_segment_name(prefix: &str, name: &str) -> Option<u64> {
    let digits = name
        .strip_prefix(prefix)?
        .strip_prefix('_')?
        .strip_suffix(".log")?;
    let id: u64 = digits.parse().ok()?;
    (id.to_string() == digits).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(parse_segment_name("wal_0", "wal_0_17.log"), Some(17));
        for bad in [
            "wal_0_017.log",
            "wal_1_17.log",
            "wal_0_.log",
            "wal_0_+1.log",
            "wal_0_1.log.x",
        ] {
            assert_eq!(parse_segment_name("wal_0", bad), None, "{bad}");
        }
    }
}
