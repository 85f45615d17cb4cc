//! What stays of one batch when its log is cleaned.

use super::decided::{Fate, MarkerWatch};
use super::{Pass, Policy, RECORDS_BYTES_MAX};
use crate::codec::{Codec, compress};
use crate::record::{
    Batch, BatchError, BatchHeader, HEADER_BYTES, Record, decode_records, reset_base_timestamp,
};

const LENGTH_AT: usize = 8;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const RECORD_COUNT_AT: usize = 57;
const CODEC_BITS: u16 = 0x07;
const DELETE_HORIZON_BIT: u16 = 0x40;

/// A batch after cleaning.
#[derive(Debug, PartialEq, Eq)]
pub enum Rewritten {
    /// Every record stays: byte for byte.
    Same,
    /// What stays of it; offsets, sequence and producer fields are as before.
    Changed(Vec<u8>),
    /// None stays; the bytes are the batch without records.
    Empty(Vec<u8>),
}

/// Applies the rules to one batch; `watch` is told of every batch in order.
pub fn rewrite_batch(
    batch: &Batch<'_>,
    pass: &Pass<'_>,
    watch: &mut MarkerWatch,
) -> Result<Rewritten, BatchError> {
    let header = batch.header;
    let idle = watch.is_idle(&header, batch.bytes, pass.decisions);
    if header.is_control() {
        return rewrite_marker(batch, idle, pass.policy);
    }
    match pass.decisions.fate(&header) {
        Fate::Counts => {}
        Fate::Undecided => return Ok(Rewritten::Same),
        Fate::Aborted => return Ok(Rewritten::Empty(empty(batch, -1, pass.policy)?)),
    }
    let records = decode_records(batch, RECORDS_BYTES_MAX)?;
    let mut kept = Kept::default();
    let mut at = 0;
    for record in records.iter() {
        let record = record?;
        let end = record_end(records.payload(), at)
            .ok_or_else(|| BatchError::corrupt("record length"))?;
        if stays(&record, &header, pass) {
            kept.add(&record, records.payload().get(at..end), pass);
        }
        kept.seen += 1;
        at = end;
    }
    if kept.count == 0 {
        let max_timestamp = kept.max_timestamp;
        return Ok(Rewritten::Empty(empty(batch, max_timestamp, pass.policy)?));
    }
    let horizon_ms = match pass.policy {
        Policy::Horizon {
            now_ms,
            retention_ms,
        } if kept.tombstones && !header.has_delete_horizon() => {
            Some(now_ms.saturating_add(retention_ms))
        }
        _ => None,
    };
    if kept.count == kept.seen && horizon_ms.is_none() {
        return Ok(Rewritten::Same);
    }
    kept.into_batch(batch, horizon_ms, pass.policy)
        .map(Rewritten::Changed)
}

/// Records that stay, as they stand in the batch.
struct Kept {
    payload: Vec<u8>,
    seen: i32,
    count: i32,
    max_timestamp: i64,
    /// One of them is a tombstone that the offset map covers.
    tombstones: bool,
}

impl Default for Kept {
    fn default() -> Self {
        Kept {
            payload: Vec::new(),
            seen: 0,
            count: 0,
            max_timestamp: -1,
            tombstones: false,
        }
    }
}

impl Kept {
    fn add(&mut self, record: &Record<'_>, bytes: Option<&[u8]>, pass: &Pass<'_>) {
        self.payload.extend_from_slice(bytes.unwrap_or_default());
        self.count += 1;
        self.max_timestamp = self.max_timestamp.max(record.timestamp);
        self.tombstones |= record.value.is_none() && pass.map.covers(record.offset);
    }

    fn into_batch(
        self,
        batch: &Batch<'_>,
        horizon_ms: Option<i64>,
        policy: Policy,
    ) -> Result<Vec<u8>, BatchError> {
        let codec = match policy {
            Policy::Aged { .. } => Codec::None,
            Policy::Horizon { .. } => batch.header.codec()?,
        };
        let payload = match horizon_ms {
            Some(horizon_ms) => reset_base_timestamp(&self.payload, &batch.header, horizon_ms)?,
            None => self.payload,
        };
        let payload = compress(codec, &payload)?;
        let max_timestamp = self.max_timestamp;
        let mut out = assemble(batch.bytes, codec, &payload, self.count, max_timestamp)?;
        if let Some(horizon_ms) = horizon_ms {
            set_horizon(&mut out, horizon_ms);
        }
        seal(&mut out);
        Ok(out)
    }
}

