//! The few fields of Kafka's record batch v2 the log looks at; all big-endian.

use crate::bytes::{i16_be, i32_be, i64_be, u16_be};

/// Bytes before the records.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes of one entry in the producers list of `open_log`.
pub const PRODUCER_ENTRY_BYTES: usize = 48;

/// Fields of a batch header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Length field: bytes after it.
    pub length: i32,
    pub magic: i8,
    pub attributes: u16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// None when there are fewer than 61 bytes.
    pub fn parse(bytes: &[u8]) -> Option<BatchHeader> {
        Some(BatchHeader {
            base_offset: i64_be(bytes, 0)?,
            length: i32_be(bytes, 8)?,
            magic: i8::from_be_bytes(crate::bytes::array(bytes, 16)?),
            attributes: u16_be(bytes, 21)?,
            last_offset_delta: i32_be(bytes, 23)?,
            base_timestamp: i64_be(bytes, 27)?,
            max_timestamp: i64_be(bytes, 35)?,
            producer_id: i64_be(bytes, 43)?,
            producer_epoch: i16_be(bytes, 51)?,
            base_sequence: i32_be(bytes, 53)?,
            record_count: i32_be(bytes, 57)?,
        })
    }

    /// Why these bytes are not exactly one batch with these offsets, if so.
    pub fn mismatch(&self, bytes: usize, base: i64, last: i64, records: u32) -> Option<String> {
        if self.magic != 2 {
            return Some(format!("batch magic {}", self.magic));
        }
        if i64::from(self.length) + 12 != bytes as i64 {
            return Some(format!("batch length {} in {bytes} bytes", self.length));
        }
        if self.base_offset != base {
            return Some(format!(
                "batch base offset {}, append says {base}",
                self.base_offset
            ));
        }
        if i64::from(self.last_offset_delta) != last - base {
            let delta = self.last_offset_delta;
            return Some(format!(
                "last offset delta {delta}, append says {base} to {last}"
            ));
        }
        if i64::from(self.record_count) != i64::from(records) {
            return Some(format!(
                "{} records, append says {records}",
                self.record_count
            ));
        }
        None
    }

    /// The 48-byte producer entry, for idempotent batches.
    pub fn producer_entry(&self, out: &mut Vec<u8>) -> bool {
        if self.producer_id < 0 {
            return false;
        }
        let last_sequence = if self.base_sequence < 0 {
            self.base_sequence
        } else {
            // Sequences wrap at 2^31.
            let wide = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
            i32::try_from(wide & 0x7fff_ffff).unwrap_or(0)
        };
        let last_offset = self
            .base_offset
            .saturating_add(i64::from(self.last_offset_delta));
        out.extend_from_slice(&self.producer_id.to_le_bytes());
        out.extend_from_slice(&self.producer_epoch.to_le_bytes());
        out.extend_from_slice(&self.attributes.to_le_bytes());
        out.extend_from_slice(&self.base_sequence.to_le_bytes());
        out.extend_from_slice(&last_sequence.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.base_offset.to_le_bytes());
        out.extend_from_slice(&last_offset.to_le_bytes());
        out.extend_from_slice(&self.max_timestamp.to_le_bytes());
        true
    }
}
