//! Checks of a batch: cheap (header and CRC) and deep (every record).

use super::batch::{Batch, BatchHeader, TimestampType};
use super::records::{DecodedRecords, decode_records};
use super::{BatchError, NO_TIMESTAMP};

/// Who wrote the batch, and so which rules hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Straight from a producer: no control bit, no delete horizon, CreateTime, dense offsets.
    Client,
    /// Out of our own log: control batches, LogAppendTime and compacted batches may appear.
    Log,
}

/// What a batch may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub origin: Origin,
    /// The records of the batch, decompressed, in bytes.
    pub records_bytes_max: usize,
    /// Headers of one record.
    pub headers_max: usize,
}

impl Limits {
    /// A producer's batch: 128 MiB of records, 65,536 headers a record.
    pub const CLIENT: Limits = Limits {
        origin: Origin::Client,
        records_bytes_max: 128 * 1024 * 1024,
        headers_max: 65_536,
    };
}

/// What a valid batch says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchInfo {
    pub header: BatchHeader,
    /// Every record has a key (an empty one counts). False unless `validate_records` looked.
    pub all_keyed: bool,
    /// Largest timestamp of the records, ms. The header's unless `validate_records` looked.
    pub max_timestamp: i64,
    /// Bytes of the records without compression. The payload's unless `validate_records` looked.
    pub records_bytes: usize,
}

/// Length, magic, CRC, attributes, counts and producer fields of exactly one batch.
///
/// The base offset is not looked at: the log assigns its own.
pub fn validate_header(bytes: &[u8], origin: Origin) -> Result<BatchInfo, BatchError> {
    let batch = Batch::parse(bytes)?;
    batch.check_crc()?;
    let header = batch.header;
    header.codec()?;
    if header.has_unknown_attributes() {
        return Err(BatchError::invalid("unknown attribute bits are set"));
    }
    check_counts(&header, origin)?;
    if origin == Origin::Client {
        check_client(&header)?;
    }
    Ok(BatchInfo {
        header,
        all_keyed: false,
        max_timestamp: header.max_timestamp,
        records_bytes: batch.payload().len(),
    })
}

/// `validate_header`, then every record: lengths exact, varints well-formed, offset deltas dense
/// (a client's) or rising (a log's), header counts bounded, no bytes left over.
pub fn validate_records(bytes: &[u8], limits: &Limits) -> Result<BatchInfo, BatchError> {
    decode_valid(bytes, limits).map(|(info, _)| info)
}

/// `validate_records`, and the records it decompressed.
pub fn decode_valid<'a>(
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<(BatchInfo, DecodedRecords<'a>), BatchError> {
    let info = validate_header(bytes, limits.origin)?;
    let batch = Batch {
        header: info.header,
        bytes,
    };
    let decoded = decode_records(&batch, limits.records_bytes_max)?;
    let mut all_keyed = true;
    let mut max_timestamp = NO_TIMESTAMP;
    let mut seen = 0i32;
    let mut previous_delta = -1i32;
    for record in decoded.iter() {
        let record = record?;
        match limits.origin {
            Origin::Client if record.offset_delta != seen => {
                return Err(BatchError::invalid(format!(
                    "offset delta {} where {seen} is due",
                    record.offset_delta
                )));
            }
            _ if record.offset_delta <= previous_delta
                || record.offset_delta > info.header.last_offset_delta =>
            {
                return Err(BatchError::invalid("offset deltas do not rise"));
            }
            _ => {}
        }
        if record.headers.count() > limits.headers_max {
            return Err(BatchError::invalid("too many headers in one record"));
        }
        previous_delta = record.offset_delta;
        all_keyed &= record.key.is_some();
        max_timestamp = max_timestamp.max(record.timestamp);
        seen += 1;
    }
    if seen != info.header.record_count {
        return Err(BatchError::corrupt("fewer records than the header counts"));
    }
    let info = BatchInfo {
        all_keyed,
        max_timestamp,
        records_bytes: decoded.payload_bytes(),
        ..info
    };
    Ok((info, decoded))
}

/// The exact check of a batch: the same as `validate_records`.
pub fn validate_batch(bytes: &[u8], limits: &Limits) -> Result<BatchInfo, BatchError> {
    validate_records(bytes, limits)
}

fn check_counts(header: &BatchHeader, origin: Origin) -> Result<(), BatchError> {
    if header.last_offset_delta < 0 {
        return Err(BatchError::invalid("negative last offset delta"));
    }
    let span = i64::from(header.last_offset_delta) + 1;
    let count = i64::from(header.record_count);
    let fits = match origin {
        Origin::Client => count == span,
        // The cleaner may leave fewer records than offsets, or none at all.
        Origin::Log => (0..=span).contains(&count),
    };
    if fits {
        Ok(())
    } else {
        Err(BatchError::invalid(format!(
            "{count} records stated over {span} offsets"
        )))
    }
}

fn check_client(header: &BatchHeader) -> Result<(), BatchError> {
    if header.is_control() {
        return Err(BatchError::invalid(
            "a client may not write control batches",
        ));
    }
    if header.has_delete_horizon() {
        return Err(BatchError::invalid("a client may not set a delete horizon"));
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(BatchError::InvalidTimestamp);
    }
    if header.has_producer_id() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(BatchError::invalid(
            "a producer id needs an epoch and a sequence",
        ));
    }
    if header.is_transactional() && !header.has_producer_id() {
        return Err(BatchError::invalid("a transaction needs a producer id"));
    }
    Ok(())
}
