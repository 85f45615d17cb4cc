//! Dropping the end of a log (replication after a leader change; tests).

use std::io;
use std::sync::Arc;

use super::active::Active;
use super::batch::BatchHeader;
use super::error::WalError;
use super::frame::FRAME_BYTES_READ_MAX;
use super::group_commit::Writer;
use super::index::SparseIndex;
use super::log::{Kind, Log, Wal};
use super::scan::{Scanner, Step};
use super::segment::{Segment, SegmentMeta};
use crate::bytes::{lock, write};
use crate::disk::DiskFile;

impl Writer {
    /// Drops every batch whose last offset is at or past `to_offset`; returns the new log end.
    pub fn truncate(&mut self, wal: &Wal, log: &Log, to_offset: i64) -> Result<i64, WalError> {
        wal.poison.check()?;
        if let Some(reason) = &self.read_only {
            return Err(WalError::Damaged(reason.clone()));
        }
        let _alone = lock(&log.maintenance);
        loop {
            let last = crate::bytes::read(&log.view).segments.back().cloned();
            let Some(segment) = last.filter(|segment| segment.meta().last >= to_offset) else {
                break;
            };
            if segment.base >= to_offset {
                self.drop_segment(wal, log, &segment)?;
            } else {
                self.cut_segment(wal, log, &segment, to_offset)?;
                break;
            }
        }
        Ok(log.bounds().1)
    }

    fn drop_segment(
        &mut self,
        wal: &Wal,
        log: &Log,
        segment: &Arc<Segment>,
    ) -> Result<(), WalError> {
        // Halfway there is no writer to go on with.
        log.unlink(wal, segment)
            .map_err(|error| wal.poison.poison(&error.to_string()))?;
        fp!("truncate_after_unlink");
        self.active = None;
        self.next_segment_id = segment.id;
        self.set_end(log, segment.base);
        Ok(())
    }

    fn cut_segment(
        &mut self,
        wal: &Wal,
        log: &Log,
        segment: &Arc<Segment>,
        to_offset: i64,
    ) -> Result<(), WalError> {
        let file = wal.files.file(segment)?;
        let kept = survey(log, segment, file.as_ref(), to_offset)?;
        if kept.meta.bytes == 0 {
            return self.drop_segment(wal, log, segment);
        }
        let poison = |verb: &str, error: io::Error| {
            wal.poison
                .poison(&format!("{verb} {}: {error}", segment.path.display()))
        };
        let fresh = wal.segment(&log.spec, kept.meta, Some(Arc::new(kept.index)));
        {
            let mut view = write(&log.view);
            segment.retire();
            view.segments.pop_back();
            view.segments.push_back(Arc::clone(&fresh));
            view.log_end = kept.meta.last + 1;
        }
        file.set_len(kept.meta.bytes)
            .map_err(|error| poison("cut", error))?;
        fp!("truncate_after_cut");
        file.sync_all().map_err(|error| poison("fsync", error))?;
        wal.files.forget(segment);
        wal.files.adopt(&fresh, file);
        self.next_segment_id = fresh.id;
        self.next_offset = Some(kept.meta.last + 1);
        self.active = Some(Active {
            segment: fresh,
            published: true,
            position: kept.meta.bytes,
            allocated: kept.meta.bytes,
            salt: kept.salt,
            stopped: false,
        });
        Ok(())
    }

    fn set_end(&mut self, log: &Log, end: i64) {
        let mut view = write(&log.view);
        view.log_end = end;
        if view.segments.is_empty() {
            view.log_start = end;
        }
        self.next_offset = Some(end);
    }
}

struct Kept {
    meta: SegmentMeta,
    index: SparseIndex,
    salt: u32,
}

/// What stays of a segment when everything from `to_offset` on goes.
fn survey(
    log: &Log,
    segment: &Segment,
    file: &dyn DiskFile,
    to_offset: i64,
) -> Result<Kept, WalError> {
    let old = segment.meta();
    let mut index = SparseIndex::default();
    let mut meta = SegmentMeta {
        bytes: 0,
        records: 0,
        max_timestamp: -1,
        last: old.base - 1,
        sealed: false,
        ..old
    };
    let mut scanner = Scanner::new(file, segment.identity, 0, old.bytes, FRAME_BYTES_READ_MAX);
    let fail = |error| WalError::io("read", &segment.path, error);
    loop {
        let position = scanner.position();
        match scanner.step().map_err(fail)? {
            Step::End => break,
            Step::Bad(bad) => {
                let (file, reason) = (segment.path.clone(), bad.to_string());
                return Err(WalError::Corrupt {
                    file,
                    position,
                    reason,
                });
            }
            Step::Frame(frame) if frame.header.last_offset >= to_offset => break,
            Step::Frame(frame) => {
                meta.bytes = position + u64::from(frame.header.length);
                if !frame.header.is_data() {
                    continue;
                }
                let batch = match log.spec.kind {
                    Kind::Batches => BatchHeader::parse(frame.body),
                    Kind::Journal => None,
                };
                let timestamp = batch.map_or(-1, |batch| batch.max_timestamp);
                index.add(frame.header.base_offset, position, timestamp);
                meta.last = frame.header.last_offset;
                meta.records += u64::from(frame.header.record_count);
                meta.max_timestamp = meta.max_timestamp.max(timestamp);
            }
        }
    }
    Ok(Kept {
        meta,
        index,
        salt: scanner.salt().unwrap_or(0),
    })
}
