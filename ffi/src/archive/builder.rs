//! Builds an archive from batches in offset order, in bounded memory.
//!
//! The manifest stands first but says what comes after it: chunks are compressed to a scratch file
//! while batches arrive, the index to a scratch folder, and `finish` lays the archive down.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ArchiveError;
use super::format::{
    AbortedRange, BATCHES_NAME, BatchesEntry, CHUNK_RAW_BYTES_MAX, CHUNK_RAW_BYTES_MIN, CHUNKS_MAX,
    ChunkEntry, FORMAT_NAME, FORMAT_VERSION, INDEX_PREFIX, IndexEntry, IndexFileEntry,
    MANIFEST_BYTES_MAX, MANIFEST_NAME, Manifest, ManifestEntry, Member, TOC_BYTES_MAX, TOC_NAME,
    Toc, TocLocation,
};
use super::gzip::{Level, MemberEncoder};
use super::indexing::{Indexed, Indexing};
use super::scratch::ScratchFolder;
use super::spec::{ArchiveSpec, ArchiveSummary};
use super::writer::{ArchiveWriter, Range};
use crate::codec::Codec;
use crate::index::{IndexFile, SCHEMA_VERSION};
use crate::record::{Batch, BatchHeader, Origin, batches, validate_header};

/// Takes batches, then `finish`. Dropped before that, it leaves nothing behind.
pub struct ArchiveBuilder {
    path: PathBuf,
    spec: ArchiveSpec,
    scratch: ScratchFolder,
    encoder: MemberEncoder,
    members_path: PathBuf,
    members: BufWriter<File>,
    members_bytes: u64,
    chunk: Vec<u8>,
    chunk_compressed_bytes: usize,
    chunk_entry: Option<ChunkEntry>,
    chunks: Vec<ChunkEntry>,
    batches_hash: Sha256,
    indexing: Indexing,
    totals: Totals,
    cpu_start: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Totals {
    base_offset: i64,
    last_offset: i64,
    records: u64,
    batches: u64,
    bytes: u64,
    max_timestamp: i64,
}

impl ArchiveBuilder {
    /// Nothing is written to `path` before `finish`.
    pub fn create(path: &Path, spec: ArchiveSpec) -> Result<ArchiveBuilder, ArchiveError> {
        let scratch = ScratchFolder::create(&spec.scratch_dir)?;
        let indexing = Indexing::new(&spec, scratch.path());
        ArchiveBuilder::begin(path, spec, scratch, indexing)
    }

    /// The same, with an index that was made otherwise, its files somewhere in `scratch`.
    pub(super) fn create_indexed(
        path: &Path,
        spec: ArchiveSpec,
        scratch: ScratchFolder,
        indexed: Indexed,
    ) -> Result<ArchiveBuilder, ArchiveError> {
        let indexing = Indexing::done(indexed, spec.index_mode);
        ArchiveBuilder::begin(path, spec, scratch, indexing)
    }

    fn begin(
        path: &Path,
        spec: ArchiveSpec,
        scratch: ScratchFolder,
        indexing: Indexing,
    ) -> Result<ArchiveBuilder, ArchiveError> {
        if spec.partition < 0 || spec.generation == 0 || spec.topic.is_empty() {
            return Err(ArchiveError::Spec("topic, partition or generation".into()));
        }
        if spec.generation == 1 && spec.range.is_some() {
            return Err(ArchiveError::Spec(
                "a first generation has no other range".into(),
            ));
        }
        let members_path = scratch.path().join("members");
        let members =
            File::create(&members_path).map_err(ArchiveError::io("create", &members_path))?;
        Ok(ArchiveBuilder {
            path: path.to_path_buf(),
            spec,
            scratch,
            encoder: MemberEncoder::new(),
            members_path,
            members: BufWriter::new(members),
            members_bytes: 0,
            chunk: Vec::with_capacity(CHUNK_RAW_BYTES_MIN * 2),
            chunk_compressed_bytes: 0,
            chunk_entry: None,
            chunks: Vec::new(),
            batches_hash: Sha256::new(),
            indexing,
            totals: Totals {
                base_offset: -1,
                last_offset: -1,
                records: 0,
                batches: 0,
                bytes: 0,
                max_timestamp: -1,
            },
            cpu_start: thread_cpu_ms(),
        })
    }

