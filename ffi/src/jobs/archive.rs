//! Jobs on archives: build, verify, and the parts of a ranged read.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::json;

use super::{JobError, Output, file};
use crate::archive::{
    AbortedRange, ArchiveBuilder, ArchiveError, ArchiveSpec, ArchiveSummary, Expected, LeaderEpoch,
    TocLocation, locate_toc, verify_archive,
};
use crate::bytes::now_ms;
use crate::engine::Core;
use crate::index::{IndexError, IndexMode};
use crate::status::{Status, status_of_io};
use crate::wal::read::{Visit, walk};

/// Bytes of the log read at a time by a build.
const CHUNK_BYTES: usize = 1 << 20;

/// `build_archive`
#[derive(Clone, Debug, Deserialize)]
pub struct Build {
    #[serde(default)]
    pub log: u32,
    from_offset: i64,
    to_offset: i64,
    path: String,
    scratch_dir: Option<String>,
    spec: BuildSpec,
}

#[derive(Clone, Debug, Deserialize)]
struct BuildSpec {
    topic: String,
    topic_id: String,
    partition: i32,
    #[serde(default = "first_generation")]
    generation: u32,
    created_at: Option<i64>,
    #[serde(default)]
    leader_epochs: Vec<LeaderEpoch>,
    #[serde(default)]
    aborted: Vec<AbortedRange>,
    producer_snapshot: Option<String>,
    #[serde(default = "full_index")]
    index: IndexMode,
}

fn first_generation() -> u32 {
    1
}

fn full_index() -> IndexMode {
    IndexMode::Full
}

/// `expected` of `verify_archive`; what is absent is not compared.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ExpectedArchive {
    size: Option<u64>,
    sha256: Option<String>,
    topic_id: Option<String>,
    partition: Option<i32>,
    generation: Option<u32>,
    base_offset: Option<i64>,
    last_offset: Option<i64>,
    records: Option<u64>,
    batches_sha256: Option<String>,
}

impl From<ArchiveError> for JobError {
    fn from(error: ArchiveError) -> Self {
        JobError::new(status_of(&error), error.to_string())
    }
}

fn status_of(error: &ArchiveError) -> Status {
    match error {
        ArchiveError::Io { source, .. } => status_of_io(source),
        ArchiveError::Index(IndexError::Io(source)) => status_of_io(source),
        ArchiveError::Index(_) => Status::Internal,
        ArchiveError::Spec(_) => Status::InvalidArgument,
        ArchiveError::Version { .. } => Status::UnknownVersion,
        ArchiveError::Batch { .. }
        | ArchiveError::NotContiguous { .. }
        | ArchiveError::Damaged(_)
        | ArchiveError::Mismatch { .. } => Status::Corrupt,
        ArchiveError::Chunk { source, .. } | ArchiveError::Source { source, .. } => {
            status_of(source)
        }
        ArchiveError::Stopped => Status::Closed,
    }
}

impl BuildSpec {
    fn into_spec(self, scratch_dir: PathBuf) -> ArchiveSpec {
        let mut spec = ArchiveSpec::new(&self.topic, &self.topic_id, self.partition, &scratch_dir);
        spec.generation = self.generation;
        spec.created_at = self.created_at.unwrap_or_else(now_ms);
        spec.leader_epochs = self.leader_epochs;
        spec.aborted = self.aborted;
        spec.producer_snapshot = self.producer_snapshot;
        spec.index_mode = self.index;
        spec
    }
}

/// Builds the archive of exactly the offsets asked for; a missing or damaged one fails the job.
pub fn build(core: &Arc<Core>, build: Build) -> Result<Output, JobError> {
    let log = super::log::find(core, build.log)?;
    let path = file::resolve(core, &build.path)?;
    let scratch_dir = match &build.scratch_dir {
        Some(dir) => file::resolve(core, dir)?,
        None => core.config.data_dir.join("tmp"),
    };
    let limit = build.to_offset.saturating_add(1);
    let mut builder = ArchiveBuilder::create(&path, build.spec.into_spec(scratch_dir))?;
    let mut next = build.from_offset;
    while next < limit {
        let before = next;
        let mut failure: Option<JobError> = None;
        walk(&core.wal, &log, next, limit, CHUNK_BYTES, &mut |frame| {
            let pushed = if core.builds_stopped.load(Ordering::Relaxed) {
                Err(ArchiveError::Stopped.into())
            } else {
                builder.push_batch(frame.body).map_err(JobError::from)
            };
            match pushed {
                Ok(()) => {
                    next = frame.header.last_offset + 1;
                    Visit::More
                }
                Err(error) => {
                    failure = Some(error);
                    Visit::Stop
                }
            }
        })?;
        if let Some(error) = failure {
            return Err(error);
        }
        if next == before {
            let text = format!("the log does not hold offset {next} as a whole batch");
            return Err(JobError::new(Status::OutOfRange, text));
        }
    }
    let summary = builder
        .finish()
        .map_err(|error| if_fsync_failed(core, error))?;
    if (summary.base_offset, summary.last_offset) != (build.from_offset, build.to_offset) {
        let text = format!(
            "offsets {} to {} are not whole batches: {} to {}",
            build.from_offset, build.to_offset, summary.base_offset, summary.last_offset
        );
        // The error in hand says more than a failing removal would.
        let _ = core.wal.files.disk.remove_file(&path);
        return Err(JobError::new(Status::InvalidArgument, text));
    }
    Ok(describe(&summary))
}

