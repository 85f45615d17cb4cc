//! The few fields of Kafka's record batch v2 the log looks at; all big-endian.

use crate::bytes::{i16_be, i32_be, i64_be, u16_be};
use crate::record::{Batch, decode_records};

/// Bytes before the records.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes of one entry in the producers list of `open_log`.
pub const PRODUCER_ENTRY_BYTES: usize = 48;

const ATTRIBUTE_CONTROL: u16 = 0x20;
/// A control batch holds one small record.
const CONTROL_BYTES_MAX: usize = 1 << 16;

/// The end of a transaction, as a control batch says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    pub commit: bool,
    pub coordinator_epoch: i32,
}

impl Marker {
    /// None for control records of other kinds, and where the record was cleaned away. The key is
    /// {i16 version, i16 type: 0 abort, 1 commit}, the value {i16 version, i32 coordinator epoch}.
    pub fn of(batch: &[u8]) -> Option<Marker> {
        let batch = Batch::parse(batch).ok()?;
        let records = decode_records(&batch, CONTROL_BYTES_MAX).ok()?;
        let record = records.iter().next()?.ok()?;
        let kind = i16_be(record.key?, 2)?;
        let coordinator_epoch = i32_be(record.value?, 2)?;
        (kind == 0 || kind == 1).then_some(Marker {
            commit: kind == 1,
            coordinator_epoch,
        })
    }
}

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

    pub fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// The 48-byte producer entry of a batch with a producer id, whose bytes are `batch`.
    pub fn producer_entry(&self, batch: &[u8], out: &mut Vec<u8>) -> bool {
        if self.producer_id < 0 {
            return false;
        }
        let marker = self.is_control().then(|| Marker::of(batch)).flatten();
        let coordinator_epoch = marker.map_or(-1, |marker| marker.coordinator_epoch);
        let last_sequence = if self.is_control() {
            marker.map_or(-1, |marker| i32::from(marker.commit))
        } else if self.base_sequence < 0 {
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
        out.extend_from_slice(&coordinator_epoch.to_le_bytes());
        out.extend_from_slice(&self.base_offset.to_le_bytes());
        out.extend_from_slice(&last_offset.to_le_bytes());
        out.extend_from_slice(&self.max_timestamp.to_le_bytes());
        true
    }
}
