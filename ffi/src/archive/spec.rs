//! What an archive is to be, and what came of it.

use std::path::{Path, PathBuf};

use super::format::{AbortedRange, LeaderEpoch};
use crate::index::{INDEX_MEMORY_BYTES, IndexMode};

/// What an archive is to be.
#[derive(Debug, Clone)]
pub struct ArchiveSpec {
    pub topic: String,
    /// As the metadata writes it; opaque here.
    pub topic_id: String,
    pub partition: i32,
    /// 1: batches must be without a hole. Later generations may have some.
    pub generation: u32,
    /// First and last offset that a later generation covers, whatever is left of them; None: those
    /// of its batches.
    pub range: Option<(i64, i64)>,
    /// Wall clock, ms since 1970.
    pub created_at: i64,
    pub leader_epochs: Vec<LeaderEpoch>,
    pub aborted: Vec<AbortedRange>,
    pub producer_snapshot: Option<String>,
    pub index_mode: IndexMode,
    /// Folder for temporary files, on the disk of the archive if that may be.
    pub scratch_dir: PathBuf,
    /// Memory of the index writer; `INDEX_MEMORY_BYTES` unless a test says otherwise.
    pub index_memory_bytes: usize,
}

impl ArchiveSpec {
    /// A first generation without leader epochs, aborted ranges or producers.
    pub fn new(topic: &str, topic_id: &str, partition: i32, scratch_dir: &Path) -> ArchiveSpec {
        ArchiveSpec {
            topic: topic.to_owned(),
            topic_id: topic_id.to_owned(),
            partition,
            generation: 1,
            range: None,
            created_at: 0,
            leader_epochs: Vec::new(),
            aborted: Vec::new(),
            producer_snapshot: None,
            index_mode: IndexMode::Full,
            scratch_dir: scratch_dir.to_path_buf(),
            index_memory_bytes: INDEX_MEMORY_BYTES,
        }
    }
}

/// A finished archive: fsynced at `path`, not yet anywhere else.
#[derive(Debug, Clone)]
pub struct ArchiveSummary {
    pub path: PathBuf,
    pub size: u64,
    /// SHA-256 of the file, hex.
    pub sha256: String,
    pub toc_position: u64,
    pub toc_length: u64,
    pub base_offset: i64,
    pub last_offset: i64,
    pub records: u64,
    pub batches: u64,
    /// Bytes of the batches.
    pub raw_bytes: u64,
    pub min_timestamp: i64,
    pub max_timestamp: i64,
    pub timestamps_exact: bool,
    pub chunks: usize,
    /// Bytes of the index, uncompressed.
    pub index_bytes: u64,
    pub documents: u64,
    pub unindexed_records: u64,
    pub truncated_values: u64,
    /// Aborted ranges that the manifest names.
    pub aborted: usize,
    pub batches_sha256: String,
    /// CPU time of this thread since `create`, ms; None where the kernel does not tell.
    pub build_cpu_ms: Option<u64>,
}
