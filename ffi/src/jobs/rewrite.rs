//! The job that makes one archive of several.

use std::path::PathBuf;
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

impl Rewrite {
    /// The sources, the path of the new archive, and what it is to be.
    pub(super) fn resolve(
        self,
        core: &Core,
    ) -> Result<(Vec<PathBuf>, PathBuf, RewriteSpec), JobError> {
        if self.sources.is_empty() || self.sources.len() > SOURCES_MAX {
            let text = format!("a rewrite of {} archives", self.sources.len());
            return Err(JobError::new(Status::InvalidArgument, text));
        }
        let sources = self
            .sources
            .iter()
            .map(|source| file::resolve(core, source))
            .collect::<Result<Vec<_>, _>>()?;
        let path = file::resolve(core, &self.path)?;
        let scratch_dir = match &self.scratch_dir {
            Some(dir) => file::resolve(core, dir)?,
            None => core.config.data_dir.join("tmp"),
        };
        let Spec {
            topic,
            topic_id,
            partition,
            generation,
            created_at,
            base_offset,
            last_offset,
            leader_epochs,
            aborted,
            producer_snapshot,
        } = self.spec;
        let spec = RewriteSpec {
            topic,
            topic_id,
            partition,
            generation,
            created_at: created_at.unwrap_or_else(now_ms),
            base_offset,
            last_offset,
            leader_epochs,
            aborted,
            producer_snapshot,
            index: match self.index {
                Index::Merge(Merge::Merge) => RewriteIndex::Merge,
                Index::Build(mode) => RewriteIndex::Build(mode),
            },
            scratch_dir,
        };
        Ok((sources, path, spec))
    }
}

/// For a rewrite to look at while it runs: whether the broker stops.
pub(super) fn stop_of(core: &Arc<Core>) -> StopCheck {
    let core = Arc::clone(core);
    StopCheck::new(move || core.builds_stopped.load(Ordering::Relaxed))
}

/// Makes one archive of the sources, which must cover exactly the range asked for.
pub fn rewrite(core: &Arc<Core>, rewrite: Rewrite) -> Result<Output, JobError> {
    let (sources, path, spec) = rewrite.resolve(core)?;
    let summary = rewrite_archives(&sources, &path, spec, &stop_of(core))
        .map_err(|error| if_fsync_failed(core, error))?;
    Ok(describe(&summary))
}