/// A failed fsync ends the process here too: the pages it lost may be anyone's (design D3).
pub(super) fn if_fsync_failed(core: &Core, error: ArchiveError) -> JobError {
    match &error {
        ArchiveError::Io { action, .. } if action.starts_with("fsync ") => {
            core.wal.poison.poison(&error.to_string()).into()
        }
        _ => error.into(),
    }
}

pub(super) fn describe(summary: &ArchiveSummary) -> Output {
    Output::of(json!({
        "path": summary.path,
        "size": summary.size,
        "sha256": summary.sha256,
        "toc_position": summary.toc_position,
        "toc_length": summary.toc_length,
        "base_offset": summary.base_offset,
        "last_offset": summary.last_offset,
        "records": summary.records,
        "batches": summary.batches,
        "raw_bytes": summary.raw_bytes,
        "min_timestamp": summary.min_timestamp,
        "max_timestamp": summary.max_timestamp,
        "timestamps_exact": summary.timestamps_exact,
        "chunks": summary.chunks,
        "index_bytes": summary.index_bytes,
        "documents": summary.documents,
        "unindexed_records": summary.unindexed_records,
        "truncated_values": summary.truncated_values,
        "aborted": summary.aborted,
        "batches_sha256": summary.batches_sha256,
        "build_cpu_ms": summary.build_cpu_ms,
    }))
}

/// Reads a whole archive and compares it with what is expected.
pub fn verify(core: &Core, path: &str, expected: ExpectedArchive) -> Result<Output, JobError> {
    let path = file::resolve(core, path)?;
    fp!("verify_before_read");
    let expected = Expected {
        size: expected.size,
        sha256: expected.sha256,
        topic_id: expected.topic_id,
        partition: expected.partition,
        generation: expected.generation,
        base_offset: expected.base_offset,
        last_offset: expected.last_offset,
        records: expected.records,
        batches_sha256: expected.batches_sha256,
    };
    let report = verify_archive(&path, &expected)?;
    fp!("verify_after_read");
    Ok(Output::of(json!({ "report": {
        "manifest": report.manifest,
        "toc": report.toc,
        "toc_position": report.toc_location.position,
        "toc_length": report.toc_location.length,
        "toc_crc32c": report.toc_location.crc32c,
        "size": report.size,
        "sha256": report.sha256,
    }})))
}

/// The manifest of a local archive.
pub fn read_manifest(core: &Core, path: &str) -> Result<Output, JobError> {
    let path = file::resolve(core, path)?;
    let manifest = crate::archive::read_manifest(&path)?;
    Ok(Output::of(json!({ "manifest": manifest })))
}

/// The manifest out of an archive's first bytes.
pub fn parse_manifest(raw: &[u8]) -> Result<Output, JobError> {
    let manifest = crate::archive::read_manifest_from(raw)?;
    Ok(Output::of(json!({ "manifest": manifest })))
}

/// The raw batches of one chunk.
pub fn inflate_chunk(raw_len: u64, crc32c: u32, raw: &[u8]) -> Result<Output, JobError> {
    let out = crate::archive::inflate_chunk(raw, raw_len, crc32c)?;
    Ok(Output {
        json: json!({ "bytes": out.len() }),
        raw: out,
    })
}

/// The TOC out of the archive's last bytes: `raw` is any tail of an object of `archive_bytes`
/// that begins at the TOC or before it.
pub fn read_toc(archive_bytes: u64, raw: &[u8]) -> Result<Output, JobError> {
    let location: TocLocation = locate_toc(raw, archive_bytes)?;
    let tail_at = archive_bytes.saturating_sub(raw.len() as u64);
    let member = location
        .position
        .checked_sub(tail_at)
        .and_then(|start| {
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(location.length).ok()?)?;
            raw.get(start..end)
        })
        .ok_or_else(|| {
            let text = format!(
                "the TOC begins at {}, the bytes at {tail_at}",
                location.position
            );
            JobError::new(Status::OutOfRange, text)
        })?;
    let toc = crate::archive::read_toc(member, &location)?;
    Ok(Output::of(json!({
        "toc": toc,
        "toc_position": location.position,
        "toc_length": location.length,
    })))
}
