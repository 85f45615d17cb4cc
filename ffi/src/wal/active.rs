//! The file under the writer: created, preallocated, cut back, sealed, stopped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::error::WalError;
use super::frame::{FLAG_STOP, FrameHeader, HEADER_BYTES};
use super::group_commit::{Writer, sync_dir};
use super::index::SparseIndex;
use super::log::{Log, Wal};
use super::segment::{Segment, SegmentMeta, encode_footer, footer_header, segment_path};
use crate::bytes::{now_ms, write};
use crate::disk::{DiskFile, OpenMode, is_no_space, is_out_of_files};

/// The segment file that is being written.
pub struct Active {
    pub segment: Arc<Segment>,
    /// In the view: it has at least one durable frame.
    pub published: bool,
    /// Durable end; the next frame goes here.
    pub position: u64,
    /// File bytes reserved; `u64::MAX` where the file system cannot reserve.
    pub allocated: u64,
    pub salt: u32,
    /// The last frame is a clean-stop mark.
    pub stopped: bool,
}

/// First reservation of a file: 2,000 idle partitions take 64 MiB.
pub(super) const STEP_BYTES_MIN: u64 = 32 << 10;
const STEP_BYTES_MAX: u64 = 16 << 20;
/// A reservation used up faster than this doubles the next; slower than `SLOW` halves it.
const FAST: Duration = Duration::from_secs(1);
const SLOW: Duration = Duration::from_secs(30);
const BLOCK_BYTES: u64 = 4096;

impl Writer {
    pub(super) fn create(
        &mut self,
        wal: &Wal,
        log: &Log,
        base: i64,
        now: i64,
    ) -> Result<(), WalError> {
        fp!("wal_before_create");
        let id = self.next_segment_id;
        let path = segment_path(&log.spec.dir, &log.spec.prefix, id);
        let created = wal
            .files
            .with_room(|| wal.files.disk.open(&path, OpenMode::CreateNew));
        let file = match created {
            Ok(file) => file,
            // Nothing was touched: this append fails, the next one may find a descriptor.
            Err(error) if is_out_of_files(&error) => {
                return Err(WalError::io("create", &path, error));
            }
            Err(error) if is_no_space(&error) => {
                self.rolled_back = true;
                return Err(WalError::NoSpace { path });
            }
            Err(error) => {
                return Err(wal
                    .poison
                    .poison(&format!("create {}: {error}", path.display())));
            }
        };
        fp!("wal_after_create");
        let meta = SegmentMeta {
            id,
            base,
            last: base - 1,
            bytes: 0,
            records: 0,
            max_timestamp: -1,
            sealed: false,
            cleaned: false,
            first_append_ms: now,
        };
        let segment = wal.segment(&log.spec, meta, Some(Arc::new(SparseIndex::default())));
        wal.files.adopt(&segment, file);
        let (position, allocated, salt) = (0, 0, random_salt());
        let (published, stopped) = (false, false);
        self.active = Some(Active {
            segment,
            published,
            position,
            allocated,
            salt,
            stopped,
        });
        Ok(())
    }

