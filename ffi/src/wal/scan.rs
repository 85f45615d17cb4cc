//! Walking the frames of one segment file, in bounded memory.

use std::io;

use super::frame::{
    BadFrame, FRAME_BYTES_READ_MAX, FrameHeader, HEADER_BYTES, Identity, MAGIC, checksum,
};
use crate::disk::{DiskFile, read_full};

const CHUNK_BYTES: usize = 256 << 10;

/// A verified frame.
pub struct Frame<'a> {
    pub position: u64,
    pub header: FrameHeader,
    pub body: &'a [u8],
}

/// What stands at the scanner's position.
pub enum Step<'a> {
    Frame(Frame<'a>),
    /// The limit was reached exactly at a frame's end.
    End,
    Bad(BadFrame),
}

/// Verifies and yields frames up to a limit; stays where it is at a bad one.
pub struct Scanner<'a> {
    file: &'a dyn DiskFile,
    identity: Identity,
    salt: Option<u32>,
    position: u64,
    limit: u64,
    frame_bytes_max: u64,
    chunk_bytes: usize,
    buffer: Vec<u8>,
    buffer_at: u64,
}

impl<'a> Scanner<'a> {
    /// Scans `[position, limit)`. A limit past the file's end ends with `BadFrame::Short`.
    pub fn new(
        file: &'a dyn DiskFile,
        identity: Identity,
        position: u64,
        limit: u64,
        frame_bytes_max: u64,
    ) -> Self {
        Scanner {
            file,
            identity,
            salt: None,
            position,
            limit,
            frame_bytes_max,
            chunk_bytes: CHUNK_BYTES,
            buffer: Vec::new(),
            buffer_at: 0,
        }
    }

    /// Reads about this much at a time instead of 256 KiB.
    pub fn with_chunk(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes.clamp(16 << 10, 1 << 20);
        self
    }

    /// Where the next frame starts, or the bad one stands.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The salt of the frames seen so far.
    pub fn salt(&self) -> Option<u32> {
        self.salt
    }

    /// The next frame. After `Bad` the position does not move.
    pub fn step(&mut self) -> io::Result<Step<'_>> {
        if self.position >= self.limit {
            return Ok(Step::End);
        }
        if !self.fill(HEADER_BYTES)? {
            return Ok(Step::Bad(BadFrame::Short));
        }
        let header = match FrameHeader::parse(self.window(HEADER_BYTES)) {
            Ok(header) => header,
            Err(bad) => return Ok(Step::Bad(bad)),
        };
        if u64::from(header.length) > self.frame_bytes_max {
            return Ok(Step::Bad(BadFrame::Length(header.length)));
        }
        let length = header.length as usize;
        if !self.fill(length)? {
            return Ok(Step::Bad(BadFrame::Short));
        }
        let (head, body) = self.window(length).split_at(HEADER_BYTES);
        if checksum(head, body) != header.crc {
            return Ok(Step::Bad(BadFrame::Crc));
        }
        if header.identity != self.identity {
            return Ok(Step::Bad(BadFrame::Identity));
        }
        if *self.salt.get_or_insert(header.salt) != header.salt {
            return Ok(Step::Bad(BadFrame::Salt));
        }
        let position = self.position;
        self.position += length as u64;
        let start = (position - self.buffer_at) as usize + HEADER_BYTES;
        let end = (position - self.buffer_at) as usize + length;
        let body = self.buffer.get(start..end).unwrap_or_default();
        Ok(Step::Frame(Frame {
            position,
            header,
            body,
        }))
    }

    fn window(&self, count: usize) -> &[u8] {
        let start = self.position.saturating_sub(self.buffer_at) as usize;
        self.buffer.get(start..start + count).unwrap_or_default()
    }

    /// Makes `count` bytes from the position on available; false where the limit comes first.
    fn fill(&mut self, count: usize) -> io::Result<bool> {
        let end = self.position + count as u64;
        if end > self.limit {
            return Ok(false);
        }
        if self.position >= self.buffer_at && end <= self.buffer_at + self.buffer.len() as u64 {
            return Ok(true);
        }
        let rest = usize::try_from(self.limit - self.position).unwrap_or(usize::MAX);
        let want = count.max(self.chunk_bytes).min(rest);
        self.buffer.resize(want, 0);
        let got = read_full(self.file, &mut self.buffer, self.position)?;
        self.buffer.truncate(got);
        self.buffer_at = self.position;
        Ok(got >= count)
    }
}

/// What lies behind a bad frame.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// A later valid frame that was written when bytes past the bad frame were known durable.
    pub proof_at: Option<u64>,
    /// Bytes from the bad frame to the last one that is not zero.
    pub bytes: u64,
}

/// Looks behind the bad frame at `from` for a frame of this segment with `synced_to` > `from`.
/// `salt` None accepts any (the file's first frame is the bad one).
pub fn scan_tail(
    file: &dyn DiskFile,
    identity: Identity,
    salt: Option<u32>,
    from: u64,
    limit: u64,
) -> io::Result<Tail> {
    let mut tail = Tail::default();
    let mut at = from;
    let mut buffer = vec![0; CHUNK_BYTES];
    while at < limit {
        let got = read_full(file, &mut buffer, at)?;
        let window = buffer.get(..got).unwrap_or_default();
        if let Some(last) = window.iter().rposition(|byte| *byte != 0) {
            tail.bytes = at + last as u64 + 1 - from;
            let starts = window.windows(MAGIC.len()).enumerate();
            for (index, _) in starts.filter(|(_, bytes)| *bytes == MAGIC) {
                let candidate = at + index as u64;
                if candidate == from || tail.proof_at.is_some() {
                    continue;
                }
                let proves = |header: &FrameHeader| {
                    header.identity == identity
                        && header.synced_to > from
                        && salt.is_none_or(|salt| salt == header.salt)
                };
                let one = Scanner::new(file, identity, candidate, limit, FRAME_BYTES_READ_MAX);
                if one.probe(proves)? {
                    tail.proof_at = Some(candidate);
                }
            }
        }
        if got < buffer.len() {
            break;
        }
        // Windows overlap, so that a magic on the seam is seen.
        at += (got - (MAGIC.len() - 1)) as u64;
    }
    Ok(tail)
}

impl Scanner<'_> {
    /// True when a whole valid frame stands here whose header is one that is asked for. The header
    /// is looked at first: a client's bytes may hold a header every few bytes, and to read what
    /// each claims to be its body would take for ever.
    fn probe(mut self, asked: impl Fn(&FrameHeader) -> bool) -> io::Result<bool> {
        let mut head = [0; HEADER_BYTES];
        let got = read_full(self.file, &mut head, self.position)?;
        match FrameHeader::parse(head.get(..got).unwrap_or_default()) {
            Ok(header) if asked(&header) => Ok(matches!(self.step()?, Step::Frame(_))),
            Ok(_) | Err(_) => Ok(false),
        }
    }
}
