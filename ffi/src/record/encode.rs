//! Writes batches: control markers, cleaned batches, and what tests feed.

use super::BatchError;
use super::batch::{
    BatchHeader, CRC_COVERS_FROM, HEADER_BYTES, NO_PRODUCER_ID, PREFIX_BYTES, TimestampType,
};
use super::varint::{Cursor, write_varint, write_varlong};
use crate::codec::{Codec, compress};

/// The header fields that a writer chooses; the rest follows from the records.
#[derive(Debug, Clone, Copy)]
pub struct BatchSpec {
    pub base_offset: i64,
    pub leader_epoch: i32,
    pub codec: Codec,
    pub log_append_time: bool,
    pub transactional: bool,
    pub control: bool,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
}

impl Default for BatchSpec {
    fn default() -> BatchSpec {
        BatchSpec {
            base_offset: 0,
            leader_epoch: 0,
            codec: Codec::None,
            log_append_time: false,
            transactional: false,
            control: false,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: -1,
            base_sequence: -1,
        }
    }
}

/// A record to write; `offset_delta` must rise from record to record.
#[derive(Debug, Clone, Default)]
pub struct RecordSpec<'a> {
    pub offset_delta: i32,
    /// Milliseconds.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

/// One whole batch, CRC included. No records, or a batch of 2 GiB, is `Invalid`.
pub fn encode_batch(spec: &BatchSpec, records: &[RecordSpec<'_>]) -> Result<Vec<u8>, BatchError> {
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Err(BatchError::invalid("a batch needs a record"));
    };
    let mut payload = Vec::new();
    let mut body = Vec::new();
    let mut max_timestamp = first.timestamp;
    for record in records {
        max_timestamp = max_timestamp.max(record.timestamp);
        body.clear();
        encode_record(&mut body, record, first.timestamp)?;
        write_varint(&mut payload, length_of(body.len())?);
        payload.extend_from_slice(&body);
    }
    let payload = compress(spec.codec, &payload)?;
    let mut attributes = i16::from(spec.codec.id());
    attributes |= i16::from(spec.log_append_time) << 3;
    attributes |= i16::from(spec.transactional) << 4;
    attributes |= i16::from(spec.control) << 5;
    let length = length_of(HEADER_BYTES - PREFIX_BYTES + payload.len())?;

    let mut covered = Vec::with_capacity(HEADER_BYTES - CRC_COVERS_FROM + payload.len());
    covered.extend_from_slice(&attributes.to_be_bytes());
    covered.extend_from_slice(&last.offset_delta.to_be_bytes());
    covered.extend_from_slice(&first.timestamp.to_be_bytes());
    covered.extend_from_slice(&max_timestamp.to_be_bytes());
    covered.extend_from_slice(&spec.producer_id.to_be_bytes());
    covered.extend_from_slice(&spec.producer_epoch.to_be_bytes());
    covered.extend_from_slice(&spec.base_sequence.to_be_bytes());
    covered.extend_from_slice(&length_of(records.len())?.to_be_bytes());
    covered.extend_from_slice(&payload);

    let mut batch = Vec::with_capacity(CRC_COVERS_FROM + covered.len());
    batch.extend_from_slice(&spec.base_offset.to_be_bytes());
    batch.extend_from_slice(&length.to_be_bytes());
    batch.extend_from_slice(&spec.leader_epoch.to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c::crc32c(&covered).to_be_bytes());
    batch.extend_from_slice(&covered);
    Ok(batch)
}

/// The uncompressed records of a batch with `header`, over another base timestamp: the cleaner puts
/// a delete horizon there. Their timestamps stay what they are.
pub fn reset_base_timestamp(
    payload: &[u8],
    header: &BatchHeader,
    base_timestamp: i64,
) -> Result<Vec<u8>, BatchError> {
    let far = || BatchError::invalid("timestamps are too far apart");
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 8);
    let mut body = Vec::new();
    let mut cursor = Cursor::new(payload);
    while !cursor.is_empty() {
        let length = usize::try_from(cursor.varint()?)
            .map_err(|_| BatchError::corrupt("negative record length"))?;
        let mut record = Cursor::new(cursor.take(length)?);
        let attributes = record.u8()?;
        let delta = record.varlong()?;
        let timestamp = match header.timestamp_type() {
            TimestampType::LogAppendTime => header.max_timestamp,
            TimestampType::CreateTime => {
                header.base_timestamp.checked_add(delta).ok_or_else(far)?
            }
        };
        body.clear();
        body.push(attributes);
        write_varlong(
            &mut body,
            timestamp.checked_sub(base_timestamp).ok_or_else(far)?,
        );
        body.extend_from_slice(record.take(record.remaining())?);
        write_varint(&mut out, length_of(body.len())?);
        out.extend_from_slice(&body);
    }
    Ok(out)
}

fn encode_record(
    body: &mut Vec<u8>,
    record: &RecordSpec<'_>,
    base_timestamp: i64,
) -> Result<(), BatchError> {
    let timestamp_delta = record
        .timestamp
        .checked_sub(base_timestamp)
        .ok_or_else(|| BatchError::invalid("timestamps are too far apart"))?;
    body.push(0);
    write_varlong(body, timestamp_delta);
    write_varint(body, record.offset_delta);
    write_nullable(body, record.key)?;
    write_nullable(body, record.value)?;
    write_varint(body, length_of(record.headers.len())?);
    for (key, value) in &record.headers {
        write_nullable(body, Some(key))?;
        write_nullable(body, *value)?;
    }
    Ok(())
}

fn write_nullable(body: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), BatchError> {
    match bytes {
        None => write_varint(body, -1),
        Some(bytes) => {
            write_varint(body, length_of(bytes.len())?);
            body.extend_from_slice(bytes);
        }
    }
    Ok(())
}

pub(super) fn length_of(length: usize) -> Result<i32, BatchError> {
    i32::try_from(length).map_err(|_| BatchError::invalid("longer than 2 GiB"))
}