    /// Reserves space up to `end`, in steps that follow the log's rate.
    pub(super) fn allocate(
        &mut self,
        file: &dyn DiskFile,
        end: u64,
        bytes_max: u64,
    ) -> io::Result<()> {
        let Some(active) = &mut self.active else {
            return Ok(());
        };
        if end <= active.allocated {
            return Ok(());
        }
        fp!("wal_before_allocate");
        let elapsed = self.allocated_at.elapsed();
        if elapsed < FAST {
            self.step_bytes = (self.step_bytes * 2).min(STEP_BYTES_MAX);
        } else if elapsed > SLOW {
            self.step_bytes = (self.step_bytes / 2).max(STEP_BYTES_MIN);
        }
        self.allocated_at = Instant::now();
        let step_end = (active.allocated + self.step_bytes).min(bytes_max);
        let target = end.max(step_end).next_multiple_of(BLOCK_BYTES);
        let mut reserved = target;
        let mut result = file.allocate(active.allocated, target - active.allocated);
        if result.as_ref().is_err_and(is_no_space) && target > end {
            // A nearly full disk may still take what is needed now.
            reserved = end;
            result = file.allocate(active.allocated, end - active.allocated);
        }
        match result {
            Ok(()) => active.allocated = reserved,
            Err(error) if error.kind() == io::ErrorKind::Unsupported => active.allocated = u64::MAX,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Rules of design D3: a full disk cuts the file back, anything else ends the process.
    pub(super) fn write_failed(
        &mut self,
        wal: &Wal,
        log: &Log,
        file: &dyn DiskFile,
        error: io::Error,
    ) -> WalError {
        let Some(active) = &mut self.active else {
            return WalError::Closed;
        };
        let path = active.segment.path.clone();
        if !is_no_space(&error) {
            return wal
                .poison
                .poison(&format!("write {}: {error}", path.display()));
        }
        fp!("wal_rollback");
        self.rolled_back = true;
        if !active.published {
            let gone = self
                .abandon(wal)
                .and_then(|()| sync_dir(wal, &log.spec.dir));
            return gone.err().unwrap_or(WalError::NoSpace { path });
        }
        let cut = file.set_len(active.position);
        active.allocated = active.position;
        match cut.and_then(|()| file.sync_data()) {
            Ok(()) => WalError::NoSpace { path },
            Err(error) => wal
                .poison
                .poison(&format!("cut back {}: {error}", path.display())),
        }
    }

    /// Removes a file that never held an acknowledged frame: as if it was not created. Should the
    /// unlink be lost with the power, the file comes back under a name that was never reused, or
    /// that the directory's next fsync gave to its successor.
    pub(super) fn abandon(&mut self, wal: &Wal) -> Result<(), WalError> {
        let unpublished = self.active.take_if(|active| !active.published);
        let Some(Active { segment, .. }) = unpublished else {
            return Ok(());
        };
        wal.files.forget(&segment);
        let removed = wal.files.disk.remove_file(&segment.path);
        removed.map_err(|error| {
            let path = segment.path.display();
            wal.poison.poison(&format!("unlink {path}: {error}"))
        })
    }

    /// The active segment's file. IO only when out of descriptors: nothing was written.
    pub(super) fn active_file(&mut self, wal: &Wal) -> Result<Arc<dyn DiskFile>, WalError> {
        let Some(active) = &self.active else {
            return Err(WalError::Closed);
        };
        match wal.files.file(&active.segment) {
            Ok(file) => Ok(file),
            Err(WalError::Io { verb, path, source }) if is_out_of_files(&source) => {
                self.abandon(wal)?;
                Err(WalError::Io { verb, path, source })
            }
            Err(error) => Err(wal.poison.poison(&error.to_string())),
        }
    }

    /// Ends the active segment with a footer; it is never written again. None: nothing to seal.
    pub fn seal(&mut self, wal: &Wal, log: &Log) -> Result<Option<SegmentMeta>, WalError> {
        wal.poison.check()?;
        let Some(active) = self.active.as_ref().filter(|active| active.published) else {
            return Ok(None);
        };
        if let Some(reason) = &self.read_only {
            return Err(WalError::Damaged(reason.clone()));
        }
        fp!("seal_before_footer");
        let segment = Arc::clone(&active.segment);
        let (meta, index) = {
            let state = crate::bytes::read(&segment.state);
            let meta = SegmentMeta {
                sealed: true,
                bytes: active.position,
                ..state.meta
            };
            (meta, state.index.clone().unwrap_or_default())
        };
        let header = footer_header(&meta, segment.identity, active.salt, now_ms());
        self.write_mark(wal, log, &header, &encode_footer(&meta, &index), "seal")?;
        {
            let mut state = write(&segment.state);
            state.meta = meta;
            state.index = None;
        }
        self.active = None;
        self.next_segment_id = segment.id + 1;
        Ok(Some(meta))
    }

    /// Records the final position, so that the next open can tell loss from a clean stop.
    pub fn stop(&mut self, wal: &Wal, log: &Log) -> Result<(), WalError> {
        wal.poison.check()?;
        let Some(active) = self.active.as_ref().filter(|active| active.published) else {
            return Ok(());
        };
        if active.stopped || self.read_only.is_some() {
            return Ok(());
        }
        let segment = Arc::clone(&active.segment);
        let meta = SegmentMeta {
            bytes: active.position,
            ..segment.meta()
        };
        let mut header = footer_header(&meta, segment.identity, active.salt, now_ms());
        header.flags = FLAG_STOP;
        fp!("stop_before_mark");
        let end = self.write_mark(wal, log, &header, &[], "stop")?;
        fp!("stop_after_mark");
        if let Some(active) = &mut self.active {
            active.stopped = true;
            active.position = end;
            active.allocated = end;
        }
        write(&segment.state).meta.bytes = end;
        Ok(())
    }

    /// Writes a frame without a batch at the end, cuts the file there and syncs it.
    fn write_mark(
        &mut self,
        wal: &Wal,
        log: &Log,
        header: &FrameHeader,
        body: &[u8],
        what: &str,
    ) -> Result<u64, WalError> {
        let Some(active) = &self.active else {
            return Err(WalError::Closed);
        };
        let segment = Arc::clone(&active.segment);
        let mut head = Vec::with_capacity(HEADER_BYTES);
        header.encode(body, &mut head);
        let end = active.position + (head.len() + body.len()) as u64;
        let file = self.active_file(wal)?;
        if let Err(error) = self.write(file.as_ref(), &[&head, body]) {
            return Err(self.write_failed(wal, log, file.as_ref(), error));
        }
        fp!("seal_after_footer");
        let cut = file.set_len(end);
        cut.map_err(|error| {
            wal.poison
                .poison(&format!("{what} {}: {error}", segment.path.display()))
        })?;
        fp!("seal_after_truncate");
        wal.fsyncs.fetch_add(1, Ordering::Relaxed);
        file.sync_all().map_err(|error| {
            wal.poison
                .poison(&format!("fsync {}: {error}", segment.path.display()))
        })?;
        fp!("seal_after_fsync");
        Ok(end)
    }
}

pub(super) fn random_salt() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    let hash = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    (hash >> 32) as u32
}
