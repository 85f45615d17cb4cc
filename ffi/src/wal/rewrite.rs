//! What stays of one batch when its log is cleaned.

use super::clean::{Pass, RECORDS_BYTES_MAX};
use super::decided::{Fate, MarkerWatch};
use super::error::WalError;
use crate::codec::{Codec, decompress};
use crate::record::{Batch, BatchError, HEADER_BYTES, Record, decode_records};

/// A batch after cleaning.
pub(super) enum Rewritten {
    /// Every record stays: byte for byte.
    Same,
    /// Some stay; offsets, sequence and producer fields are as before.
    Fewer(Vec<u8>),
    /// None stays; the bytes are the batch without records.
    Empty(Vec<u8>),
}

/// Applies the rules to one batch; `watch` is told of every batch in order.
pub(super) fn rewrite_batch(
    bytes: &[u8],
    pass: &Pass<'_>,
    watch: &mut MarkerWatch,
) -> Result<Rewritten, WalError> {
    let bad = |error: BatchError| WalError::Invalid(format!("batch: {error}"));
    let batch = Batch::parse(bytes).map_err(bad)?;
    let header = batch.header;
    let idle = watch.is_idle(&header, bytes, &pass.rules.decisions);
    if header.is_control() {
        let goes = idle && header.max_timestamp < pass.rules.tombstones_before_ms;
        return Ok(if goes {
            Rewritten::Empty(assemble(bytes, &[], 0, header.max_timestamp))
        } else {
            Rewritten::Same
        });
    }
    match pass.rules.decisions.fate(&header) {
        Fate::Counts => {}
        Fate::Undecided => return Ok(Rewritten::Same),
        Fate::Aborted => return Ok(Rewritten::Empty(assemble(bytes, &[], 0, -1))),
    }
    let codec = header.codec().map_err(|error| bad(error.into()))?;
    let inflated = match codec {
        Codec::None => None,
        codec => Some(
            decompress(codec, batch.payload(), RECORDS_BYTES_MAX)
                .map_err(|error| bad(error.into()))?,
        ),
    };
    let payload = inflated.as_deref().unwrap_or(batch.payload());
    let records = decode_records(&batch, RECORDS_BYTES_MAX).map_err(bad)?;
    let mut kept: Vec<u8> = Vec::new();
    let (mut seen, mut count, mut max_timestamp) = (0i32, 0i32, -1);
    let mut at = 0;
    for record in records.iter() {
        let record = record.map_err(bad)?;
        let end =
            record_end(payload, at).ok_or_else(|| WalError::Invalid("record length".into()))?;
        if stays(&record, pass) {
            kept.extend_from_slice(payload.get(at..end).unwrap_or_default());
            count += 1;
            max_timestamp = record.timestamp.max(max_timestamp);
        }
        seen += 1;
        at = end;
    }
    if count == seen && seen > 0 {
        return Ok(Rewritten::Same);
    }
    let body = assemble(bytes, &kept, count, max_timestamp);
    if count == 0 {
        return Ok(Rewritten::Empty(body));
    }
    Ok(Rewritten::Fewer(body))
}

fn stays(record: &Record<'_>, pass: &Pass<'_>) -> bool {
    let Pass { rules, map } = pass;
    let Some(key) = record.key else { return true };
    if map.supersedes(key, record.offset) {
        return false;
    }
    record.value.is_some()
        || !map.covers(record.offset)
        || record.timestamp >= rules.tombstones_before_ms
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

/// The header of `bytes` over other, uncompressed records.
fn assemble(bytes: &[u8], records: &[u8], count: i32, max_timestamp: i64) -> Vec<u8> {
    let mut out = bytes.get(..HEADER_BYTES).unwrap_or_default().to_vec();
    out.extend_from_slice(records);
    let length = i32::try_from(out.len() - 12).unwrap_or(i32::MAX);
    put(&mut out, 8, &length.to_be_bytes());
    let attributes = crate::bytes::u16_be(bytes, 21).unwrap_or(0) & !7;
    put(&mut out, 21, &attributes.to_be_bytes());
    put(&mut out, 35, &max_timestamp.to_be_bytes());
    put(&mut out, 57, &count.to_be_bytes());
    let crc = crc32c::crc32c(out.get(21..).unwrap_or_default());
    put(&mut out, 17, &crc.to_be_bytes());
    out
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(slot) = out.get_mut(at..at + bytes.len()) {
        slot.copy_from_slice(bytes);
    }
}
