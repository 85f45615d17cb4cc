//! Rewrites archives by the cleaner's rules: of each key its last record stays (design D8).
//!
//! A round has two steps, each archive by archive: `map_archive` takes the keys of what is dirty
//! into an offset map, then `compact_archives` rewrites everything from the log's start up to the
//! map's end, oldest first, so that a crash in between never brings back a record whose tombstone
//! or whose marker is gone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::format::AbortedRange;
use super::rewrite::{RewriteSpec, Sources};
use super::source::SourceArchive;
use super::{ArchiveError, ArchiveSummary};
use crate::cleaning::{
    Aborted, Decisions, MarkerWatch, OffsetMap, Pass, Policy, Rewritten, add_keys, rewrite_batch,
};
use crate::index::StopCheck;
use crate::record::Batch;

/// What a compaction goes by, beside the sources.
#[derive(Debug)]
pub struct CleanSpec {
    pub map: OffsetMap,
    pub now_ms: i64,
    /// `delete.retention.ms`.
    pub retention_ms: i64,
    /// Producers with records since their last marker before the first source.
    pub writing: Vec<i64>,
    /// Makes an archive even where every record stays as it is.
    pub always: bool,
}

/// What a compaction found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanReport {
    pub bytes_before: u64,
    pub records_before: u64,
    /// As `CleanSpec::writing`, behind the last source.
    pub writing: Vec<i64>,
}

/// Takes the keys of an archive's records from the map's end on. False: the map is full, and ends
/// within the archive.
pub fn map_archive(
    path: &Path,
    map: &mut OffsetMap,
    keys_max: usize,
    stop: &StopCheck,
) -> Result<bool, ArchiveError> {
    let source = SourceArchive::open(path)?;
    let decisions = decisions_of([&source]);
    let mut has_room = true;
    source.for_each_batch(|batch| {
        if stop.is_stopped() {
            return Err(ArchiveError::Stopped);
        }
        if has_room && batch.header.last_offset() >= map.end() {
            has_room = add_keys(map, batch, &decisions, keys_max).map_err(at(batch))?;
        }
        Ok(())
    })?;
    if has_room {
        // Offsets at the end of a cleaned archive may hold no batch any more.
        map.reaches(source.manifest().last_offset.saturating_add(1));
    }
    Ok(has_room)
}

/// Writes what stays of the archives at `paths` to `path`. No archive is made of one source that
/// stays as it is, unless `always` asks for it.
pub fn compact_archives(
    paths: &[PathBuf],
    path: &Path,
    spec: RewriteSpec,
    clean: &CleanSpec,
    stop: &StopCheck,
) -> Result<(Option<ArchiveSummary>, CleanReport), ArchiveError> {
    let sources = Sources::open(paths, &spec)?;
    let decisions = decisions_of(sources.archives());
    let pass = Pass {
        decisions: &decisions,
        map: &clean.map,
        policy: Policy::Horizon {
            now_ms: clean.now_ms,
            retention_ms: clean.retention_ms,
        },
    };
    let mut watch = MarkerWatch::resume(&clean.writing);
    let mut builder = sources.begin(path, &spec, stop)?;
    let mut changed = false;
    let mut aborted = BTreeSet::new();
    let (mut bytes_before, mut records_before) = (0, 0);
    sources.for_each_batch(stop, |batch| {
        bytes_before += batch.bytes.len() as u64;
        records_before += u64::try_from(batch.header.record_count).unwrap_or(0);
        note_aborted(&mut aborted, batch, &decisions);
        // The last batch stays, if empty: consumers get to the end of the log by it.
        let is_last = batch.header.last_offset() == spec.last_offset;
        match rewrite_batch(batch, &pass, &mut watch).map_err(at(batch))? {
            Rewritten::Same => builder.push_batch(batch.bytes),
            Rewritten::Changed(bytes) => {
                changed = true;
                builder.push_batch(&bytes)
            }
            Rewritten::Empty(bytes) if is_last => {
                changed |= bytes != batch.bytes;
                builder.push_batch(&bytes)
            }
            Rewritten::Empty(_) => {
                changed = true;
                Ok(())
            }
        }
    })?;
    let report = CleanReport {
        bytes_before,
        records_before,
        writing: watch.writing(),
    };
    // An abort of which nothing is left is named no more: its marker may go from another archive,
    // and readers that are told of an abort leave out all of its producer's up to a marker.
    changed |= sources
        .archives()
        .iter()
        .flat_map(|source| &source.manifest().aborted)
        .any(|range| !aborted.contains(&in_order(range.into())));
    if !changed && !clean.always && paths.len() == 1 {
        return Ok((None, report));
    }
    let ranges = aborted
        .into_iter()
        .map(|(last_offset, producer_id, first_offset)| AbortedRange {
            producer_id,
            first_offset,
            last_offset,
        });
    builder.set_aborted(ranges.collect());
    Ok((Some(builder.finish()?), report))
}

/// Aborts whose records go now are named once more: a reader may have read those records before and
/// ask only then. A cleaning that finds none of them forgets the abort.
fn note_aborted(noted: &mut BTreeSet<(i64, i64, i64)>, batch: &Batch<'_>, decisions: &Decisions) {
    let header = &batch.header;
    if header.record_count == 0 || header.is_control() {
        return;
    }
    if let Some(range) = decisions.aborted_range(header) {
        noted.insert(in_order(range));
    }
}

/// As manifests name them: last offset, producer, first offset.
fn in_order(range: Aborted) -> (i64, i64, i64) {
    (range.last_offset, range.producer_id, range.first_offset)
}

/// Every transaction that overlaps the sources is decided: only such is archived.
fn decisions_of<'a>(sources: impl IntoIterator<Item = &'a SourceArchive>) -> Decisions {
    let mut aborted: Vec<Aborted> = Vec::new();
    for source in sources {
        aborted.extend(source.manifest().aborted.iter().map(Aborted::from));
    }
    aborted.sort_by_key(|range| (range.producer_id, range.first_offset, range.last_offset));
    aborted.dedup();
    Decisions::new(&aborted, i64::MAX)
}

fn at(batch: &Batch<'_>) -> impl Fn(crate::record::BatchError) -> ArchiveError + use<> {
    let offset = batch.header.base_offset;
    move |source| ArchiveError::Batch { offset, source }
}