    /// Takes batches laid end to end, as a WAL or another archive's chunk has them.
    pub fn push_batches(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        for batch in batches(bytes) {
            let batch = batch.map_err(|source| ArchiveError::Batch {
                offset: self.totals.last_offset + 1,
                source,
            })?;
            self.push_batch(batch.bytes)?;
        }
        Ok(())
    }

    /// Takes exactly one batch, its offset assigned; checks header, CRC and its place in the log.
    pub fn push_batch(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        let info = validate_header(bytes, Origin::Log).map_err(|source| ArchiveError::Batch {
            offset: self.totals.last_offset + 1,
            source,
        })?;
        let header = info.header;
        self.check_place(&header, bytes.len())?;
        self.indexing.push(&Batch { header, bytes })?;
        self.batches_hash.update(bytes);
        self.add_to_chunk(&header, bytes);
        if self.chunk.len() >= CHUNK_RAW_BYTES_MIN {
            self.close_chunk()?;
        }
        if self.totals.batches == 0 {
            self.totals.base_offset = header.base_offset;
        }
        self.totals.last_offset = header.last_offset();
        self.totals.records += u64::try_from(header.record_count).unwrap_or(0);
        self.totals.batches += 1;
        self.totals.bytes += bytes.len() as u64;
        self.totals.max_timestamp = self.totals.max_timestamp.max(header.max_timestamp);
        Ok(())
    }

    /// What the manifest names as aborted, where that follows from the batches given.
    pub fn set_aborted(&mut self, aborted: Vec<AbortedRange>) {
        self.spec.aborted = aborted;
    }

    /// Lays the archive down at the path given to `create`, fsyncs it and clears the scratch.
    pub fn finish(mut self) -> Result<ArchiveSummary, ArchiveError> {
        if self.totals.batches == 0 {
            return Err(ArchiveError::Spec("an archive needs a batch".into()));
        }
        if !self.chunk.is_empty() {
            self.close_chunk()?;
        }
        self.members
            .flush()
            .map_err(ArchiveError::io("write", &self.members_path))?;
        let path = self.path.clone();
        let result = self.lay_down();
        if result.is_err() {
            // The error in hand says more than a failing removal would.
            let _ = fs::remove_file(&path);
        }
        result
    }

    fn check_place(&self, header: &BatchHeader, batch_bytes: usize) -> Result<(), ArchiveError> {
        let expected = self.totals.last_offset + 1;
        let base_offset = header.base_offset;
        let (range_start, range_end) = self.spec.range.unwrap_or((0, i64::MAX));
        let fits = match self.totals.batches {
            0 => base_offset >= range_start,
            _ if self.spec.generation == 1 => base_offset == expected,
            _ => base_offset >= expected,
        };
        let last_offset = header.last_offset();
        if !fits || last_offset == i64::MAX || last_offset > range_end {
            return Err(ArchiveError::NotContiguous {
                base_offset,
                expected: expected.max(range_start),
            });
        }
        if batch_bytes > CHUNK_RAW_BYTES_MAX - CHUNK_RAW_BYTES_MIN {
            return Err(ArchiveError::Spec(format!(
                "batch at offset {base_offset} is {batch_bytes} bytes"
            )));
        }
        Ok(())
    }

    fn add_to_chunk(&mut self, header: &BatchHeader, bytes: &[u8]) {
        let entry = self.chunk_entry.get_or_insert(ChunkEntry {
            position: 0,
            length: 0,
            bytes: 0,
            crc32c: 0,
            base_offset: header.base_offset,
            last_offset: 0,
            max_timestamp: header.max_timestamp,
            leader_epoch: header.leader_epoch,
        });
        entry.last_offset = header.last_offset();
        entry.max_timestamp = entry.max_timestamp.max(header.max_timestamp);
        if !matches!(header.codec(), Ok(Codec::None)) {
            self.chunk_compressed_bytes += bytes.len();
        }
        self.chunk.extend_from_slice(bytes);
    }

