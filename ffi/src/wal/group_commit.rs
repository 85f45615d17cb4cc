//! The writer of one log: a group of appends becomes one write, one fdatasync and completions.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::active::{Active, STEP_BYTES_MIN};
use super::batch::BatchHeader;
use super::error::WalError;
use super::frame::{FrameHeader, HEADER_BYTES};
use super::log::{Append, Kind, Log, Wal};
use crate::bytes::{now_ms, write};
use crate::completion::Completion;
use crate::disk::{DiskFile, is_out_of_files, write_all};

/// State only the thread that drains the log touches.
pub struct Writer {
    pub active: Option<Active>,
    /// Id of the next file to create.
    pub next_segment_id: u64,
    /// None: empty log, any base offset starts it.
    pub next_offset: Option<i64>,
    /// Acknowledged bytes are damaged: nothing may be added.
    pub read_only: Option<String>,
    /// After NO_SPACE, appends that were submitted before the caller knew are refused alike.
    pub(super) rolled_back: bool,
    pub(super) step_bytes: u64,
    pub(super) allocated_at: Instant,
}

/// One frame of a group, encoded.
struct Pending {
    append: Append,
    max_timestamp: i64,
}

/// What became of a group.
pub struct Committed {
    pub completions: Vec<Completion>,
    /// Everything still queued behind this group must fail with this error.
    pub fail_behind: Option<WalError>,
}

impl Writer {
    pub fn new(next_segment_id: u64, next_offset: Option<i64>, read_only: Option<String>) -> Self {
        Writer {
            active: None,
            next_segment_id,
            next_offset,
            read_only,
            rolled_back: false,
            step_bytes: STEP_BYTES_MIN,
            allocated_at: Instant::now(),
        }
    }

    /// Writes the appends in order. Completions come in submit order.
    pub fn commit(&mut self, wal: &Wal, log: &Log, appends: Vec<Append>) -> Committed {
        let mut completions = Vec::with_capacity(appends.len());
        let mut pending: Vec<Pending> = Vec::with_capacity(appends.len());
        let mut pending_bytes = 0;
        let mut failure: Option<WalError> = None;
        for append in appends {
            if let Some(error) = &failure {
                completions.push(refused(&append, error));
                continue;
            }
            let expected = pending.last().map(|last| last.append.last_offset + 1);
            let max_timestamp = match self.admit(wal, log, &append, expected) {
                Ok(max_timestamp) => max_timestamp,
                Err(error) => {
                    failure = self.flush(wal, log, &mut pending, &mut completions).err();
                    pending_bytes = 0;
                    completions.push(refused(&append, failure.as_ref().unwrap_or(&error)));
                    continue;
                }
            };
            let frame_bytes = (HEADER_BYTES + append.body().len()) as u64;
            if self.is_full(log, pending_bytes, frame_bytes) {
                let flushed = self.flush(wal, log, &mut pending, &mut completions);
                pending_bytes = 0;
                if let Err(error) = flushed.and_then(|()| self.seal(wal, log).map(|_| ())) {
                    completions.push(refused(&append, &error));
                    failure = Some(error);
                    continue;
                }
            }
            pending_bytes += frame_bytes;
            pending.push(Pending {
                append,
                max_timestamp,
            });
        }
        if failure.is_none() {
            failure = self.flush(wal, log, &mut pending, &mut completions).err();
        }
        Committed {
            completions,
            fail_behind: failure,
        }
    }

