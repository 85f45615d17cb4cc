//! LZ4's frame format, as Kafka uses it for batches of format 2.

use std::io::Write;

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

use super::bounded::read_bounded;
use super::{Codec, CodecError};

const FRAME_MAGIC: [u8; 4] = 0x184D_2204u32.to_le_bytes();
/// Magic, FLG, BD, header checksum.
const HEADER_BYTES_MIN: usize = 7;
const FLAG_BLOCK_CHECKSUM: u8 = 0x10;
const FLAG_CONTENT_SIZE: u8 = 0x08;
const FLAG_CONTENT_CHECKSUM: u8 = 0x04;
const FLAG_DICTIONARY: u8 = 0x01;

pub fn decompress(input: &[u8], out_bytes_max: usize) -> Result<Vec<u8>, CodecError> {
    // The decoder takes an end between two blocks for the end of the frame; Kafka's does not.
    if frame_bytes(input) != Some(input.len()) {
        return Err(Codec::Lz4.corrupt("not exactly one whole frame"));
    }
    let decoder = FrameDecoder::new(input);
    read_bounded(Codec::Lz4, decoder, input.len(), out_bytes_max)
}

/// Length of the frame that `input` begins with, from its header to its end mark and checksum.
fn frame_bytes(input: &[u8]) -> Option<usize> {
    if !input.starts_with(&FRAME_MAGIC) {
        return None;
    }
    let flags = *input.get(FRAME_MAGIC.len())?;
    let mut position = HEADER_BYTES_MIN;
    if flags & FLAG_CONTENT_SIZE != 0 {
        position += 8;
    }
    if flags & FLAG_DICTIONARY != 0 {
        return None;
    }
    loop {
        let word = u32::from_le_bytes(*input.get(position..)?.first_chunk::<4>()?);
        position += 4;
        if word == 0 {
            break;
        }
        position = position.checked_add(usize::try_from(word & 0x7FFF_FFFF).ok()?)?;
        if flags & FLAG_BLOCK_CHECKSUM != 0 {
            position = position.checked_add(4)?;
        }
    }
    if flags & FLAG_CONTENT_CHECKSUM != 0 {
        position += 4;
    }
    Some(position)
}

/// Kafka's default level means the fast compressor; every other one the slow, denser one.
const LEVEL_FAST: u32 = 9;

/// `level`: 1 to 17 in Kafka's count; those above 12 are the densest there is.
pub fn compress(input: &[u8], level: Option<i32>) -> Result<Vec<u8>, CodecError> {
    match level.map(u32::try_from) {
        Some(Ok(level)) if level != LEVEL_FAST => compress_high(input, level),
        _ => compress_fast(input),
    }
}

fn compress_fast(input: &[u8]) -> Result<Vec<u8>, CodecError> {
    let info = FrameInfo::new()
        .block_mode(BlockMode::Independent)
        .block_size(BlockSize::Max64KB);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder
        .write_all(input)
        .map_err(|e| Codec::Lz4.corrupt(e))?;
    encoder.finish().map_err(|e| Codec::Lz4.corrupt(e))
}

fn compress_high(input: &[u8], level: u32) -> Result<Vec<u8>, CodecError> {
    let mut encoder = lz4::EncoderBuilder::new()
        .level(level)
        .block_mode(lz4::BlockMode::Independent)
        .block_size(lz4::BlockSize::Max64KB)
        .checksum(lz4::ContentChecksum::NoChecksum)
        .build(Vec::new())
        .map_err(|e| Codec::Lz4.corrupt(e))?;
    encoder
        .write_all(input)
        .map_err(|e| Codec::Lz4.corrupt(e))?;
    let (out, finished) = encoder.finish();
    finished.map_err(|e| Codec::Lz4.corrupt(e))?;
    Ok(out)
}
