//! Snappy as Kafka's clients write it: raw blocks, or xerial's framing around them.
//!
//! Xerial: magic (8 bytes), version and compatible version (i32 each, big endian), then blocks of
//! length (i32, big endian) and raw snappy. Joined streams repeat the header between blocks.

use super::{Codec, CodecError};

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER_BYTES: usize = 16;
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
/// A snappy element of 3 bytes writes at most 64: longer claims are lies.
const EXPANSION_MAX: usize = 32;

pub fn decompress(input: &[u8], out_bytes_max: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    if !input.starts_with(&XERIAL_MAGIC) {
        append_block(input, &mut out, out_bytes_max)?;
        return Ok(out);
    }
    let mut rest = input;
    while !rest.is_empty() {
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest
                .get(XERIAL_HEADER_BYTES..)
                .ok_or_else(|| Codec::Snappy.corrupt("truncated xerial header"))?;
            continue;
        }
        let (length, tail) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| Codec::Snappy.corrupt("truncated block length"))?;
        let length = usize::try_from(i32::from_be_bytes(*length))
            .map_err(|_| Codec::Snappy.corrupt("negative block length"))?;
        let (block, tail) = tail
            .split_at_checked(length)
            .ok_or_else(|| Codec::Snappy.corrupt("block passes the end"))?;
        append_block(block, &mut out, out_bytes_max)?;
        rest = tail;
    }
    Ok(out)
}

pub fn compress(input: &[u8]) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::with_capacity(XERIAL_HEADER_BYTES + input.len() / 2);
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1i32.to_be_bytes());
    out.extend_from_slice(&1i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for chunk in input.chunks(XERIAL_BLOCK_BYTES) {
        let block = encoder
            .compress_vec(chunk)
            .map_err(|e| Codec::Snappy.corrupt(e))?;
        let length = i32::try_from(block.len()).map_err(|e| Codec::Snappy.corrupt(e))?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&block);
    }
    Ok(out)
}

fn append_block(block: &[u8], out: &mut Vec<u8>, out_bytes_max: usize) -> Result<(), CodecError> {
    let length = snap::raw::decompress_len(block).map_err(|e| Codec::Snappy.corrupt(e))?;
    let used = out.len();
    if length > out_bytes_max.saturating_sub(used) {
        return Err(CodecError::TooLarge {
            limit: out_bytes_max,
        });
    }
    if length > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(Codec::Snappy.corrupt("stated length is beyond what the block can hold"));
    }
    out.reserve_exact(length);
    out.resize(used + length, 0);
    let Some(free) = out.get_mut(used..) else {
        return Err(Codec::Snappy.corrupt("no room"));
    };
    let written = snap::raw::Decoder::new()
        .decompress(block, free)
        .map_err(|e| Codec::Snappy.corrupt(e))?;
    if written != length {
        return Err(Codec::Snappy.corrupt("block is shorter than it states"));
    }
    Ok(())
}