    /// Checks one append against the log's end and its own bytes; its largest timestamp.
    fn admit(
        &mut self,
        wal: &Wal,
        log: &Log,
        append: &Append,
        pending_end: Option<i64>,
    ) -> Result<i64, WalError> {
        wal.poison.check()?;
        if let Some(reason) = &self.read_only {
            return Err(WalError::Damaged(reason.clone()));
        }
        let (base, last) = (append.base_offset, append.last_offset);
        if base < 0 || last < base || last == i64::MAX {
            return Err(WalError::Invalid(format!("offsets {base} to {last}")));
        }
        if let Some(end) = pending_end.or(self.next_offset).filter(|end| *end != base) {
            if self.rolled_back && base > end {
                return Err(WalError::NoSpace {
                    path: log.spec.dir.clone(),
                });
            }
            return Err(WalError::OutOfRange(format!(
                "base offset {base}, log ends at {end}"
            )));
        }
        let body = append.body();
        if (HEADER_BYTES + body.len()) as u64 > wal.frame_bytes_max {
            return Err(WalError::TooLarge(format!("batch of {} bytes", body.len())));
        }
        let max_timestamp = match log.spec.kind {
            Kind::Journal => -1,
            Kind::Batches => {
                let header = BatchHeader::parse(body)
                    .ok_or_else(|| WalError::Invalid(format!("batch of {} bytes", body.len())))?;
                match header.mismatch(body.len(), base, last, append.record_count) {
                    Some(text) => return Err(WalError::Invalid(text)),
                    None => header.max_timestamp,
                }
            }
        };
        self.rolled_back = false;
        // The first append decides where an empty log starts, even if the disk then refuses it: one
        // that was submitted behind it must not become the start.
        self.next_offset.get_or_insert(base);
        Ok(max_timestamp)
    }

    fn is_full(&self, log: &Log, pending_bytes: u64, frame_bytes: u64) -> bool {
        let position = self.active.as_ref().map_or(0, |active| active.position);
        let used = position + pending_bytes;
        used > 0 && used + frame_bytes > log.segment_bytes_max.load(Ordering::Relaxed)
    }

    /// One write and one fdatasync for all that is pending. On error all of it is refused.
    fn flush(
        &mut self,
        wal: &Wal,
        log: &Log,
        pending: &mut Vec<Pending>,
        completions: &mut Vec<Completion>,
    ) -> Result<(), WalError> {
        if pending.is_empty() {
            return Ok(());
        }
        let group = std::mem::take(pending);
        match self.write_group(wal, log, &group) {
            Ok(positions) => {
                let segment_id = self.active.as_ref().map_or(0, |active| active.segment.id);
                let done = group.iter().zip(positions).map(|(frame, position)| {
                    let token = frame.append.token;
                    Completion::plain(token, crate::status::Status::Ok, segment_id, position)
                });
                completions.extend(done);
                Ok(())
            }
            Err(error) => {
                // In an empty log too: what was submitted behind this group may not start it.
                let base = group.first().map(|frame| frame.append.base_offset);
                self.next_offset = self.next_offset.or(base);
                completions.extend(group.iter().map(|frame| refused(&frame.append, &error)));
                Err(error)
            }
        }
    }

