//! The records inside a batch, borrowed from its bytes or from one decompressed buffer.

use std::borrow::Cow;

use super::BatchError;
use super::batch::{Batch, BatchHeader, TimestampType};
use super::varint::Cursor;
use crate::codec::{Codec, decompress};

/// Length, attributes, timestamp delta, offset delta, key, value and header count: a byte each.
const RECORD_BYTES_MIN: usize = 7;

/// A batch whose records can be walked.
#[derive(Debug)]
pub struct DecodedRecords<'a> {
    header: BatchHeader,
    payload: Cow<'a, [u8]>,
}

/// Decompresses the records of `batch` if need be; more than `bytes_max` of them is `TooLarge`.
pub fn decode_records<'a>(
    batch: &Batch<'a>,
    bytes_max: usize,
) -> Result<DecodedRecords<'a>, BatchError> {
    let payload = match batch.header.codec()? {
        Codec::None => Cow::Borrowed(batch.payload()),
        codec => Cow::Owned(decompress(codec, batch.payload(), bytes_max)?),
    };
    let count = usize::try_from(batch.header.record_count)
        .map_err(|_| BatchError::invalid("negative record count"))?;
    if count > payload.len() / RECORD_BYTES_MIN {
        return Err(BatchError::corrupt(
            "more records stated than bytes can hold",
        ));
    }
    Ok(DecodedRecords {
        header: batch.header,
        payload,
    })
}

impl DecodedRecords<'_> {
    /// Exactly as many records as the header counts, then an error if bytes are left.
    pub fn iter(&self) -> Records<'_> {
        Records {
            header: self.header,
            cursor: Cursor::new(&self.payload),
            left: u32::try_from(self.header.record_count).unwrap_or(0),
            failed: false,
        }
    }

    /// The records, uncompressed.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Bytes of the records, uncompressed.
    pub fn payload_bytes(&self) -> usize {
        self.payload.len()
    }
}

/// One record. `timestamp` is in milliseconds; null key, empty key and null value are distinct.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    pub offset: i64,
    pub offset_delta: i32,
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// The headers of a record, checked when the record was read.
#[derive(Debug, Clone, Copy)]
pub struct Headers<'a> {
    cursor: Cursor<'a>,
    left: u32,
}

/// A record header; the key is UTF-8 by convention, not by check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        read_header(&mut self.cursor).ok()
    }
}

pub struct Records<'a> {
    header: BatchHeader,
    cursor: Cursor<'a>,
    left: u32,
    failed: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || (self.left == 0 && self.cursor.is_empty()) {
            return None;
        }
        let result = match self.left.checked_sub(1) {
            None => Err(BatchError::corrupt("bytes after the last record")),
            Some(left) => {
                self.left = left;
                read_record(&mut self.cursor, &self.header)
            }
        };
        self.failed = result.is_err();
        Some(result)
    }
}

fn read_record<'a>(
    cursor: &mut Cursor<'a>,
    header: &BatchHeader,
) -> Result<Record<'a>, BatchError> {
    let length = usize::try_from(cursor.varint()?)
        .map_err(|_| BatchError::corrupt("negative record length"))?;
    let mut body = Cursor::new(cursor.take(length)?);
    // The attributes byte of a record is unused; Kafka ignores what it holds.
    body.u8()?;
    let timestamp_delta = body.varlong()?;
    let offset_delta = body.varint()?;
    let key = body.nullable_bytes()?;
    let value = body.nullable_bytes()?;
    let headers = read_headers(&mut body)?;
    if !body.is_empty() {
        return Err(BatchError::corrupt("record is longer than its fields"));
    }
    let timestamp = match header.timestamp_type() {
        TimestampType::LogAppendTime => header.max_timestamp,
        TimestampType::CreateTime => header
            .base_timestamp
            .checked_add(timestamp_delta)
            .ok_or_else(|| BatchError::corrupt("timestamp passes 64 bits"))?,
    };
    let offset = header
        .base_offset
        .checked_add(i64::from(offset_delta))
        .ok_or_else(|| BatchError::corrupt("offset passes 64 bits"))?;
    Ok(Record {
        offset,
        offset_delta,
        timestamp,
        key,
        value,
        headers,
    })
}

fn read_headers<'a>(body: &mut Cursor<'a>) -> Result<Headers<'a>, BatchError> {
    let count =
        u32::try_from(body.varint()?).map_err(|_| BatchError::corrupt("negative header count"))?;
    // A header takes two bytes at least.
    if count as usize > body.remaining() / 2 {
        return Err(BatchError::corrupt("more headers than bytes can hold"));
    }
    let headers = Headers {
        cursor: *body,
        left: count,
    };
    for _ in 0..count {
        read_header(body)?;
    }
    Ok(headers)
}

fn read_header<'a>(cursor: &mut Cursor<'a>) -> Result<Header<'a>, BatchError> {
    let key = cursor
        .nullable_bytes()?
        .ok_or_else(|| BatchError::corrupt("null header key"))?;
    let value = cursor.nullable_bytes()?;
    Ok(Header { key, value })
}
