//! Checks of one record batch.

use crate::bytes::u32_be;
use crate::status::Status;
use crate::wal::batch::{BATCH_HEADER_BYTES, BatchHeader};

/// Bytes of `chronik_batch_info`.
pub const INFO_BYTES: usize = 24;

/// Structure and CRC-32C of one batch; writes `chronik_batch_info`.
pub fn check(batch: &[u8], info_out: &mut [u8]) -> Status {
    let Some(slot) = info_out.get_mut(..INFO_BYTES) else {
        return Status::InvalidArgument;
    };
    let Some(header) = BatchHeader::parse(batch).filter(|_| batch.len() >= BATCH_HEADER_BYTES)
    else {
        return Status::BatchLength;
    };
    if header.magic != 2 {
        return Status::BatchMagic;
    }
    if i64::from(header.length) + 12 != batch.len() as i64 {
        return Status::BatchLength;
    }
    let stored = u32_be(batch, 17);
    if stored != batch.get(21..).map(crc32c::crc32c) {
        return Status::BatchCrc;
    }
    let count = i64::from(header.record_count);
    if count <= 0 || i64::from(header.last_offset_delta) != count - 1 {
        return Status::BatchCount;
    }
    let compressed = header.attributes & 7 != 0;
    let mut info = Vec::with_capacity(INFO_BYTES);
    info.extend_from_slice(&(batch.len() as u32).to_le_bytes());
    info.extend_from_slice(&u32::from(compressed).to_le_bytes());
    info.extend_from_slice(&header.max_timestamp.to_le_bytes());
    info.extend_from_slice(&header.record_count.to_le_bytes());
    info.extend_from_slice(&[0; 4]);
    slot.copy_from_slice(&info);
    Status::Ok
}
