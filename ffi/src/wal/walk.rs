//! What the frames of one file add up to.

use std::path::Path;

use super::error::WalError;
use super::frame::{BadFrame, FLAG_STOP, FrameHeader, HEADER_BYTES, VERSION, checksum};
use super::index::SparseIndex;
use super::segment::SegmentMeta;
use crate::bytes::u32_le;
use crate::disk::{DiskFile, read_full};

/// What walking a file's frames found.
pub struct Walk {
    pub meta: SegmentMeta,
    pub index: SparseIndex,
    /// End of the last valid frame.
    pub end: u64,
    pub bad: Option<BadFrame>,
    /// End of a footer frame, where there is one.
    pub footer_end: Option<u64>,
    pub stopped: bool,
    pub salt: u32,
    /// The frames' offsets do not follow each other here.
    pub gap: Option<(u64, String)>,
    pub file_bytes: u64,
}

impl Walk {
    pub fn new(id: u64, end: u64, file_bytes: u64) -> Self {
        let meta = SegmentMeta {
            id,
            base: 0,
            last: -1,
            bytes: end,
            records: 0,
            max_timestamp: -1,
            sealed: false,
            cleaned: false,
            first_append_ms: 0,
        };
        Walk {
            meta,
            index: SparseIndex::default(),
            end,
            bad: None,
            footer_end: None,
            stopped: false,
            salt: 0,
            gap: None,
            file_bytes,
        }
    }

    /// Takes a verified frame in; false when its offsets do not follow.
    pub fn add(
        &mut self,
        position: u64,
        end: u64,
        header: &FrameHeader,
        max_timestamp: i64,
        cleaned: bool,
    ) -> bool {
        self.stopped = header.flags & FLAG_STOP != 0;
        if header.is_data() {
            let first = self.meta.records == 0 && self.meta.last < 0;
            if !first && !cleaned && header.base_offset != self.meta.last + 1 {
                let want = self.meta.last + 1;
                let reason = format!("offset {} where {want} should be", header.base_offset);
                self.gap = Some((position, reason));
                return false;
            }
            if first {
                self.meta.base = header.base_offset;
                self.meta.first_append_ms = header.append_ms;
            }
            self.index.add(header.base_offset, position, max_timestamp);
            self.meta.last = header.last_offset;
            self.meta.records += u64::from(header.record_count);
            self.meta.max_timestamp = self.meta.max_timestamp.max(max_timestamp);
        }
        self.end = end;
        self.meta.bytes = end;
        true
    }
}

/// Err when a whole, intact frame of another version stands at `position`: the first 16 bytes and
/// the checksum rule are the same in every version.
pub fn refuse_newer(
    path: &Path,
    file: &dyn DiskFile,
    position: u64,
    version: u8,
) -> Result<(), WalError> {
    let fail = |error| WalError::io("read", path, error);
    let mut head = [0; HEADER_BYTES];
    let got = read_full(file, &mut head, position).map_err(fail)?;
    let length = u32_le(&head, 8).unwrap_or(0);
    let rest = file.bytes().map_err(fail)?.saturating_sub(position);
    if got < HEADER_BYTES || (length as usize) < HEADER_BYTES || u64::from(length) > rest {
        return Ok(());
    }
    let mut body = vec![0; length as usize - HEADER_BYTES];
    read_full(file, &mut body, position + HEADER_BYTES as u64).map_err(fail)?;
    let stored = u32_le(&head, 12);
    if stored != Some(checksum(&head, &body)) {
        return Ok(());
    }
    let (found, known) = (u64::from(version), u64::from(VERSION));
    Err(WalError::UnknownVersion {
        file: path.to_owned(),
        what: "frame",
        found,
        known,
    })
}
