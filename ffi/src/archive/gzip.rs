//! gzip members, one at a time: written with one reused compressor, read within bounds.

use std::io::{self, BufRead, BufReader, Read, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use sha2::{Digest, Sha256};

use super::ArchiveError;

/// Deflate levels. Plain batches are worth some time; what is compressed already is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Fast,
    Dense,
}

const OUT_BYTES: usize = 64 * 1024;
/// Deflate, no flags, no time, unknown system: two builds differ in nothing here.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Measured on JSON, with SHA-256 and copy: level 1 223 MB/s and 42 % of raw, 2 158 MB/s and 29 %,
/// 4 68 MB/s and 28 %, 6 60 MB/s and 26 %.
const DENSE_LEVEL: u32 = 2;

/// Writes gzip members. A deflate state takes 300 KB: each level has one, made when first used.
pub struct MemberEncoder {
    fast: Option<Compress>,
    dense: Option<Compress>,
    out: Vec<u8>,
}

impl MemberEncoder {
    pub fn new() -> MemberEncoder {
        MemberEncoder {
            fast: None,
            dense: None,
            out: Vec::with_capacity(OUT_BYTES),
        }
    }

    /// Writes all of `reader` as one member; returns its bytes before and after compression.
    pub fn write_member(
        &mut self,
        level: Level,
        reader: &mut dyn Read,
        sink: &mut dyn Write,
    ) -> io::Result<(u64, u64)> {
        let deflate = match level {
            Level::Fast => self
                .fast
                .get_or_insert_with(|| Compress::new(Compression::fast(), false)),
            Level::Dense => self
                .dense
                .get_or_insert_with(|| Compress::new(Compression::new(DENSE_LEVEL), false)),
        };
        deflate.reset();
        sink.write_all(&HEADER)?;
        let mut crc = Crc::new();
        let mut input = vec![0u8; OUT_BYTES];
        loop {
            let read = reader.read(&mut input)?;
            let bytes = input.get(..read).unwrap_or_default();
            crc.update(bytes);
            let flush = match read {
                0 => FlushCompress::Finish,
                _ => FlushCompress::None,
            };
            deflate_all(deflate, bytes, flush, &mut self.out, sink)?;
            if read == 0 {
                break;
            }
        }
        sink.write_all(&crc.sum().to_le_bytes())?;
        sink.write_all(&crc.amount().to_le_bytes())?;
        let framing = HEADER.len() as u64 + 8;
        Ok((deflate.total_in(), deflate.total_out() + framing))
    }
}

fn deflate_all(
    deflate: &mut Compress,
    mut input: &[u8],
    flush: FlushCompress,
    out: &mut Vec<u8>,
    sink: &mut dyn Write,
) -> io::Result<()> {
    loop {
        out.clear();
        let before = deflate.total_in();
        let status = deflate
            .compress_vec(input, out, flush)
            .map_err(io::Error::other)?;
        sink.write_all(out)?;
        let consumed = (deflate.total_in() - before) as usize;
        input = input.get(consumed..).unwrap_or_default();
        let done = match flush {
            FlushCompress::Finish => status == Status::StreamEnd,
            _ => input.is_empty() && out.len() < out.capacity(),
        };
        if done {
            return Ok(());
        }
    }
}

/// Reads gzip members one after the other, keeping the position, and a hash of all that was read.
pub struct MemberReader<R: Read> {
    source: HashedReader<R>,
}

impl<R: Read> MemberReader<R> {
    pub fn new(source: R) -> MemberReader<R> {
        MemberReader {
            source: HashedReader {
                inner: BufReader::with_capacity(OUT_BYTES, source),
                hash: Some(Sha256::new()),
                position: 0,
            },
        }
    }

    /// For one member out of its archive: no hash of the bytes is kept.
    pub fn without_hash(source: R) -> MemberReader<R> {
        let mut reader = MemberReader::new(source);
        reader.source.hash = None;
        reader
    }

    /// Position of the next member, in compressed bytes.
    pub fn position(&self) -> u64 {
        self.source.position
    }

    pub fn is_at_end(&mut self) -> Result<bool, ArchiveError> {
        self.source
            .fill_buf()
            .map(<[u8]>::is_empty)
            .map_err(|error| read_error(error, self.source.position))
    }

    /// Inflates the next member; more than `bytes_max` is damage.
    pub fn read_member(&mut self, bytes_max: u64) -> Result<Vec<u8>, ArchiveError> {
        let mut out = Vec::new();
        self.copy_member(bytes_max, &mut out)?;
        Ok(out)
    }

    /// Inflates the next member into `sink` and checks its CRC-32; returns its inflated bytes.
    pub fn copy_member(
        &mut self,
        bytes_max: u64,
        sink: &mut dyn Write,
    ) -> Result<u64, ArchiveError> {
        let start = self.position();
        let mut decoder = flate2::bufread::GzDecoder::new(&mut self.source);
        let mut buffer = vec![0u8; OUT_BYTES];
        let mut total = 0u64;
        loop {
            let read = decoder
                .read(&mut buffer)
                .map_err(|error| read_error(error, start))?;
            if read == 0 {
                return Ok(total);
            }
            total += read as u64;
            if total > bytes_max {
                return Err(ArchiveError::damaged(format!(
                    "member at {start} holds more than {bytes_max} bytes"
                )));
            }
            sink.write_all(buffer.get(..read).unwrap_or_default())
                .map_err(|source| ArchiveError::Io {
                    action: "write of a member".to_owned(),
                    source,
                })?;
        }
    }

    /// Reads all that is left, uninflated; more than `bytes_max` is damage.
    pub fn read_raw(&mut self, bytes_max: usize) -> Result<Vec<u8>, ArchiveError> {
        let start = self.position();
        let mut out = Vec::with_capacity(bytes_max);
        let mut limited = (&mut self.source).take(bytes_max as u64);
        limited
            .read_to_end(&mut out)
            .map_err(|error| read_error(error, start))?;
        if !self.is_at_end()? {
            return Err(ArchiveError::damaged(format!(
                "more than {bytes_max} bytes after {start}"
            )));
        }
        Ok(out)
    }

    /// Position of the end and SHA-256 (hex) of everything read.
    pub fn finish(self) -> (u64, String) {
        let hash = self
            .source
            .hash
            .map(|hash| format!("{:x}", hash.finalize()));
        (self.source.position, hash.unwrap_or_default())
    }
}

/// What the decoder says of bad bytes is damage; anything else is the source failing.
fn read_error(error: io::Error, position: u64) -> ArchiveError {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            ArchiveError::damaged(format!("member at {position}: {error}"))
        }
        _ => ArchiveError::Io {
            action: format!("read at {position}"),
            source: error,
        },
    }
}

struct HashedReader<R: Read> {
    inner: BufReader<R>,
    hash: Option<Sha256>,
    position: u64,
}

impl<R: Read> BufRead for HashedReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(hash) = &mut self.hash {
            hash.update(self.inner.buffer().get(..amount).unwrap_or_default());
        }
        self.position += amount as u64;
        self.inner.consume(amount);
    }
}

impl<R: Read> Read for HashedReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let buffered = self.fill_buf()?;
        let amount = buffered.len().min(out.len());
        let (Some(from), Some(to)) = (buffered.get(..amount), out.get_mut(..amount)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.consume(amount);
        Ok(amount)
    }
}