    fn close_chunk(&mut self) -> Result<(), ArchiveError> {
        let Some(mut entry) = self.chunk_entry.take() else {
            return Ok(());
        };
        if self.chunks.len() >= CHUNKS_MAX {
            return Err(ArchiveError::Spec("too many chunks in one archive".into()));
        }
        let level = match self.chunk_compressed_bytes * 2 > self.chunk.len() {
            true => Level::Fast,
            false => Level::Dense,
        };
        let (bytes, length) = self
            .encoder
            .write_member(level, &mut self.chunk.as_slice(), &mut self.members)
            .map_err(ArchiveError::io("write", &self.members_path))?;
        entry.position = self.members_bytes;
        entry.length = length;
        entry.bytes = bytes;
        entry.crc32c = crc32c::crc32c(&self.chunk);
        self.members_bytes += length;
        self.chunks.push(entry);
        self.chunk.clear();
        // One giant batch must not be paid for by all that follow.
        self.chunk.shrink_to(CHUNK_RAW_BYTES_MIN * 2);
        self.chunk_compressed_bytes = 0;
        Ok(())
    }

    fn lay_down(self) -> Result<ArchiveSummary, ArchiveError> {
        let ArchiveBuilder {
            path,
            spec,
            scratch,
            members_path,
            totals,
            chunks,
            ..
        } = self;
        let indexed = self.indexing.finish()?;
        let (base_offset, last_offset) = spec
            .range
            .unwrap_or((totals.base_offset, totals.last_offset));
        let batches_sha256 = format!("{:x}", self.batches_hash.finalize());
        let mut members = vec![Member {
            name: BATCHES_NAME.to_owned(),
            bytes: totals.bytes,
            sha256: batches_sha256.clone(),
        }];
        for file in &indexed.files {
            members.push(member_of(file)?);
        }
        let manifest = Manifest {
            format: FORMAT_NAME.to_owned(),
            version: FORMAT_VERSION,
            schema_version: SCHEMA_VERSION,
            created_at: spec.created_at,
            topic: spec.topic,
            topic_id: spec.topic_id,
            partition: spec.partition,
            generation: spec.generation,
            base_offset,
            last_offset,
            min_timestamp: indexed.min_timestamp,
            max_timestamp: totals.max_timestamp,
            timestamps_exact: indexed.timestamps_exact,
            records: totals.records,
            batches: totals.batches,
            bytes: totals.bytes,
            leader_epochs: spec.leader_epochs,
            aborted: spec.aborted,
            producer_snapshot: spec.producer_snapshot,
            index: spec.index_mode,
            documents: indexed.documents,
            unindexed_records: indexed.unindexed_records,
            truncated_values: indexed.truncated_values,
            members,
        };
        let parts = Parts {
            manifest: &manifest,
            chunks,
            members_path: &members_path,
            index_files: &indexed.files,
        };
        let writer = ArchiveWriter::create(&path, self.encoder, spec.created_at)?;
        let (chunks, laid) = write_archive(writer, parts)?;
        drop(scratch);
        Ok(ArchiveSummary {
            path,
            size: laid.size,
            sha256: laid.sha256,
            toc_position: laid.toc.position,
            toc_length: laid.toc.length,
            base_offset,
            last_offset,
            records: totals.records,
            batches: totals.batches,
            raw_bytes: totals.bytes,
            min_timestamp: manifest.min_timestamp,
            max_timestamp: totals.max_timestamp,
            timestamps_exact: manifest.timestamps_exact,
            chunks,
            index_bytes: indexed.files.iter().map(|file| file.bytes).sum(),
            documents: manifest.documents,
            unindexed_records: manifest.unindexed_records,
            truncated_values: manifest.truncated_values,
            aborted: manifest.aborted.len(),
            batches_sha256,
            build_cpu_ms: match (self.cpu_start, thread_cpu_ms()) {
                (Some(start), Some(end)) => Some(end.saturating_sub(start)),
                _ => None,
            },
        })
    }
}

struct Parts<'a> {
    manifest: &'a Manifest,
    chunks: Vec<ChunkEntry>,
    members_path: &'a Path,
    index_files: &'a [IndexFile],
}

