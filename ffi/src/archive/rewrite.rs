//! Makes one archive of several that follow one another: batches verbatim, indexes joined or anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::format::{AbortedRange, LeaderEpoch, Manifest};
use super::indexing::Indexed;
use super::scratch::ScratchFolder;
use super::source::SourceArchive;
use super::{ArchiveBuilder, ArchiveError, ArchiveSpec, ArchiveSummary};
use crate::index::{INDEX_MEMORY_BYTES, IndexMode, SCHEMA_VERSION, StopCheck, merge_indexes};
use crate::record::Batch;

/// Where a rewrite's index comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RewriteIndex {
    /// The sources' indexes, joined; they must be of one mode. Sources without one give none.
    Merge,
    /// The records, indexed in this mode.
    Build(IndexMode),
}

/// What a rewrite is to be. What is None follows from the sources.
#[derive(Debug, Clone)]
pub struct RewriteSpec {
    pub topic: String,
    pub topic_id: String,
    pub partition: i32,
    /// Above those of all sources.
    pub generation: u32,
    /// Wall clock, ms since 1970.
    pub created_at: i64,
    /// The sources cover exactly these offsets.
    pub base_offset: i64,
    pub last_offset: i64,
    pub leader_epochs: Option<Vec<LeaderEpoch>>,
    pub aborted: Option<Vec<AbortedRange>>,
    pub producer_snapshot: Option<String>,
    pub index: RewriteIndex,
    pub scratch_dir: PathBuf,
}

/// Reads the archives at `paths` (offset order) in full and lays the new one down at `path`,
/// fsynced. Holds one chunk and an index slice at a time.
pub fn rewrite_archives(
    paths: &[PathBuf],
    path: &Path,
    spec: RewriteSpec,
    stop: &StopCheck,
) -> Result<ArchiveSummary, ArchiveError> {
    let sources = Sources::open(paths, &spec)?;
    let mut builder = sources.begin(path, &spec, stop)?;
    let batches_sha256 = sources.copy_batches(&mut builder, stop)?;
    let summary = builder.finish()?;
    if summary.batches_sha256 == batches_sha256 {
        return Ok(summary);
    }
    // The error in hand says more than a failing removal would.
    let _ = fs::remove_file(path);
    Err(ArchiveError::damaged("the copy has other batches"))
}

/// Archives of one partition that follow one another without a hole between their ranges.
pub(super) struct Sources {
    archives: Vec<SourceArchive>,
    paths: Vec<PathBuf>,
}

/// Whose fault an error is: a source's is told with its number.
enum Fault {
    Source(ArchiveError),
    Other(ArchiveError),
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Fault {
        Fault::Source(error)
    }
}

impl Sources {
    pub(super) fn open(paths: &[PathBuf], spec: &RewriteSpec) -> Result<Sources, ArchiveError> {
        let mut sources = Sources {
            archives: Vec::with_capacity(paths.len()),
            paths: paths.to_vec(),
        };
        let mut due = spec.base_offset;
        for (index, path) in paths.iter().enumerate() {
            let in_source = |error| sources.in_source(index, error);
            let source = SourceArchive::open(path).map_err(in_source)?;
            check_place(source.manifest(), spec, due).map_err(in_source)?;
            due = source.manifest().last_offset + 1;
            sources.archives.push(source);
        }
        if due != spec.last_offset.saturating_add(1) {
            return Err(ArchiveError::Spec(format!(
                "the sources end at offset {}, the range at {}",
                due - 1,
                spec.last_offset
            )));
        }
        Ok(sources)
    }

    /// A builder of the rewrite, its index joined already if that is how it is made.
    pub(super) fn begin(
        &self,
        path: &Path,
        spec: &RewriteSpec,
        stop: &StopCheck,
    ) -> Result<ArchiveBuilder, ArchiveError> {
        let mode = match spec.index {
            RewriteIndex::Build(mode) => mode,
            RewriteIndex::Merge => self.index_mode()?,
        };
        let archive = self.archive_spec(spec, mode);
        if spec.index == RewriteIndex::Merge {
            let scratch = ScratchFolder::create(&spec.scratch_dir)?;
            if let Some(indexed) = self.merge_index(mode, scratch.path(), stop)? {
                return ArchiveBuilder::create_indexed(path, archive, scratch, indexed);
            }
        }
        ArchiveBuilder::create(path, archive)
    }

    /// Every batch as it is; the SHA-256 of them all, taken from the sources, hex.
    fn copy_batches(
        &self,
        builder: &mut ArchiveBuilder,
        stop: &StopCheck,
    ) -> Result<String, ArchiveError> {
        let mut hash = Sha256::new();
        self.for_each_batch(stop, |batch| {
            hash.update(batch.bytes);
            builder.push_batch(batch.bytes)
        })?;
        Ok(format!("{:x}", hash.finalize()))
    }

    /// Gives the batches of all sources in order; see `SourceArchive::for_each_batch`.
    pub(super) fn for_each_batch(
        &self,
        stop: &StopCheck,
        mut visit: impl FnMut(&Batch<'_>) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        for (index, source) in self.archives.iter().enumerate() {
            let visited = source.for_each_batch(|batch| {
                if stop.is_stopped() {
                    return Err(Fault::Other(ArchiveError::Stopped));
                }
                visit(batch).map_err(Fault::Other)
            });
            visited.map_err(|fault| match fault {
                Fault::Source(error) => self.in_source(index, error),
                Fault::Other(error) => error,
            })?;
        }
        Ok(())
    }

    pub(super) fn archives(&self) -> &[SourceArchive] {
        &self.archives
    }

