//! A batch of the same records in another codec (`compression.type` of a topic).

use super::batch::{CRC_COVERS_FROM, HEADER_BYTES, PREFIX_BYTES};
use super::validate::{BatchInfo, Limits, decode_valid};
use super::{BatchError, encode};
use crate::codec::{Codec, compress_at};

const LENGTH_AT: usize = 8;
const CRC_AT: usize = 17;
/// The low byte of the attributes: the codec is its bits 0–2.
const ATTRIBUTES_LOW_AT: usize = 22;
const CODEC_BITS: u8 = 0x07;

#[derive(Debug)]
pub struct Recompressed {
    /// Of the batch as it was given.
    pub info: BatchInfo,
    /// Bytes of the new batch.
    pub batch_bytes: usize,
    /// The new batch; None when it has more bytes than were allowed.
    pub batch: Option<Vec<u8>>,
}

/// Checks `bytes` as `validate_records` does and makes the batch of the same records in `codec`.
///
/// The records and every field of the header stay what they are but the codec, the length and the
/// CRC. `level`: see `compress_at`.
pub fn recompress(
    bytes: &[u8],
    limits: &Limits,
    codec: Codec,
    level: Option<i32>,
    batch_bytes_max: usize,
) -> Result<Recompressed, BatchError> {
    let (info, decoded) = decode_valid(bytes, limits)?;
    if codec == Codec::None && HEADER_BYTES + decoded.payload_bytes() > batch_bytes_max {
        return Ok(Recompressed {
            info,
            batch_bytes: HEADER_BYTES + decoded.payload_bytes(),
            batch: None,
        });
    }
    let payload = compress_at(codec, level, decoded.payload())?;
    let batch_bytes = HEADER_BYTES + payload.len();
    let batch = if batch_bytes > batch_bytes_max {
        None
    } else {
        Some(with_payload(bytes, codec, &payload)?)
    };
    Ok(Recompressed {
        info,
        batch_bytes,
        batch,
    })
}

fn with_payload(bytes: &[u8], codec: Codec, payload: &[u8]) -> Result<Vec<u8>, BatchError> {
    let header: &[u8; HEADER_BYTES] = bytes
        .first_chunk()
        .ok_or_else(|| BatchError::corrupt("no header"))?;
    let length = encode::length_of(HEADER_BYTES - PREFIX_BYTES + payload.len())?;
    let mut header = *header;
    header[ATTRIBUTES_LOW_AT] = (header[ATTRIBUTES_LOW_AT] & !CODEC_BITS) | codec.id();
    header[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&header[CRC_COVERS_FROM..]), payload);
    header[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    let mut batch = Vec::with_capacity(HEADER_BYTES + payload.len());
    batch.extend_from_slice(&header);
    batch.extend_from_slice(payload);
    Ok(batch)
}
