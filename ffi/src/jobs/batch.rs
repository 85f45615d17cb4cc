//! Checks and searches of record batches.

use serde_json::json;

use super::{JobError, Output};
use crate::codec::{Codec, CodecError, decompress as decompress_bytes};
use crate::record::{
    Batch, BatchError, Limits, Origin, batches, find_timestamp, max_timestamp,
    recompress as recompress_batch, validate_header, validate_records,
};
use crate::status::Status;

/// Bytes of `chronik_batch_info`.
pub const INFO_BYTES: usize = 24;
/// Info flag: the records are compressed and were not looked at.
const INFO_COMPRESSED: u32 = 1;
/// Info flag: a record has no key.
const INFO_KEYLESS: u32 = 2;
/// Records of one batch, decompressed.
const RECORDS_BYTES_MAX: usize = 128 << 20;

/// Structure, CRC-32C and, where not compressed, every record; writes `chronik_batch_info`.
pub fn check(bytes: &[u8], info_out: &mut [u8]) -> Status {
    let Some(slot) = info_out.get_mut(..INFO_BYTES) else {
        return Status::InvalidArgument;
    };
    let compressed = Batch::parse(bytes)
        .and_then(|batch| Ok(batch.header.codec()? != Codec::None))
        .unwrap_or(false);
    let checked = if compressed {
        validate_header(bytes, Origin::Client)
    } else {
        validate_records(bytes, &Limits::CLIENT)
    };
    let info = match checked {
        Ok(info) => info,
        Err(error) => return batch_status(bytes, &error),
    };
    let flags = match (compressed, info.all_keyed) {
        (true, _) => INFO_COMPRESSED,
        (false, true) => 0,
        (false, false) => INFO_KEYLESS,
    };
    let mut out = Vec::with_capacity(INFO_BYTES);
    let batch_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&batch_bytes.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&info.max_timestamp.to_le_bytes());
    out.extend_from_slice(&info.header.record_count.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    slot.copy_from_slice(&out);
    Status::Ok
}

/// The status of a refused batch.
fn batch_status(bytes: &[u8], error: &BatchError) -> Status {
    match error {
        BatchError::Truncated { .. } | BatchError::Length { .. } => Status::BatchLength,
        BatchError::UnsupportedMagic { .. } => Status::BatchMagic,
        BatchError::Crc { .. } => Status::BatchCrc,
        BatchError::Corrupt { .. } => Status::BatchRecords,
        BatchError::InvalidTimestamp => Status::BatchAttributes,
        BatchError::Codec(error) => codec_status(error),
        BatchError::Invalid { .. } => match Batch::parse(bytes) {
            Ok(Batch { header, .. })
                if i64::from(header.record_count) != i64::from(header.last_offset_delta) + 1 =>
            {
                Status::BatchCount
            }
            Ok(_) if validate_header(bytes, Origin::Client).is_err() => Status::BatchAttributes,
            _ => Status::BatchRecords,
        },
    }
}

fn codec_status(error: &CodecError) -> Status {
    match error {
        CodecError::TooLarge { .. } => Status::BatchTooLarge,
        CodecError::UnknownCodec { .. } => Status::BatchAttributes,
        CodecError::Corrupt { .. } => Status::BatchRecords,
    }
}

/// The deep check of one client batch, decompressed if need be.
pub fn validate(raw: &[u8]) -> Result<Output, JobError> {
    let info = validate_records(raw, &Limits::CLIENT)
        .map_err(|error| JobError::new(batch_status(raw, &error), error.to_string()))?;
    Ok(Output::of(json!({
        "max_timestamp": info.max_timestamp,
        "keyless": !info.all_keyed,
        "record_count": info.header.record_count,
        "records_bytes": info.records_bytes,
    })))
}

/// The deep check, and the batch of the same records in another codec; no raw answer when that has
/// more than `batch_bytes_max` bytes.
pub fn recompress(
    codec: &str,
    level: Option<i32>,
    batch_bytes_max: u64,
    raw: &[u8],
) -> Result<Output, JobError> {
    let codec = codec_named(codec)?;
    let bytes_max = usize::try_from(batch_bytes_max).unwrap_or(usize::MAX);
    let made = recompress_batch(raw, &Limits::CLIENT, codec, level, bytes_max)
        .map_err(|error| JobError::new(batch_status(raw, &error), error.to_string()))?;
    Ok(Output {
        json: json!({
            "max_timestamp": made.info.max_timestamp,
            "keyless": !made.info.all_keyed,
            "record_count": made.info.header.record_count,
            "records_bytes": made.info.records_bytes,
            "batch_bytes": made.batch_bytes,
        }),
        raw: made.batch.unwrap_or_default(),
    })
}

fn codec_named(name: &str) -> Result<Codec, JobError> {
    match name {
        "none" | "0" => Ok(Codec::None),
        "gzip" | "1" => Ok(Codec::Gzip),
        "snappy" | "2" => Ok(Codec::Snappy),
        "lz4" | "3" => Ok(Codec::Lz4),
        "zstd" | "4" => Ok(Codec::Zstd),
        other => {
            let text = format!("codec {other:?}");
            Err(JobError::new(Status::InvalidArgument, text))
        }
    }
}

/// Decompresses bytes to at most `bytes_max`.
pub fn decompress(codec: &str, bytes_max: u64, raw: &[u8]) -> Result<Output, JobError> {
    let codec = codec_named(codec)?;
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let out = decompress_bytes(codec, raw, bytes_max)
        .map_err(|error| JobError::new(codec_status(&error), error.to_string()))?;
    Ok(Output {
        json: json!({ "bytes": out.len() }),
        raw: out,
    })
}

/// Of the records from offset `from` on the first at or after `target`, or with -1 the one with the
/// largest timestamp, as (offset, timestamp, leader epoch of its batch).
pub fn locate_time(
    raw: &[u8],
    from: i64,
    target: i64,
) -> Result<Option<(i64, i64, i32)>, JobError> {
    let corrupt = |error: BatchError| JobError::new(Status::Corrupt, error.to_string());
    let found = if target < 0 {
        max_timestamp(raw, from, RECORDS_BYTES_MAX)
    } else {
        find_timestamp(raw, from, target, RECORDS_BYTES_MAX)
    };
    let Some((offset, timestamp)) = found.map_err(corrupt)? else {
        return Ok(None);
    };
    for batch in batches(raw) {
        let header = batch.map_err(corrupt)?.header;
        if header.last_offset() >= offset {
            return Ok(Some((offset, timestamp, header.leader_epoch)));
        }
    }
    Ok(None)
}

/// The JSON answer of `read_time` and `find_time`.
pub fn time_answer(found: Option<(i64, i64, i32)>) -> Output {
    Output::of(match found {
        Some((offset, timestamp, epoch)) => {
            json!({ "offset": offset, "timestamp": timestamp, "epoch": epoch })
        }
        None => json!({ "offset": -1 }),
    })
}
