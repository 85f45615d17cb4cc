//! Jobs on one log.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use serde::Deserialize;
use serde_json::json;

use super::batch::{locate_time, time_answer};
use super::{JobError, Output, fail, file, finish};
use crate::archive::AbortedRange;
use crate::bytes::{lock, now_ms, read, write};
use crate::cleaning::{Aborted, Decisions, OFFSET_MAP_KEYS_MAX};
use crate::engine::Core;
use crate::status::Status;
use crate::wal::clean::{Rules, clean_log};
use crate::wal::error::WalError;
use crate::wal::group_commit::Writer;
use crate::wal::log::{Item, Kind, Log, LogSpec};
use crate::wal::read::find_batch_by_time;
use crate::wal::recovery::{Report, recover};
use crate::wal::verify::verify_log;

/// `open_log`
#[derive(Clone, Debug, Deserialize)]
pub struct OpenLog {
    dir: String,
    prefix: String,
    log_id: String,
    partition: i32,
    #[serde(default)]
    from_offset: i64,
    kind: String,
    segment_bytes_max: Option<u64>,
    /// Id of the first file, where none exist any more.
    #[serde(default)]
    next_segment_id: u64,
}

impl OpenLog {
    fn spec(&self, core: &Core) -> Result<LogSpec, JobError> {
        let bad = |text: String| JobError::new(Status::InvalidArgument, text);
        let kind = match self.kind.as_str() {
            "batches" => Kind::Batches,
            "journal" => Kind::Journal,
            other => return Err(bad(format!("log kind {other:?}"))),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if self.prefix.is_empty() || self.prefix.starts_with('.') || !self.prefix.chars().all(plain)
        {
            return Err(bad(format!("prefix {:?}", self.prefix)));
        }
        let segment_bytes_max = self
            .segment_bytes_max
            .unwrap_or(core.config.segment_bytes_max);
        let log_id = parse_id(&self.log_id)
            .ok_or_else(|| bad(format!("log_id {:?} is not 32 hex digits", self.log_id)))?;
        Ok(LogSpec {
            dir: file::resolve(core, &self.dir)?,
            prefix: self.prefix.clone(),
            log_id,
            partition: self.partition,
            kind,
            segment_bytes_max,
        })
    }
}

fn parse_id(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some(u128::from_str_radix(text, 16).ok()?.to_be_bytes())
}

/// Recovers a log and gives it a handle.
pub fn open(core: &Arc<Core>, open: &OpenLog) -> Result<Output, JobError> {
    let spec = open.spec(core)?;
    let key = (spec.dir.clone(), spec.prefix.clone());
    if !lock(&core.open_logs).insert(key.clone()) {
        let text = format!("{} {} is open already", spec.dir.display(), spec.prefix);
        return Err(WalError::Exists(text).into());
    }
    let opened = open_owned(core, open, spec);
    if opened.is_err() {
        lock(&core.open_logs).remove(&key);
    }
    opened
}

/// `verify_log`: reads a log's files, open or not, and changes nothing.
pub fn verify(core: &Core, verify: &OpenLog) -> Result<Output, JobError> {
    let spec = verify.spec(core)?;
    let report = verify_log(core.wal.files.disk.as_ref(), &spec)?;
    Ok(Output::of(json!({ "report": report })))
}

fn open_owned(core: &Arc<Core>, open: &OpenLog, spec: LogSpec) -> Result<Output, JobError> {
    let recovered = recover(&core.wal, &spec, open.from_offset, open.next_segment_id)?;
    let handle = core.next_handle.fetch_add(1, Ordering::Relaxed);
    let log = Arc::new(Log {
        handle,
        segment_bytes_max: AtomicU64::new(spec.segment_bytes_max),
        spec,
        view: RwLock::new(recovered.view),
        queue: Mutex::default(),
        writer: Mutex::new(recovered.writer),
        maintenance: Mutex::new(()),
    });
    let output = describe(&log, recovered.report);
    write(&core.logs).insert(handle, log);
    Ok(output)
}

fn describe(log: &Log, report: Report) -> Output {
    let (log_start, log_end) = log.bounds();
    let json = json!({
        "log": log.handle,
        "log_start": log_start,
        "log_end": log_end,
        "segments": log.segments(),
        "epochs": report.epochs,
        "cut_bytes": report.cut_bytes,
        "damaged": read(&log.view).damaged,
        "clean": report.clean,
        "producers": report.producer_count,
        "next_segment_id": lock(&log.writer).next_segment_id,
    });
    Output {
        json,
        raw: report.producers,
    }
}

/// The open log of a handle, or CLOSED.
pub fn find(core: &Core, handle: u32) -> Result<Arc<Log>, JobError> {
    core.log(handle)
        .ok_or_else(|| JobError::new(Status::Closed, "no such log".into()))
}

/// Another size for the segments of an open log; the active one is closed by it too.
pub fn set_segment_bytes(core: &Core, handle: u32, bytes_max: u64) -> Result<Output, JobError> {
    let log = find(core, handle)?;
    log.segment_bytes_max.store(bytes_max, Ordering::Relaxed);
    Ok(Output::of(json!({})))
}

/// Metadata of the log's segments.
pub fn segments(core: &Core, handle: u32) -> Result<Output, JobError> {
    let log = find(core, handle)?;
    let (log_start, log_end) = log.bounds();
    let json = json!({ "segments": log.segments(), "log_start": log_start, "log_end": log_end });
    Ok(Output::of(json))
}

/// Unlinks sealed segments.
pub fn release(core: &Core, handle: u32, ids: &[u64]) -> Result<Output, JobError> {
    let log = find(core, handle)?;
    let bytes = log.release(&core.wal, ids)?;
    Ok(Output::of(
        json!({ "bytes": bytes, "log_start": log.bounds().0 }),
    ))
}

/// `clean`
#[derive(Clone, Debug, Deserialize)]
pub struct Clean {
    #[serde(default)]
    pub log: u32,
    /// Segments that end below this offset may be rewritten; default: all sealed ones.
    keep_from: Option<i64>,
    /// Every transaction below it is decided; default: all are.
    stable_end: Option<i64>,
    /// The aborted transactions that overlap the log.
    #[serde(default)]
    aborted: Vec<AbortedRange>,
    /// A tombstone this old or older goes, once it is the last record of its key.
    #[serde(default)]
    tombstone_age_ms: i64,
    /// Wall clock of the caller.
    now_ms: Option<i64>,
}

impl From<&AbortedRange> for Aborted {
    fn from(range: &AbortedRange) -> Aborted {
        Aborted {
            producer_id: range.producer_id,
            first_offset: range.first_offset,
            last_offset: range.last_offset,
        }
    }
}

/// Compaction of the sealed segments.
pub fn clean(core: &Core, clean: &Clean) -> Result<Output, JobError> {
    let log = find(core, clean.log)?;
    let aborted: Vec<Aborted> = clean.aborted.iter().map(Aborted::from).collect();
    let stable_end = clean.stable_end.unwrap_or(i64::MAX);
    let rules = Rules {
        keep_from: clean.keep_from.unwrap_or(i64::MAX).min(stable_end),
        decisions: Decisions::new(&aborted, stable_end),
        tombstones_before_ms: clean
            .now_ms
            .unwrap_or_else(now_ms)
            .saturating_sub(clean.tombstone_age_ms),
        map_entries_max: OFFSET_MAP_KEYS_MAX,
    };
    let cleaned = clean_log(&core.wal, &log, &rules)?;
    Ok(Output::of(json!({
        "segments": cleaned.segments,
        "bytes_before": cleaned.bytes_before,
        "bytes_after": cleaned.bytes_after,
        "records_before": cleaned.records_before,
        "records_after": cleaned.records_after,
    })))
}

/// The first record at or after a time, or the one with the largest timestamp.
pub fn read_time(
    core: &Core,
    handle: u32,
    from: i64,
    limit: i64,
    target: i64,
) -> Result<Output, JobError> {
    let log = find(core, handle)?;
    let mut next = from;
    loop {
        let hit = find_batch_by_time(&core.wal, &log, next, limit, target)?;
        let Some(hit) = hit else {
            return Ok(time_answer(None));
        };
        if let Some(found) = locate_time(&hit.batch, from, target)? {
            return Ok(time_answer(Some(found)));
        }
        // The header promised a timestamp that no record has: look on behind this batch.
        if target < 0 {
            return Ok(time_answer(None));
        }
        next = hit.last_offset + 1;
    }
}

/// Batch headers.
pub fn read_headers(
    core: &Core,
    handle: u32,
    from: i64,
    limit: i64,
    batches_max: u64,
) -> Result<Output, JobError> {
    let log = find(core, handle)?;
    let found = crate::wal::read::read_headers(&core.wal, &log, from, limit, batches_max)?;
    let json = json!({ "batches": found.batches, "next_offset": found.next_offset });
    Ok(Output {
        json,
        raw: found.bytes,
    })
}

/// Runs an item of the log's queue on its committer.
pub fn run_item(core: &Core, log: &Arc<Log>, writer: &mut Writer, item: Item) {
    let (token, outcome) = match item {
        Item::Append(append) => {
            let committed = writer.commit(&core.wal, log, vec![append]);
            return core.completions.push_all(committed.completions);
        }
        Item::Seal { token } => {
            let sealed = writer.seal(&core.wal, log);
            (token, sealed.map(|segment| json!({ "sealed": segment })))
        }
        Item::Truncate { token, to_offset } => {
            let end = writer.truncate(&core.wal, log, to_offset);
            (token, end.map(|end| json!({ "log_end": end })))
        }
        Item::Close { token } => (token, close(core, log, writer).map(|()| json!({}))),
    };
    match outcome {
        Ok(json) => finish(core, token, Output::of(json)),
        Err(error) => fail(core, token, &error.into()),
    }
}

fn close(core: &Core, log: &Arc<Log>, writer: &mut Writer) -> Result<(), WalError> {
    let stopped = match writer.stop(&core.wal, log) {
        // A full disk has no room for the mark; the next open scans, as after a crash.
        Err(WalError::NoSpace { .. }) => Ok(()),
        other => other,
    };
    for segment in &read(&log.view).segments {
        core.wal.files.forget(segment);
    }
    write(&core.logs).remove(&log.handle);
    let key: (PathBuf, String) = (log.spec.dir.clone(), log.spec.prefix.clone());
    lock(&core.open_logs).remove(&key);
    stopped
}
