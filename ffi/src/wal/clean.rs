//! Compaction of a log's sealed segments: the last record of each key stays (design D8).

use std::path::PathBuf;
use std::sync::Arc;

use super::active::random_salt;
use super::error::WalError;
use super::frame::{FRAME_BYTES_READ_MAX, FrameHeader, HEADER_BYTES};
use super::group_commit::sync_dir;
use super::index::SparseIndex;
use super::log::{Kind, Log, Wal};
use super::read::{Visit, walk};
use super::scan::{Frame, Scanner, Step};
use super::segment::{Segment, SegmentMeta, encode_footer, footer_header};
use crate::bytes::{lock, now_ms, read, write};
use crate::cleaning::{
    Decisions, MarkerWatch, OffsetMap, Pass, Policy, Rewritten, add_keys, rewrite_batch,
};
use crate::disk::{DiskFile, OpenMode, write_all};
use crate::record::{Batch, BatchError};

const WRITE_BYTES: usize = 1 << 20;
const READ_BYTES: usize = 1 << 20;

/// What may go.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Only sealed segments that end below this offset are rewritten.
    pub keep_from: i64,
    /// Tombstones with an older timestamp go once they are the last record of their key, markers
    /// once nothing of their transaction is left.
    pub tombstones_before_ms: i64,
    pub map_entries_max: usize,
    pub decisions: Decisions,
}

/// What a cleaning did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Segments rewritten.
    pub segments: u64,
    pub bytes_before: u64,
    pub bytes_after: u64,
    pub records_before: u64,
    pub records_after: u64,
}

/// Rewrites sealed segments, oldest first, so that a crash in between never brings back a record
/// whose tombstone or whose marker is gone. Offsets stay. Aborted records go, undecided ones stay;
/// neither supersedes anything.
pub fn clean_log(wal: &Wal, log: &Log, rules: &Rules) -> Result<Cleaned, WalError> {
    if log.spec.kind != Kind::Batches {
        return Err(WalError::Invalid("a journal is not cleaned".into()));
    }
    if let Some(damage) = &read(&log.view).damaged {
        return Err(WalError::Damaged(damage.to_string()));
    }
    let _alone = lock(&log.maintenance);
    let mut cleaned = Cleaned::default();
    let (mut start, log_end) = log.bounds();
    while start < log_end {
        let mut map = OffsetMap::starting_at(start);
        build_map(wal, log, log_end, rules, &mut map)?;
        let segments: Vec<_> = read(&log.view).segments.iter().cloned().collect();
        let mut watch = MarkerWatch::default();
        for segment in segments {
            let meta = segment.meta();
            if meta.sealed && meta.last < rules.keep_from && meta.base < map.end() {
                let pass = Pass {
                    decisions: &rules.decisions,
                    map: &map,
                    policy: Policy::Aged {
                        before_ms: rules.tombstones_before_ms,
                    },
                };
                clean_segment(wal, log, &segment, &pass, &mut watch, &mut cleaned)?;
            }
        }
        start = map.end();
    }
    Ok(cleaned)
}

/// Takes keys from the map's end on until it is full.
fn build_map(
    wal: &Wal,
    log: &Log,
    log_end: i64,
    rules: &Rules,
    map: &mut OffsetMap,
) -> Result<(), WalError> {
    let entries_max = rules.map_entries_max.max(1);
    let mut failure = None;
    while map.end() < log_end && failure.is_none() && map.keys() < entries_max {
        let before = map.end();
        walk(
            wal,
            log,
            before,
            log_end,
            READ_BYTES,
            &mut |frame| match add_frame(map, frame, &rules.decisions, entries_max) {
                Ok(true) if map.keys() < entries_max => Visit::More,
                Ok(_) => Visit::Stop,
                Err(error) => {
                    failure = Some(error);
                    Visit::Stop
                }
            },
        )?;
        if map.end() == before && failure.is_none() {
            // Offsets at the end of a cleaned segment may hold no batch any more.
            map.reaches(log_end);
        }
    }
    failure.map_or(Ok(()), Err)
}

fn add_frame(
    map: &mut OffsetMap,
    frame: &Frame<'_>,
    decisions: &Decisions,
    keys_max: usize,
) -> Result<bool, WalError> {
    let added =
        Batch::parse(frame.body).and_then(|batch| add_keys(map, &batch, decisions, keys_max));
    added.map_err(|error| bad_batch(frame, &error))
}

fn bad_batch(frame: &Frame<'_>, error: &BatchError) -> WalError {
    WalError::Invalid(format!("batch at {}: {error}", frame.header.base_offset))
}