    fn write_group(
        &mut self,
        wal: &Wal,
        log: &Log,
        group: &[Pending],
    ) -> Result<Vec<u64>, WalError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else {
            return Ok(Vec::new());
        };
        let now = now_ms();
        let created = self.active.is_none();
        if created {
            self.create(wal, log, first.append.base_offset, now)?;
        }
        let file = self.active_file(wal)?;
        let Some(active) = &mut self.active else {
            return Err(WalError::Closed);
        };
        let segment = Arc::clone(&active.segment);
        let (headers, positions) = encode_group(active, group, now);
        let mut parts: Vec<&[u8]> = Vec::with_capacity(group.len() * 2);
        for (header, frame) in headers.chunks_exact(HEADER_BYTES).zip(group) {
            parts.push(header);
            parts.push(frame.append.body());
        }
        let bytes = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        let end = active.position + bytes;
        let written = self
            .allocate(
                file.as_ref(),
                end,
                log.segment_bytes_max.load(Ordering::Relaxed),
            )
            .and_then(|()| {
                fp!("wal_before_write");
                self.write(file.as_ref(), &parts)
            });
        if let Err(error) = written {
            return Err(self.write_failed(wal, log, file.as_ref(), error));
        }
        fp!("wal_after_write");
        sync_data(wal, file.as_ref(), &segment.path)?;
        fp!("wal_after_fsync");
        if created {
            if let Err(error) = sync_dir(wal, &log.spec.dir) {
                self.abandon(wal)?;
                return Err(error);
            }
            fp!("wal_after_dir_fsync");
        }
        wal.groups.fetch_add(1, Ordering::Relaxed);
        self.publish(log, group, &positions, end);
        self.next_offset = Some(last.append.last_offset + 1);
        fp!("wal_before_complete");
        Ok(positions)
    }

    pub(super) fn write(&self, file: &dyn DiskFile, parts: &[&[u8]]) -> io::Result<()> {
        write_all(
            file,
            parts,
            self.active.as_ref().map_or(0, |active| active.position),
        )
    }

    fn publish(&mut self, log: &Log, group: &[Pending], positions: &[u64], end: u64) {
        let Some(active) = &mut self.active else {
            return;
        };
        {
            let mut state = write(&active.segment.state);
            let mut index = state.index.take().unwrap_or_default();
            let entries = Arc::make_mut(&mut index);
            for (frame, position) in group.iter().zip(positions) {
                entries.add(frame.append.base_offset, *position, frame.max_timestamp);
                state.meta.last = frame.append.last_offset;
                state.meta.records += u64::from(frame.append.record_count);
                state.meta.max_timestamp = state.meta.max_timestamp.max(frame.max_timestamp);
            }
            state.meta.bytes = end;
            state.index = Some(index);
        }
        active.position = end;
        active.stopped = false;
        let last = active.segment.meta().last;
        let mut view = write(&log.view);
        if !active.published {
            active.published = true;
            if view.segments.is_empty() {
                view.log_start = active.segment.base;
            }
            view.segments.push_back(Arc::clone(&active.segment));
        }
        view.log_end = last + 1;
    }

    /// Marks what was submitted before the caller heard of a failure as refused alike.
    pub fn refuse_behind(&mut self) {
        self.rolled_back = true;
    }
}

fn encode_group(active: &Active, group: &[Pending], now: i64) -> (Vec<u8>, Vec<u64>) {
    let mut headers = Vec::with_capacity(group.len() * HEADER_BYTES);
    let mut positions = Vec::with_capacity(group.len());
    let mut at = active.position;
    for Pending { append, .. } in group {
        let header = FrameHeader {
            flags: 0,
            length: 0,
            crc: 0,
            identity: active.segment.identity,
            record_count: append.record_count,
            base_offset: append.base_offset,
            last_offset: append.last_offset,
            synced_to: active.position,
            leader_epoch: append.leader_epoch,
            salt: active.salt,
            append_ms: now,
        };
        header.encode(append.body(), &mut headers);
        positions.push(at);
        at += (HEADER_BYTES + append.body().len()) as u64;
    }
    (headers, positions)
}

fn sync_data(wal: &Wal, file: &dyn DiskFile, path: &Path) -> Result<(), WalError> {
    wal.fsyncs.fetch_add(1, Ordering::Relaxed);
    // Never retried: after a failed fsync the kernel may call lost pages clean.
    let synced = file.sync_data();
    synced.map_err(|error| {
        wal.poison
            .poison(&format!("fsync {}: {error}", path.display()))
    })
}

/// Makes creations and removals in a directory durable. IO only when out of descriptors.
pub(super) fn sync_dir(wal: &Wal, dir: &Path) -> Result<(), WalError> {
    let synced = wal.files.with_room(|| wal.files.disk.sync_dir(dir));
    synced.map_err(|error| {
        // No descriptor to sync with: nothing failed yet, and nothing may be acknowledged.
        if is_out_of_files(&error) {
            return WalError::io("open", dir, error);
        }
        wal.poison
            .poison(&format!("fsync {}: {error}", dir.display()))
    })
}

/// The completion of an append that was not written.
pub fn refused(append: &Append, error: &WalError) -> Completion {
    Completion::plain(append.token, error.status(), 0, 0)
}
