//! The jobs of compaction: keys into an offset map, and archives rewritten by it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::archive::{describe, if_fsync_failed};
use super::rewrite::{Rewrite, stop_of};
use super::{JobError, Output, file};
use crate::archive::{CleanSpec, compact_archives, map_archive};
use crate::bytes::now_ms;
use crate::cleaning::{MapFileError, OFFSET_MAP_KEYS_MAX, OffsetMap, read_map, write_map};
use crate::engine::Core;
use crate::status::{Status, status_of_io};

/// `map_keys`
#[derive(Clone, Debug, Deserialize)]
pub struct MapKeys {
    /// The archive whose keys are taken.
    source: String,
    /// Scratch file of the map; made anew with `from_offset`, gone on with without.
    map: String,
    from_offset: Option<i64>,
    /// For tests; never more than the engine's own bound.
    keys_max: Option<usize>,
}

/// `compact_archive`: a rewrite by the cleaner's rules.
#[derive(Clone, Debug, Deserialize)]
pub struct Compact {
    #[serde(flatten)]
    rewrite: Rewrite,
    clean: Clean,
}

#[derive(Clone, Debug, Deserialize)]
struct Clean {
    map: String,
    now_ms: Option<i64>,
    delete_retention_ms: i64,
    #[serde(default)]
    writing: Vec<i64>,
    #[serde(default)]
    always: bool,
}

impl From<MapFileError> for JobError {
    fn from(error: MapFileError) -> Self {
        let status = match &error {
            MapFileError::Io { source, .. } => status_of_io(source),
            MapFileError::Damaged { .. } => Status::Corrupt,
        };
        JobError::new(status, error.to_string())
    }
}

/// Takes the keys of one archive into the map.
pub fn map_keys(core: &Arc<Core>, job: &MapKeys) -> Result<Output, JobError> {
    let source = file::resolve(core, &job.source)?;
    let path = file::resolve(core, &job.map)?;
    let mut map = match job.from_offset {
        Some(start) => OffsetMap::starting_at(start),
        None => read_map(&path)?,
    };
    let keys_max = job.keys_max.unwrap_or(OFFSET_MAP_KEYS_MAX);
    let keys_max = keys_max.clamp(1, OFFSET_MAP_KEYS_MAX);
    let has_room = map_archive(&source, &mut map, keys_max, &stop_of(core))?;
    write_map(&path, &map)?;
    Ok(Output::of(json!({
        "end": map.end(),
        "keys": map.keys(),
        "full": !has_room,
    })))
}

/// Makes one archive of what stays of the sources.
pub fn compact(core: &Arc<Core>, job: Compact) -> Result<Output, JobError> {
    let map = read_map(&file::resolve(core, &job.clean.map)?)?;
    let clean = CleanSpec {
        map,
        now_ms: job.clean.now_ms.unwrap_or_else(now_ms),
        retention_ms: job.clean.delete_retention_ms,
        writing: job.clean.writing,
        always: job.clean.always,
    };
    let (sources, path, spec) = job.rewrite.resolve(core)?;
    let (summary, report) = compact_archives(&sources, &path, spec, &clean, &stop_of(core))
        .map_err(|error| if_fsync_failed(core, error))?;
    let archive = match &summary {
        Some(summary) => describe(summary).json,
        None => serde_json::Value::Null,
    };
    Ok(Output::of(json!({
        "archive": archive,
        "bytes_before": report.bytes_before,
        "records_before": report.records_before,
        "writing": report.writing,
    })))
}
