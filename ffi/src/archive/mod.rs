//! The archive of one range of a partition: a `.tar.gz` that can be read in ranges.
//!
//! `FORMAT.md` beside this file is the format as it stands on disk.

mod builder;
mod compact;
mod format;
mod gzip;
mod indexing;
mod reader;
mod rewrite;
mod scratch;
mod source;
mod spec;
mod tar;
mod verify;
mod writer;

pub use self::builder::ArchiveBuilder;
pub use self::compact::{CleanReport, CleanSpec, compact_archives, map_archive};
pub use self::format::{
    AbortedRange, BatchesEntry, CHUNK_RAW_BYTES_MAX, CHUNK_RAW_BYTES_MIN, ChunkEntry,
    FORMAT_VERSION, IndexEntry, IndexFileEntry, LOCATOR_BYTES, LeaderEpoch, MANIFEST_BYTES_MAX,
    Manifest, ManifestEntry, Member, TOC_BYTES_MAX, Toc, TocLocation,
};
pub use self::reader::{
    copy_member, inflate_chunk, locate_toc, read_manifest, read_manifest_from, read_toc,
};
pub use self::rewrite::{RewriteIndex, RewriteSpec, rewrite_archives};
pub use self::source::SourceArchive;
pub use self::spec::{ArchiveSpec, ArchiveSummary};
pub use self::verify::{Expected, VerifyReport, verify_archive, verify_archive_from};

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::index::IndexError;
use crate::record::BatchError;

#[derive(Debug, Error)]
pub enum ArchiveError {
    #[error("archive {action}: {source}")]
    Io {
        action: String,
        #[source]
        source: std::io::Error,
    },
    /// A batch that may not go into an archive.
    #[error("batch at offset {offset}: {source}")]
    Batch {
        offset: i64,
        #[source]
        source: BatchError,
    },
    /// Batches must follow one another: a hole or an overlap.
    #[error("batch begins at offset {base_offset}, expected {expected}")]
    NotContiguous { base_offset: i64, expected: i64 },
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The caller asked for what cannot be.
    #[error("invalid archive spec: {0}")]
    Spec(String),
    /// The bytes are not an archive of this format, or were damaged.
    #[error("damaged archive: {0}")]
    Damaged(String),
    /// A sound archive, but of something else than expected.
    #[error("archive differs from what is expected: {what} is {found}, expected {expected}")]
    Mismatch {
        what: &'static str,
        found: String,
        expected: String,
    },
    /// Damage in one chunk of an archive.
    #[error("chunk {chunk} (offsets {base_offset} to {last_offset}): {source}")]
    Chunk {
        chunk: usize,
        base_offset: i64,
        last_offset: i64,
        #[source]
        source: Box<ArchiveError>,
    },
    /// Something is wrong with the `number`th archive (from 1) that another is made from.
    #[error("source {number}, {}: {source}", path.display())]
    Source {
        number: usize,
        path: PathBuf,
        #[source]
        source: Box<ArchiveError>,
    },
    /// Given up because the broker stops.
    #[error("the broker is stopping: the archive is made after the next start")]
    Stopped,
    /// Written by a later version.
    #[error("archive format version {found} is not known here (up to {known})")]
    Version { found: u32, known: u32 },
}

impl ArchiveError {
    pub(crate) fn damaged(reason: impl Into<String>) -> ArchiveError {
        ArchiveError::Damaged(reason.into())
    }

    pub(crate) fn io(
        action: &str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> ArchiveError + use<> {
        let action = format!("{action} {}", path.display());
        move |source| ArchiveError::Io { action, source }
    }
}
