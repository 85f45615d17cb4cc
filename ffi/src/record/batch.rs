//! The 61-byte header of a batch, and the walk over batches laid end to end.

use super::BatchError;
use crate::codec::{Codec, CodecError};

/// Bytes of a batch before its records.
pub const HEADER_BYTES: usize = 61;
/// Base offset and length: the bytes that the length field does not count.
pub const PREFIX_BYTES: usize = 12;
/// Where the part under the CRC begins.
pub const CRC_COVERS_FROM: usize = 21;
pub const NO_TIMESTAMP: i64 = -1;
pub const NO_PRODUCER_ID: i64 = -1;

const ATTRIBUTE_CODEC: i16 = 0x07;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
const ATTRIBUTE_CONTROL: i16 = 0x20;
const ATTRIBUTE_DELETE_HORIZON: i16 = 0x40;
const ATTRIBUTES_KNOWN: i16 = 0x7F;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// The fields of a batch's header, big endian on the wire, in wire order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes after this field.
    pub length: i32,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header; checks magic and that the length field can be one, nothing else.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let head: &[u8; HEADER_BYTES] = match bytes.first_chunk() {
            Some(head) => head,
            None => return Err(short_header(bytes)),
        };
        let mut fields = Fields(head);
        let header = BatchHeader {
            base_offset: i64::from_be_bytes(fields.next()),
            length: i32::from_be_bytes(fields.next()),
            leader_epoch: i32::from_be_bytes(fields.next()),
            magic: i8::from_be_bytes(fields.next()),
            crc: u32::from_be_bytes(fields.next()),
            attributes: i16::from_be_bytes(fields.next()),
            last_offset_delta: i32::from_be_bytes(fields.next()),
            base_timestamp: i64::from_be_bytes(fields.next()),
            max_timestamp: i64::from_be_bytes(fields.next()),
            producer_id: i64::from_be_bytes(fields.next()),
            producer_epoch: i16::from_be_bytes(fields.next()),
            base_sequence: i32::from_be_bytes(fields.next()),
            record_count: i32::from_be_bytes(fields.next()),
        };
        if header.magic != 2 {
            return Err(BatchError::UnsupportedMagic {
                magic: header.magic,
            });
        }
        if header.batch_bytes() < HEADER_BYTES {
            return Err(BatchError::Length {
                length: i64::from(header.length),
                reason: "shorter than a header",
            });
        }
        Ok(header)
    }

    /// Bytes of the whole batch as the length field states; 0 when it is negative.
    pub fn batch_bytes(&self) -> usize {
        usize::try_from(self.length).map_or(0, |length| length + PREFIX_BYTES)
    }

    /// Offset of the last record; saturates on absurd headers.
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    pub fn codec(&self) -> Result<Codec, CodecError> {
        Codec::from_id((self.attributes & ATTRIBUTE_CODEC) as u8)
    }

    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// The cleaner's mark: the base timestamp is a delete horizon.
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & ATTRIBUTE_DELETE_HORIZON != 0
    }

    pub fn has_unknown_attributes(&self) -> bool {
        self.attributes & !ATTRIBUTES_KNOWN != 0
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }
}

/// One whole batch: its header and exactly its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    pub header: BatchHeader,
    pub bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// `bytes` must be exactly one batch.
    pub fn parse(bytes: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        if header.batch_bytes() != bytes.len() {
            return Err(BatchError::Length {
                length: i64::from(header.length),
                reason: "not the length of the bytes given",
            });
        }
        Ok(Batch { header, bytes })
    }

    /// The bytes after the header: records, compressed or not.
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(HEADER_BYTES..).unwrap_or_default()
    }

    /// Compares the stored CRC-32C with the bytes from the attributes on.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let covered = self.bytes.get(CRC_COVERS_FROM..).unwrap_or_default();
        let computed = crc32c::crc32c(covered);
        if computed == self.header.crc {
            Ok(())
        } else {
            Err(BatchError::Crc {
                stored: self.header.crc,
                computed,
            })
        }
    }
}

/// Walks batches laid end to end; ends after the first error.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes }
}

pub struct Batches<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let result = BatchHeader::parse(self.rest).and_then(|header| {
            let need = header.batch_bytes();
            let have = self.rest.len();
            let (bytes, rest) = self
                .rest
                .split_at_checked(need)
                .ok_or(BatchError::Truncated { have, need })?;
            self.rest = rest;
            Ok(Batch { header, bytes })
        });
        if result.is_err() {
            self.rest = &[];
        }
        Some(result)
    }
}

/// Old formats are shorter than our header: name their magic rather than a length.
fn short_header(bytes: &[u8]) -> BatchError {
    match bytes.get(16) {
        Some(magic) if *magic != 2 => BatchError::UnsupportedMagic {
            magic: *magic as i8,
        },
        _ => BatchError::Truncated {
            have: bytes.len(),
            need: HEADER_BYTES,
        },
    }
}

/// Hands out a header's fields in order; the layout is fixed, so it never runs dry.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn next<const N: usize>(&mut self) -> [u8; N] {
        match self.0.split_first_chunk::<N>() {
            Some((field, rest)) => {
                self.0 = rest;
                *field
            }
            None => [0; N],
        }
    }
}