struct LaidDown {
    toc: TocLocation,
    size: u64,
    sha256: String,
}

/// The archive's files in their order; returns the number of chunks and where the TOC is.
fn write_archive(
    mut writer: ArchiveWriter,
    parts: Parts<'_>,
) -> Result<(usize, LaidDown), ArchiveError> {
    let manifest_json = to_json(parts.manifest, MANIFEST_BYTES_MAX)?;
    let bytes = manifest_json.len() as u64;
    let manifest = writer.file(
        MANIFEST_NAME,
        Level::Dense,
        bytes,
        &mut manifest_json.as_slice(),
    )?;
    let raw_bytes = parts.manifest.bytes;
    let batches = writer.file_of_members(BATCHES_NAME, raw_bytes, parts.members_path)?;
    let mut chunks = parts.chunks;
    for chunk in &mut chunks {
        chunk.position += batches.position;
    }
    let index = write_index(&mut writer, parts.index_files)?;
    let toc = Toc {
        version: FORMAT_VERSION,
        manifest: ManifestEntry {
            position: manifest.position,
            length: manifest.length,
            bytes: manifest.bytes,
            sha256: format!("{:x}", Sha256::digest(&manifest_json)),
        },
        batches: BatchesEntry {
            position: batches.position,
            length: batches.length,
            bytes: batches.bytes,
            chunks,
        },
        index,
    };
    let json = to_json(&toc, TOC_BYTES_MAX)?;
    let bytes = json.len() as u64;
    let range = writer.file(TOC_NAME, Level::Dense, bytes, &mut json.as_slice())?;
    writer.end_of_tar()?;
    let location = TocLocation {
        position: range.position,
        length: range.length,
        crc32c: crc32c::crc32c(&json),
    };
    writer.raw(&location.encode())?;
    let (size, sha256) = writer.finish()?;
    let laid = LaidDown {
        toc: location,
        size,
        sha256,
    };
    Ok((toc.batches.chunks.len(), laid))
}

fn write_index(
    writer: &mut ArchiveWriter,
    files: &[IndexFile],
) -> Result<IndexEntry, ArchiveError> {
    let mut entries: Vec<IndexFileEntry> = Vec::with_capacity(files.len());
    for file in files {
        let mut content = File::open(&file.path).map_err(ArchiveError::io("open", &file.path))?;
        let name = format!("{INDEX_PREFIX}{}", file.name);
        let range: Range = writer.file(&name, Level::Fast, file.bytes, &mut content)?;
        entries.push(IndexFileEntry {
            name: file.name.clone(),
            position: range.position,
            length: range.length,
            bytes: range.bytes,
        });
    }
    let position = entries.first().map_or(0, |first| first.position);
    let end = entries.last().map_or(0, |last| last.position + last.length);
    Ok(IndexEntry {
        position,
        length: end - position,
        files: entries,
    })
}

fn member_of(file: &IndexFile) -> Result<Member, ArchiveError> {
    let mut content = File::open(&file.path).map_err(ArchiveError::io("open", &file.path))?;
    let mut hash = Sha256::new();
    io::copy(&mut content, &mut hash).map_err(ArchiveError::io("read", &file.path))?;
    Ok(Member {
        name: format!("{INDEX_PREFIX}{}", file.name),
        bytes: file.bytes,
        sha256: format!("{:x}", hash.finalize()),
    })
}

fn to_json(value: &impl serde::Serialize, bytes_max: usize) -> Result<Vec<u8>, ArchiveError> {
    let json = serde_json::to_vec(value).map_err(|e| ArchiveError::Spec(e.to_string()))?;
    if json.len() > bytes_max {
        return Err(ArchiveError::Spec(format!(
            "manifest or toc of {} bytes",
            json.len()
        )));
    }
    Ok(json)
}

/// CPU time of this thread so far, as the scheduler counts it.
fn thread_cpu_ms() -> Option<u64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos: u64 = stat.split_whitespace().next()?.parse().ok()?;
    Some(nanos / 1_000_000)
}
