//! The job that makes one archive of several.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Deserialize;

use super::archive::{describe, if_fsync_failed};
use super::{JobError, Output, file};
use crate::archive::{AbortedRange, LeaderEpoch, RewriteIndex, RewriteSpec, rewrite_archives};
use crate::bytes::now_ms;
use crate::engine::Core;
use crate::index::{IndexMode, StopCheck};
use crate::status::Status;

/// More archives than a rewrite ever joins.
const SOURCES_MAX: usize = 1024;

/// `rewrite_archive`
#[derive(Clone, Debug, Deserialize)]
pub struct Rewrite {
    sources: Vec<String>,
    path: String,
    scratch_dir: Option<String>,
    spec: Spec,
    index: Index,
}

#[derive(Clone, Debug, Deserialize)]
struct Spec {
    topic: String,
    topic_id: String,
    partition: i32,
    generation: u32,
    created_at: Option<i64>,
    base_offset: i64,
    last_offset: i64,
    leader_epochs: Option<Vec<LeaderEpoch>>,
    aborted: Option<Vec<AbortedRange>>,
    producer_snapshot: Option<String>,
}

/// `"merge"`, or a mode in which the index is built.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(untagged)]
enum Index {
    Merge(Merge),
    Build(IndexMode),
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Merge {
    Merge,
}

/// Makes one archive of the sources, which must cover exactly the range asked for.
pub fn rewrite(core: &Arc<Core>, rewrite: Rewrite) -> Result<Output, JobError> {
    if rewrite.sources.is_empty() || rewrite.sources.len() > SOURCES_MAX {
        let text = format!("a rewrite of {} archives", rewrite.sources.len());
        return Err(JobError::new(Status::InvalidArgument, text));
    }
    let sources = rewrite
        .sources
        .iter()
        .map(|source| file::resolve(core, source))
        .collect::<Result<Vec<_>, _>>()?;
    let path = file::resolve(core, &rewrite.path)?;
    let scratch_dir = match &rewrite.scratch_dir {
        Some(dir) => file::resolve(core, dir)?,
        None => core.config.data_dir.join("tmp"),
    };
    let spec = rewrite.spec;
    let spec = RewriteSpec {
        topic: spec.topic,
        topic_id: spec.topic_id,
        partition: spec.partition,
        generation: spec.generation,
        created_at: spec.created_at.unwrap_or_else(now_ms),
        base_offset: spec.base_offset,
        last_offset: spec.last_offset,
        leader_epochs: spec.leader_epochs,
        aborted: spec.aborted,
        producer_snapshot: spec.producer_snapshot,
        index: match rewrite.index {
            Index::Merge(Merge::Merge) => RewriteIndex::Merge,
            Index::Build(mode) => RewriteIndex::Build(mode),
        },
        scratch_dir,
    };
    let stopping = Arc::clone(core);
    let stop = StopCheck::new(move || stopping.builds_stopped.load(Ordering::Relaxed));
    let summary = rewrite_archives(&sources, &path, spec, &stop)
        .map_err(|error| if_fsync_failed(core, error))?;
    Ok(describe(&summary))
}
