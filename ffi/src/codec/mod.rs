//! Kafka's four compression codecs, each bounded in what it may write.
//!
//! `decompress` never holds more output than the limit it was given: a bomb costs its limit and
//! ends in `TooLarge`.

mod bounded;
mod lz4;
mod snappy;

use std::io::{Cursor, Read, Write};

use thiserror::Error;

use self::bounded::read_bounded;

/// What can go wrong with compressed bytes.
#[derive(Debug, Error)]
pub enum CodecError {
    /// The output would pass the limit, in bytes.
    #[error("decompressed data is larger than {limit} bytes")]
    TooLarge { limit: usize },
    /// The input is not what the codec writes.
    #[error("corrupt {codec} data: {reason}")]
    Corrupt { codec: Codec, reason: String },
    /// Attributes name a codec that Kafka does not know.
    #[error("unknown compression codec {id}")]
    UnknownCodec { id: u8 },
}

/// The codec in bits 0–2 of a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// Kafka's number of a codec → the codec.
    pub fn from_id(id: u8) -> Result<Codec, CodecError> {
        match id {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            _ => Err(CodecError::UnknownCodec { id }),
        }
    }

    /// Kafka's number of the codec.
    pub fn id(self) -> u8 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// Kafka's name of the codec.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    pub(crate) fn corrupt(self, reason: impl std::fmt::Display) -> CodecError {
        CodecError::Corrupt {
            codec: self,
            reason: reason.to_string(),
        }
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Decompresses all of `input`; at most `out_bytes_max` bytes come out, or `TooLarge`.
///
/// gzip may have several members, zstd and lz4 several frames; snappy is xerial-framed (Java,
/// kafkajs) or one raw block (librdkafka, franz-go), told apart by the framing's magic.
pub fn decompress(codec: Codec, input: &[u8], out_bytes_max: usize) -> Result<Vec<u8>, CodecError> {
    match codec {
        Codec::None if input.len() > out_bytes_max => Err(CodecError::TooLarge {
            limit: out_bytes_max,
        }),
        Codec::None => Ok(input.to_vec()),
        Codec::Gzip => {
            let reader = flate2::bufread::MultiGzDecoder::new(input);
            read_bounded(codec, reader, input.len(), out_bytes_max)
        }
        Codec::Snappy => snappy::decompress(input, out_bytes_max),
        Codec::Lz4 => lz4::decompress(input, out_bytes_max),
        Codec::Zstd => decompress_zstd(input, out_bytes_max),
    }
}

/// Compresses `input` as a Kafka client would: xerial framing for snappy, and for lz4 a frame with
/// independent 64 KiB blocks, which Java's reader insists on.
pub fn compress(codec: Codec, input: &[u8]) -> Result<Vec<u8>, CodecError> {
    compress_at(codec, None, input)
}

/// The same at a level of Kafka's `compression.{gzip,lz4,zstd}.level`; None and, for gzip, what is
/// below 0 are the codec's default. Levels beyond the codec's are its nearest; snappy has none.
pub fn compress_at(codec: Codec, level: Option<i32>, input: &[u8]) -> Result<Vec<u8>, CodecError> {
    match codec {
        Codec::None => Ok(input.to_vec()),
        Codec::Gzip => {
            let level = match level.map(u32::try_from) {
                Some(Ok(level)) => flate2::Compression::new(level.min(GZIP_LEVEL_MAX)),
                _ => flate2::Compression::default(),
            };
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(input).map_err(|e| codec.corrupt(e))?;
            encoder.finish().map_err(|e| codec.corrupt(e))
        }
        Codec::Snappy => snappy::compress(input),
        Codec::Lz4 => lz4::compress(input, level),
        Codec::Zstd => {
            let level = level.unwrap_or(ZSTD_LEVEL_DEFAULT);
            zstd::bulk::compress(input, level).map_err(|e| codec.corrupt(e))
        }
    }
}

const GZIP_LEVEL_MAX: u32 = 9;
const ZSTD_LEVEL_DEFAULT: i32 = 3;

/// Kafka accepts every window a client's level may choose: 128 MiB at level 22.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

fn decompress_zstd(input: &[u8], out_bytes_max: usize) -> Result<Vec<u8>, CodecError> {
    let codec = Codec::Zstd;
    // An empty input is no frame; the stream reader would call it an empty result.
    if input.is_empty() {
        return Err(codec.corrupt("no frame"));
    }
    let mut decoder = zstd::stream::read::Decoder::with_buffer(Cursor::new(input))
        .map_err(|e| codec.corrupt(e))?;
    decoder
        .window_log_max(ZSTD_WINDOW_LOG_MAX)
        .map_err(|e| codec.corrupt(e))?;
    read_bounded(
        codec,
        &mut decoder as &mut dyn Read,
        input.len(),
        out_bytes_max,
    )
}
