//! Kafka's record batch, format 2: header, checks, records.
//!
//! Nothing here changes a batch; `recompress` makes another one of the same records.
//! `validate_header` is the cheap check of bytes we were handed, `validate_records` the deep one;
//! `records` walks a batch and `timestamps` searches by time.

mod batch;
mod encode;
mod recompress;
mod records;
mod timestamps;
mod validate;
mod varint;

pub use self::batch::{
    Batch, BatchHeader, Batches, HEADER_BYTES, NO_PRODUCER_ID, NO_TIMESTAMP, TimestampType, batches,
};
pub use self::encode::{BatchSpec, RecordSpec, encode_batch, reset_base_timestamp};
pub use self::recompress::{Recompressed, recompress};
pub use self::records::{DecodedRecords, Header, Headers, Record, Records, decode_records};
pub use self::timestamps::{find_timestamp, max_timestamp};
pub use self::validate::{
    BatchInfo, Limits, Origin, validate_batch, validate_header, validate_records,
};
pub use self::varint::{write_varint, write_varlong};

use thiserror::Error;

use crate::codec::CodecError;

/// Why bytes are not an acceptable batch.
///
/// `Corrupt` is Kafka's CORRUPT_MESSAGE, `Invalid` its INVALID_RECORD, `UnsupportedMagic` its
/// UNSUPPORTED_FOR_MESSAGE_FORMAT, `InvalidTimestamp` its INVALID_TIMESTAMP.
#[derive(Debug, Error)]
pub enum BatchError {
    /// Fewer bytes than the batch states, or than a header needs.
    #[error("truncated batch: {have} bytes of {need}")]
    Truncated { have: usize, need: usize },
    /// The length field is negative, too small, or not the length of the slice.
    #[error("batch length {length} does not fit: {reason}")]
    Length { length: i64, reason: &'static str },
    #[error("unsupported magic {magic}")]
    UnsupportedMagic { magic: i8 },
    /// The CRC-32C over attributes..end differs from the stored one.
    #[error("stored crc {stored:08x}, computed {computed:08x}")]
    Crc { stored: u32, computed: u32 },
    /// Bytes that no encoder writes.
    #[error("corrupt records: {reason}")]
    Corrupt { reason: String },
    /// Well-formed, but not allowed.
    #[error("invalid batch: {reason}")]
    Invalid { reason: String },
    /// The timestamp type is not the client's to choose.
    #[error("a client may not write LogAppendTime batches")]
    InvalidTimestamp,
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl BatchError {
    pub(crate) fn corrupt(reason: impl Into<String>) -> BatchError {
        BatchError::Corrupt {
            reason: reason.into(),
        }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> BatchError {
        BatchError::Invalid {
            reason: reason.into(),
        }
    }
}
