//! Jobs: JSON and raw bytes in, JSON and raw bytes out. Shapes: `ffi/chronik.h`.

pub mod archive;
pub mod batch;
pub mod compact;
pub mod file;
pub mod log;
pub mod rewrite;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::abi::return_freed_memory;
use crate::bytes::u32_le;
use crate::completion::Completion;
use crate::engine::Core;
use crate::status::Status;
use crate::wal::error::WalError;

/// A parsed job. `log` may also stand in the command's header.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Job {
    OpenLog(log::OpenLog),
    CloseLog {
        #[serde(default)]
        log: u32,
    },
    Seal {
        #[serde(default)]
        log: u32,
    },
    Segments {
        #[serde(default)]
        log: u32,
    },
    SetSegmentBytes {
        #[serde(default)]
        log: u32,
        bytes_max: u64,
    },
    Release {
        #[serde(default)]
        log: u32,
        ids: Vec<u64>,
    },
    Truncate {
        #[serde(default)]
        log: u32,
        to_offset: i64,
    },
    ReadHeaders {
        #[serde(default)]
        log: u32,
        from_offset: i64,
        offset_limit: i64,
        batches_max: u64,
    },
    ReadTime {
        #[serde(default)]
        log: u32,
        from_offset: i64,
        offset_limit: i64,
        target: i64,
    },
    Clean(log::Clean),
    VerifyLog(log::OpenLog),
    BuildArchive(archive::Build),
    RewriteArchive(rewrite::Rewrite),
    MapKeys(compact::MapKeys),
    CompactArchive(compact::Compact),
    VerifyArchive {
        path: String,
        #[serde(default)]
        expected: archive::ExpectedArchive,
    },
    ReadManifest {
        path: Option<String>,
    },
    InflateChunk {
        raw_len: u64,
        crc32c: u32,
    },
    ReadToc {
        archive_bytes: u64,
    },
    FindTime {
        target: i64,
        #[serde(default)]
        from_offset: i64,
    },
    Validate,
    Recompress {
        codec: Value,
        #[serde(default)]
        level: Option<i32>,
        batch_bytes_max: u64,
    },
    Decompress {
        codec: Value,
        bytes_max: u64,
    },
    WriteFile {
        path: String,
    },
    AppendScratch {
        path: String,
        position: u64,
    },
    ReadFile {
        path: String,
        #[serde(default)]
        position: u64,
        length: Option<u64>,
    },
    RemoveFile {
        path: String,
    },
    MakeDir {
        path: String,
    },
    Rename {
        from: String,
        to: String,
    },
    RemoveDir {
        path: String,
    },
    ListDir {
        path: String,
    },
    PutFile {
        from: String,
        to: String,
        #[serde(default)]
        if_absent: bool,
    },
    Disk {
        path: String,
    },
    Stats,
    StopBuilds,
    FaultPoint {
        name: String,
    },
}

/// What a job answers.
#[derive(Debug, Default)]
pub struct Output {
    pub json: Value,
    pub raw: Vec<u8>,
}

impl Output {
    /// An answer without raw bytes.
    pub fn of(json: Value) -> Self {
        Output {
            json,
            raw: Vec::new(),
        }
    }
}

/// A job that failed: a status for the program and a sentence for the log.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct JobError {
    pub status: Status,
    pub text: String,
}

impl JobError {
    pub fn new(status: Status, text: String) -> Self {
        JobError { status, text }
    }

    /// The answer of a job whose thread panicked.
    pub fn panicked(what: &str) -> Self {
        JobError::new(Status::Internal, format!("{what} panicked"))
    }
}

impl From<WalError> for JobError {
    fn from(error: WalError) -> Self {
        JobError {
            status: error.status(),
            text: error.to_string(),
        }
    }
}

impl Job {
    /// The log the job names.
    pub fn log(&self) -> Option<u32> {
        match self {
            Job::CloseLog { log }
            | Job::Seal { log }
            | Job::Segments { log }
            | Job::SetSegmentBytes { log, .. }
            | Job::Release { log, .. }
            | Job::Truncate { log, .. }
            | Job::ReadTime { log, .. }
            | Job::ReadHeaders { log, .. } => Some(*log),
            Job::Clean(clean) => Some(clean.log),
            Job::BuildArchive(build) => Some(build.log),
            _ => None,
        }
    }