    fn index_mode(&self) -> Result<IndexMode, ArchiveError> {
        let mut modes = self.archives.iter().map(|source| source.manifest().index);
        match modes.next() {
            Some(first) if modes.all(|mode| mode == first) => Ok(first),
            _ => Err(ArchiveError::Spec(
                "sources of different index modes".into(),
            )),
        }
    }

    /// The sources' indexes as one; None where they cannot be joined and are to be made anew.
    fn merge_index(
        &self,
        mode: IndexMode,
        scratch: &Path,
        stop: &StopCheck,
    ) -> Result<Option<Indexed>, ArchiveError> {
        let manifests = || self.archives.iter().map(SourceArchive::manifest);
        let with_records = manifests().filter(|manifest| manifest.records > 0);
        let mut indexed = Indexed {
            files: Vec::new(),
            documents: 0,
            unindexed_records: manifests().map(|m| m.unindexed_records).sum(),
            truncated_values: manifests().map(|m| m.truncated_values).sum(),
            min_timestamp: with_records.map(|m| m.min_timestamp).min().unwrap_or(-1),
            timestamps_exact: manifests().all(|m| m.timestamps_exact),
        };
        if !mode.has_index() {
            return Ok(Some(indexed));
        }
        if manifests().any(|manifest| manifest.schema_version != SCHEMA_VERSION) {
            return Ok(None);
        }
        let folders = self.extract_indexes(scratch, stop)?;
        let merged = merge_indexes(&folders, &scratch.join("merged"), stop);
        if stop.is_stopped() {
            return Err(ArchiveError::Stopped);
        }
        let Some(merged) = merged? else {
            return Ok(None);
        };
        let documents: u64 = manifests().map(|manifest| manifest.documents).sum();
        if merged.documents != documents {
            return Err(ArchiveError::damaged(format!(
                "the sources' indexes have {} documents, their manifests say {documents}",
                merged.documents
            )));
        }
        indexed.files = merged.files;
        indexed.documents = documents;
        Ok(Some(indexed))
    }

    fn extract_indexes(
        &self,
        scratch: &Path,
        stop: &StopCheck,
    ) -> Result<Vec<PathBuf>, ArchiveError> {
        let mut folders = Vec::with_capacity(self.archives.len());
        for (index, source) in self.archives.iter().enumerate() {
            if stop.is_stopped() {
                return Err(ArchiveError::Stopped);
            }
            let folder = scratch.join(format!("source-{index}"));
            fs::create_dir(&folder).map_err(ArchiveError::io("create", &folder))?;
            source
                .extract_index(&folder)
                .map_err(|error| self.in_source(index, error))?;
            folders.push(folder);
        }
        Ok(folders)
    }

    fn archive_spec(&self, spec: &RewriteSpec, index_mode: IndexMode) -> ArchiveSpec {
        let last = self.archives.last().map(SourceArchive::manifest);
        ArchiveSpec {
            topic: spec.topic.clone(),
            topic_id: spec.topic_id.clone(),
            partition: spec.partition,
            generation: spec.generation,
            range: Some((spec.base_offset, spec.last_offset)),
            created_at: spec.created_at,
            leader_epochs: spec
                .leader_epochs
                .clone()
                .unwrap_or_else(|| self.leader_epochs()),
            aborted: spec.aborted.clone().unwrap_or_else(|| self.aborted()),
            producer_snapshot: spec
                .producer_snapshot
                .clone()
                .or_else(|| last.and_then(|manifest| manifest.producer_snapshot.clone())),
            index_mode,
            scratch_dir: spec.scratch_dir.clone(),
            index_memory_bytes: INDEX_MEMORY_BYTES,
        }
    }

    /// Every epoch with the start that the oldest source knows.
    fn leader_epochs(&self) -> Vec<LeaderEpoch> {
        let mut starts = BTreeMap::new();
        for source in &self.archives {
            for LeaderEpoch {
                epoch,
                start_offset,
            } in &source.manifest().leader_epochs
            {
                starts.entry(*epoch).or_insert(*start_offset);
            }
        }
        let epochs = starts.into_iter().map(|(epoch, start_offset)| LeaderEpoch {
            epoch,
            start_offset,
        });
        epochs.collect()
    }

    /// One transaction may overlap several sources.
    fn aborted(&self) -> Vec<AbortedRange> {
        let manifests = self.archives.iter().map(SourceArchive::manifest);
        let mut aborted: Vec<AbortedRange> =
            manifests.flat_map(|m| m.aborted.iter().copied()).collect();
        aborted.sort_by_key(|range| (range.last_offset, range.producer_id, range.first_offset));
        aborted.dedup();
        aborted
    }

    fn in_source(&self, index: usize, error: ArchiveError) -> ArchiveError {
        ArchiveError::Source {
            number: index + 1,
            path: self.paths.get(index).cloned().unwrap_or_default(),
            source: Box::new(error),
        }
    }
}

/// A source must be of the partition, begin where the one before ended, and be older.
fn check_place(manifest: &Manifest, spec: &RewriteSpec, due: i64) -> Result<(), ArchiveError> {
    same("topic_id", &manifest.topic_id, &spec.topic_id)?;
    same("partition", &manifest.partition, &spec.partition)?;
    same("base_offset", &manifest.base_offset, &due)?;
    if manifest.generation >= spec.generation {
        return Err(ArchiveError::Spec(format!(
            "generation {} cannot be made of generation {}",
            spec.generation, manifest.generation
        )));
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Display>(
    what: &'static str,
    found: &T,
    expected: &T,
) -> Result<(), ArchiveError> {
    if found == expected {
        return Ok(());
    }
    Err(ArchiveError::Mismatch {
        what,
        found: found.to_string(),
        expected: expected.to_string(),
    })
}
