//! Zig-zag varints of records, and a bounded reader over their bytes.

use super::BatchError;

/// A position in a record's bytes; every read is checked against what remains.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn u8(&mut self) -> Result<u8, BatchError> {
        let (first, rest) = self
            .rest
            .split_first()
            .ok_or_else(|| BatchError::corrupt("record ends early"))?;
        self.rest = rest;
        Ok(*first)
    }

    pub fn take(&mut self, length: usize) -> Result<&'a [u8], BatchError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| BatchError::corrupt("length passes the end of the record"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// Up to 5 bytes; bits beyond 32 are an error.
    pub fn varint(&mut self) -> Result<i32, BatchError> {
        let mut raw = 0u32;
        for index in 0..5u32 {
            let byte = self.u8()?;
            if index == 4 && byte > 0x0F {
                return Err(BatchError::corrupt("varint passes 32 bits"));
            }
            raw |= u32::from(byte & 0x7F) << (7 * index);
            if byte < 0x80 {
                return Ok(((raw >> 1) as i32) ^ -((raw & 1) as i32));
            }
        }
        Err(BatchError::corrupt("varint passes 5 bytes"))
    }

    /// Up to 10 bytes; bits beyond 64 are an error.
    pub fn varlong(&mut self) -> Result<i64, BatchError> {
        let mut raw = 0u64;
        for index in 0..10u32 {
            let byte = self.u8()?;
            if index == 9 && byte > 0x01 {
                return Err(BatchError::corrupt("varlong passes 64 bits"));
            }
            raw |= u64::from(byte & 0x7F) << (7 * index);
            if byte < 0x80 {
                return Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64));
            }
        }
        Err(BatchError::corrupt("varlong passes 10 bytes"))
    }

    /// A varint length and that many bytes; -1 is null, anything below is an error.
    pub fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, BatchError> {
        match self.varint()? {
            -1 => Ok(None),
            length => {
                let length =
                    usize::try_from(length).map_err(|_| BatchError::corrupt("negative length"))?;
                self.take(length).map(Some)
            }
        }
    }
}

/// Appends `value` as a zig-zag varint.
pub fn write_varint(out: &mut Vec<u8>, value: i32) {
    write_unsigned(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

/// Appends `value` as a zig-zag varlong.
pub fn write_varlong(out: &mut Vec<u8>, value: i64) {
    write_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

fn write_unsigned(out: &mut Vec<u8>, mut raw: u64) {
    while raw >= 0x80 {
        out.push((raw as u8 & 0x7F) | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}