    fn set_log(&mut self, handle: u32) {
        match self {
            Job::CloseLog { log }
            | Job::Seal { log }
            | Job::Segments { log }
            | Job::SetSegmentBytes { log, .. }
            | Job::Release { log, .. }
            | Job::Truncate { log, .. }
            | Job::ReadTime { log, .. }
            | Job::ReadHeaders { log, .. } => *log = handle,
            Job::Clean(clean) => clean.log = handle,
            Job::BuildArchive(build) => build.log = handle,
            _ => {}
        }
    }

    /// Which threads run it.
    pub fn room(&self) -> Room {
        match self {
            Job::InflateChunk { .. }
            | Job::ReadToc { .. }
            | Job::ReadManifest { .. }
            | Job::FindTime { .. } => Room::Cold,
            Job::RemoveDir { .. }
            | Job::BuildArchive(_)
            | Job::RewriteArchive(_)
            | Job::MapKeys(_)
            | Job::CompactArchive(_)
            | Job::VerifyArchive { .. }
            | Job::Clean(_)
            | Job::VerifyLog(_) => Room::Heavy,
            _ => Room::Light,
        }
    }
}

/// Threads of one priority each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// What somebody waits for.
    Light,
    /// Readers of archives.
    Cold,
    /// Work in the background.
    Heavy,
}

/// The job in a payload, and where its raw bytes start.
pub fn parse(payload: &[u8], handle: u32) -> Result<(Job, usize), JobError> {
    let bad = |text: String| JobError::new(Status::InvalidArgument, text);
    let length = u32_le(payload, 0).unwrap_or(0) as usize;
    let text = payload
        .get(4..4 + length)
        .ok_or_else(|| bad(format!("job JSON of {length} bytes in {}", payload.len())))?;
    let mut job: Job =
        serde_json::from_slice(text).map_err(|error| bad(format!("job: {error}")))?;
    if handle != 0 {
        job.set_log(handle);
    }
    Ok((job, 4 + length))
}

/// Runs a job on a worker and queues its completion.
pub fn run(core: &Arc<Core>, token: u64, job: Job, raw: &[u8]) {
    let builds = matches!(
        job,
        Job::BuildArchive(_) | Job::RewriteArchive(_) | Job::CompactArchive(_)
    );
    let outcome = catch_unwind(AssertUnwindSafe(|| dispatch(core, job, raw)));
    if builds {
        return_freed_memory();
    }
    match outcome.unwrap_or_else(|_| Err(JobError::panicked("the job"))) {
        Ok(output) => finish(core, token, output),
        Err(error) => fail(core, token, &error),
    }
}