/// A marker goes when nothing is left of what it ended, and its time has come.
fn rewrite_marker(batch: &Batch<'_>, idle: bool, policy: Policy) -> Result<Rewritten, BatchError> {
    let header = batch.header;
    if !idle {
        return Ok(Rewritten::Same);
    }
    let gone = || empty(batch, header.max_timestamp, policy).map(Rewritten::Empty);
    match policy {
        Policy::Aged { before_ms } if header.max_timestamp < before_ms => gone(),
        Policy::Aged { .. } => Ok(Rewritten::Same),
        Policy::Horizon { .. } if header.record_count == 0 => gone(),
        Policy::Horizon { now_ms, .. } if header.has_delete_horizon() => {
            match header.base_timestamp <= now_ms {
                true => gone(),
                false => Ok(Rewritten::Same),
            }
        }
        Policy::Horizon {
            now_ms,
            retention_ms,
        } => {
            let records = decode_records(batch, RECORDS_BYTES_MAX)?;
            let kept = Kept {
                payload: records.payload().to_vec(),
                seen: header.record_count,
                count: header.record_count,
                max_timestamp: header.max_timestamp,
                tombstones: false,
            };
            let horizon_ms = now_ms.saturating_add(retention_ms);
            kept.into_batch(batch, Some(horizon_ms), policy)
                .map(Rewritten::Changed)
        }
    }
}

fn stays(record: &Record<'_>, header: &BatchHeader, pass: &Pass<'_>) -> bool {
    let Pass { policy, map, .. } = pass;
    let Some(key) = record.key else {
        return matches!(policy, Policy::Aged { .. }) || !map.covers(record.offset);
    };
    if map.supersedes(key, record.offset) {
        return false;
    }
    if record.value.is_some() || !map.covers(record.offset) {
        return true;
    }
    match policy {
        Policy::Aged { before_ms } => record.timestamp >= *before_ms,
        Policy::Horizon { now_ms, .. } => {
            !header.has_delete_horizon() || *now_ms < header.base_timestamp
        }
    }
}

/// The end of the record at `at`: a zigzag varint of its length comes first.
fn record_end(payload: &[u8], at: usize) -> Option<usize> {
    let mut raw: u64 = 0;
    for (index, byte) in payload.get(at..)?.iter().take(5).enumerate() {
        raw |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let length = usize::try_from(raw >> 1).ok().filter(|_| raw & 1 == 0)?;
            let end = at.checked_add(index + 1)?.checked_add(length)?;
            return (end <= payload.len()).then_some(end);
        }
    }
    None
}

/// The batch without records. Kafka keeps the largest timestamp of what there was: retention goes
/// by it.
fn empty(batch: &Batch<'_>, aged_timestamp: i64, policy: Policy) -> Result<Vec<u8>, BatchError> {
    let max_timestamp = match policy {
        Policy::Aged { .. } => aged_timestamp,
        Policy::Horizon { .. } => batch.header.max_timestamp,
    };
    let mut out = assemble(batch.bytes, Codec::None, &[], 0, max_timestamp)?;
    seal(&mut out);
    Ok(out)
}

/// The header of `bytes` over other records; its CRC is still to be made.
fn assemble(
    bytes: &[u8],
    codec: Codec,
    records: &[u8],
    count: i32,
    max_timestamp: i64,
) -> Result<Vec<u8>, BatchError> {
    let mut out = bytes.get(..HEADER_BYTES).unwrap_or_default().to_vec();
    out.extend_from_slice(records);
    let length = i32::try_from(out.len() - 12)
        .map_err(|_| BatchError::invalid("a batch of more than 2 GiB"))?;
    put(&mut out, LENGTH_AT, &length.to_be_bytes());
    let attributes = crate::bytes::u16_be(bytes, ATTRIBUTES_AT).unwrap_or(0);
    let attributes = (attributes & !CODEC_BITS) | u16::from(codec.id());
    put(&mut out, ATTRIBUTES_AT, &attributes.to_be_bytes());
    put(&mut out, MAX_TIMESTAMP_AT, &max_timestamp.to_be_bytes());
    put(&mut out, RECORD_COUNT_AT, &count.to_be_bytes());
    Ok(out)
}

fn set_horizon(out: &mut [u8], horizon_ms: i64) {
    let attributes = crate::bytes::u16_be(out, ATTRIBUTES_AT).unwrap_or(0) | DELETE_HORIZON_BIT;
    put(out, ATTRIBUTES_AT, &attributes.to_be_bytes());
    put(out, BASE_TIMESTAMP_AT, &horizon_ms.to_be_bytes());
}

fn seal(out: &mut [u8]) {
    let crc = crc32c::crc32c(out.get(ATTRIBUTES_AT..).unwrap_or_default());
    put(out, CRC_AT, &crc.to_be_bytes());
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = out.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}