fn clean_segment(
    wal: &Wal,
    log: &Log,
    segment: &Arc<Segment>,
    pass: &Pass<'_>,
    watch: &mut MarkerWatch,
    cleaned: &mut Cleaned,
) -> Result<(), WalError> {
    wal.poison.check()?;
    let before = segment.meta();
    let mut output = Output::create(wal, segment)?;
    let written = output.fill(wal, segment, pass, watch);
    let meta = match written {
        Ok(Some(meta)) => meta,
        Ok(None) => return output.discard(wal),
        Err(error) => {
            output.discard(wal)?;
            return Err(error);
        }
    };
    fp!("clean_before_fsync");
    let synced = output.file.sync_all();
    synced.map_err(|error| {
        let path = output.path.display();
        wal.poison.poison(&format!("fsync {path}: {error}"))
    })?;
    fp!("clean_before_rename");
    let fresh = wal.segment(&log.spec, meta, None);
    {
        // Readers find the old segment with its file, or the new one with its.
        let mut view = write(&log.view);
        let mut state = write(&segment.state);
        let renamed = wal.files.disk.rename(&output.path, &segment.path);
        renamed.map_err(|error| WalError::io("rename to", &segment.path, error))?;
        state.obsolete = true;
        if let Some(slot) = view
            .segments
            .iter_mut()
            .find(|other| other.id == segment.id)
        {
            *slot = fresh;
        }
    }
    wal.files.forget(segment);
    fp!("clean_after_rename");
    sync_dir(wal, &log.spec.dir)?;
    cleaned.segments += 1;
    cleaned.bytes_before += before.bytes;
    cleaned.bytes_after += meta.bytes;
    cleaned.records_before += before.records;
    cleaned.records_after += meta.records;
    Ok(())
}

/// The replacement of a segment while it is written.
struct Output {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Bytes written to the file.
    written: u64,
    salt: u32,
    index: SparseIndex,
    meta: SegmentMeta,
}

impl Output {
    fn create(wal: &Wal, segment: &Segment) -> Result<Output, WalError> {
        let mut name = segment.path.clone().into_os_string();
        name.push(".clean");
        let path = PathBuf::from(name);
        let fail = |error| WalError::io("create", &path, error);
        match wal.files.disk.remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        let file = wal
            .files
            .disk
            .open(&path, OpenMode::CreateNew)
            .map_err(fail)?;
        let meta = SegmentMeta {
            bytes: 0,
            records: 0,
            max_timestamp: -1,
            cleaned: true,
            ..segment.meta()
        };
        Ok(Output {
            path,
            file,
            buffer: Vec::new(),
            written: 0,
            salt: random_salt(),
            index: SparseIndex::default(),
            meta,
        })
    }

    /// Writes what stays of the segment; None when that is all of it.
    fn fill(
        &mut self,
        wal: &Wal,
        segment: &Segment,
        pass: &Pass<'_>,
        watch: &mut MarkerWatch,
    ) -> Result<Option<SegmentMeta>, WalError> {
        let old = segment.meta();
        let file = wal.files.file(segment)?;
        let frames_max = FRAME_BYTES_READ_MAX;
        let mut scanner = Scanner::new(file.as_ref(), segment.identity, 0, old.bytes, frames_max);
        let mut changed = false;
        loop {
            let position = scanner.position();
            let step = scanner.step();
            let frame = match step.map_err(|error| WalError::io("read", &segment.path, error))? {
                Step::End => break,
                Step::Frame(frame) => frame,
                Step::Bad(bad) => {
                    let (file, reason) = (segment.path.clone(), bad.to_string());
                    return Err(WalError::Corrupt {
                        file,
                        position,
                        reason,
                    });
                }
            };
            if !frame.header.is_data() {
                changed = true;
                continue;
            }
            // The last batch stays, if empty, so that the segment still ends where it ended.
            let is_last = frame.header.last_offset == old.last;
            let rewritten = Batch::parse(frame.body)
                .and_then(|batch| rewrite_batch(&batch, pass, watch))
                .map_err(|error| bad_batch(&frame, &error))?;
            match rewritten {
                Rewritten::Same => self.add(&frame.header, frame.body)?,
                Rewritten::Changed(body) => {
                    changed = true;
                    self.add(&frame.header, &body)?;
                }
                Rewritten::Empty(body) if is_last => {
                    changed |= body != frame.body;
                    self.add(&frame.header, &body)?;
                }
                Rewritten::Empty(_) => changed = true,
            }
        }
        if !changed {
            return Ok(None);
        }
        self.finish(segment).map(Some)
    }

    fn add(&mut self, old: &FrameHeader, body: &[u8]) -> Result<(), WalError> {
        let batch = super::batch::BatchHeader::parse(body);
        let records = batch.map_or(0, |batch| u32::try_from(batch.record_count).unwrap_or(0));
        let max_timestamp = batch.map_or(-1, |batch| batch.max_timestamp);
        let position = self.written + self.buffer.len() as u64;
        let header = FrameHeader {
            record_count: records,
            synced_to: position,
            salt: self.salt,
            ..*old
        };
        header.encode(body, &mut self.buffer);
        self.buffer.extend_from_slice(body);
        self.index.add(old.base_offset, position, max_timestamp);
        self.meta.records += u64::from(records);
        self.meta.max_timestamp = self.meta.max_timestamp.max(max_timestamp);
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), WalError> {
        let written = write_all(self.file.as_ref(), &[&self.buffer], self.written);
        written.map_err(|error| WalError::io("write", &self.path, error))?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self, segment: &Segment) -> Result<SegmentMeta, WalError> {
        self.meta.bytes = self.written + self.buffer.len() as u64;
        let footer = encode_footer(&self.meta, &self.index);
        let header = footer_header(&self.meta, segment.identity, self.salt, now_ms());
        let mut head = Vec::with_capacity(HEADER_BYTES);
        header.encode(&footer, &mut head);
        self.buffer.extend_from_slice(&head);
        self.buffer.extend_from_slice(&footer);
        self.flush()?;
        Ok(self.meta)
    }

    fn discard(&self, wal: &Wal) -> Result<(), WalError> {
        let removed = wal.files.disk.remove_file(&self.path);
        removed.map_err(|error| WalError::io("unlink", &self.path, error))
    }
}