fn dispatch(core: &Arc<Core>, job: Job, raw: &[u8]) -> Result<Output, JobError> {
    match job {
        Job::OpenLog(open) => log::open(core, &open),
        Job::Segments { log } => log::segments(core, log),
        Job::SetSegmentBytes { log, bytes_max } => log::set_segment_bytes(core, log, bytes_max),
        Job::Release { log, ids } => log::release(core, log, &ids),
        Job::ReadHeaders {
            log,
            from_offset,
            offset_limit,
            batches_max,
        } => log::read_headers(core, log, from_offset, offset_limit, batches_max),
        Job::ReadTime {
            log,
            from_offset,
            offset_limit,
            target,
        } => log::read_time(core, log, from_offset, offset_limit, target),
        Job::Clean(clean) => log::clean(core, &clean),
        Job::VerifyLog(verify) => log::verify(core, &verify),
        Job::BuildArchive(build) => archive::build(core, build),
        Job::RewriteArchive(rewrite) => rewrite::rewrite(core, rewrite),
        Job::MapKeys(job) => compact::map_keys(core, &job),
        Job::CompactArchive(job) => compact::compact(core, job),
        Job::VerifyArchive { path, expected } => archive::verify(core, &path, expected),
        Job::ReadManifest { path: Some(path) } => archive::read_manifest(core, &path),
        Job::ReadManifest { path: None } => archive::parse_manifest(raw),
        Job::InflateChunk { raw_len, crc32c } => archive::inflate_chunk(raw_len, crc32c, raw),
        Job::ReadToc { archive_bytes } => archive::read_toc(archive_bytes, raw),
        Job::FindTime {
            target,
            from_offset,
        } => {
            let found = batch::locate_time(raw, from_offset, target)?;
            Ok(batch::time_answer(found))
        }
        Job::Validate => batch::validate(raw),
        Job::Recompress {
            codec,
            level,
            batch_bytes_max,
        } => batch::recompress(&text_of(&codec), level, batch_bytes_max, raw),
        Job::Decompress { codec, bytes_max } => batch::decompress(&text_of(&codec), bytes_max, raw),
        Job::WriteFile { path } => file::write_file(core, &path, raw),
        Job::AppendScratch { path, position } => file::append_scratch(core, &path, position, raw),
        Job::ReadFile {
            path,
            position,
            length,
        } => file::read_file(core, &path, position, length),
        Job::RemoveFile { path } => file::remove_file(core, &path),
        Job::MakeDir { path } => file::make_dir(core, &path),
        Job::Rename { from, to } => file::rename(core, &from, &to),
        Job::RemoveDir { path } => file::remove_dir(core, &path),
        Job::ListDir { path } => file::list_dir(core, &path),
        Job::PutFile {
            from,
            to,
            if_absent,
        } => file::put_file(core, &from, &to, if_absent),
        Job::Disk { path } => file::disk(core, &path),
        Job::Stats => Ok(stats(core)),
        Job::StopBuilds => {
            core.builds_stopped.store(true, Ordering::Relaxed);
            Ok(Output::of(json!({})))
        }
        Job::FaultPoint { name } => fault_point(&name),
        Job::Seal { .. } | Job::Truncate { .. } | Job::CloseLog { .. } => Err(JobError::new(
            Status::Internal,
            "this job runs on the log's own queue".into(),
        )),
    }
}

/// A codec is given by its name or its number.
fn text_of(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn stats(core: &Core) -> Output {
    use std::sync::atomic::Ordering::Relaxed;
    let (completions, results) = core.completions.depth();
    Output::of(json!({
        "fsyncs": core.wal.fsyncs.load(Relaxed),
        "groups": core.wal.groups.load(Relaxed),
        "queued_appends": core.queued_appends.load(Relaxed),
        "queued_bytes": core.queued_bytes.load(Relaxed),
        "queued_jobs": core.queued_jobs.load(Relaxed),
        "completions": completions,
        "results": results,
        "files_open": core.wal.files.open_count(),
        "logs": crate::bytes::read(&core.logs).len(),
    }))
}

#[cfg(feature = "fp")]
fn fault_point(name: &str) -> Result<Output, JobError> {
    fp!(name);
    Ok(Output::of(json!({})))
}

#[cfg(not(feature = "fp"))]
fn fault_point(name: &str) -> Result<Output, JobError> {
    Err(JobError::new(
        Status::NotFound,
        format!("fault point {name}: not in this build"),
    ))
}

/// Queues a successful answer.
pub fn finish(core: &Core, token: u64, output: Output) {
    let done = Completion::plain(token, Status::Ok, 0, 0);
    core.completions
        .push_result(done, envelope(&output.json, output.raw));
}

/// Queues a failure with its text.
pub fn fail(core: &Core, token: u64, error: &JobError) {
    core.note(&error.text);
    let done = Completion::plain(token, error.status, 0, 0);
    core.completions
        .push_result(done, envelope(&json!({ "error": error.text }), Vec::new()));
}

/// u32 json_len, json, raw.
fn envelope(json: &Value, raw: Vec<u8>) -> Vec<u8> {
    let text = if json.is_null() {
        "{}".to_owned()
    } else {
        json.to_string()
    };
    let mut out = Vec::with_capacity(4 + text.len() + raw.len());
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(&raw);
    out
}
