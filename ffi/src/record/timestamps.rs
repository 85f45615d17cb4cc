//! Offsets by time, as ListOffsets answers them.

use super::batch::{TimestampType, batches};
use super::records::decode_records;
use super::{Batch, BatchError, NO_TIMESTAMP};

/// The first record whose timestamp is at or after `target`: (offset, timestamp in ms).
///
/// Batches are skipped by their header's max timestamp; with LogAppendTime that timestamp is every
/// record's. Only the batch that may hold the answer is decompressed (to at most
/// `records_bytes_max`).
pub fn find_timestamp(
    bytes: &[u8],
    target: i64,
    records_bytes_max: usize,
) -> Result<Option<(i64, i64)>, BatchError> {
    for batch in batches(bytes) {
        let batch = batch?;
        if batch.header.max_timestamp < target {
            continue;
        }
        for record in decode_records(&batch, records_bytes_max)?.iter() {
            let record = record?;
            if record.timestamp >= target {
                return Ok(Some((record.offset, record.timestamp)));
            }
        }
    }
    Ok(None)
}

/// The record with the largest timestamp: (offset, timestamp in ms); the first of equals.
///
/// With LogAppendTime every record of the batch has it, and Kafka answers the last offset. None
/// when no record has a timestamp.
pub fn max_timestamp(
    bytes: &[u8],
    records_bytes_max: usize,
) -> Result<Option<(i64, i64)>, BatchError> {
    let mut newest: Option<Batch<'_>> = None;
    for batch in batches(bytes) {
        let batch = batch?;
        let found = newest.map_or(NO_TIMESTAMP, |newest| newest.header.max_timestamp);
        if batch.header.max_timestamp > found {
            newest = Some(batch);
        }
    }
    let Some(batch) = newest else {
        return Ok(None);
    };
    let header = batch.header;
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Ok(Some((header.last_offset(), header.max_timestamp)));
    }
    // The header is the producer's word: take the largest timestamp really there.
    let mut found: Option<(i64, i64)> = None;
    for record in decode_records(&batch, records_bytes_max)?.iter() {
        let record = record?;
        if found.is_none_or(|(_, timestamp)| record.timestamp > timestamp) {
            found = Some((record.offset, record.timestamp));
        }
    }
    Ok(found)
}
