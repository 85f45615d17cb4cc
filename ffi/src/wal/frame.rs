//! One frame of a segment file: 88 bytes of header and the batch (FORMAT.md).

use crate::bytes::{array, i32_le, i64_le, u32_le, u64_le};

/// First bytes of every frame.
pub const MAGIC: [u8; 4] = *b"CHWL";
/// The only version this build writes and reads.
pub const VERSION: u8 = 2;
pub const HEADER_BYTES: usize = 88;
/// Longest frame that is read: not the bound on what is written, for that may have been higher in
/// an earlier run, and what was acknowledged then must not pass for garbage now.
pub const FRAME_BYTES_READ_MAX: u64 = u32::MAX as u64;
/// The frame is a sealed segment's footer.
pub const FLAG_FOOTER: u8 = 1;
/// The frame marks a clean stop; it carries no batch.
pub const FLAG_STOP: u8 = 2;
/// Position of the checksum inside the header.
const CRC_AT: usize = 12;

/// Whose segment a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub log_id: [u8; 16],
    pub partition: i32,
    pub segment_id: u64,
}

/// The header's fields, in file order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub flags: u8,
    /// Header and body, in bytes.
    pub length: u32,
    pub crc: u32,
    pub identity: Identity,
    pub record_count: u32,
    pub base_offset: i64,
    pub last_offset: i64,
    /// File position that was known durable when this frame was written.
    pub synced_to: u64,
    pub leader_epoch: i32,
    /// Random per segment file, the same in all its frames: nothing a client sends can pass for
    /// a frame, and no stale block of an earlier file either.
    pub salt: u32,
    /// Wall clock when the frame was written, milliseconds.
    pub append_ms: i64,
}

/// Why bytes are not a frame of this segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadFrame {
    Short,
    Magic,
    Version(u8),
    Length(u32),
    Crc,
    Identity,
    Salt,
}

impl std::fmt::Display for BadFrame {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            BadFrame::Short => write!(out, "frame reaches past the end"),
            BadFrame::Magic => write!(out, "no frame here"),
            BadFrame::Version(version) => write!(out, "frame version {version}"),
            BadFrame::Length(length) => write!(out, "frame length {length}"),
            BadFrame::Crc => write!(out, "frame checksum does not match"),
            BadFrame::Identity => write!(out, "frame of another log or segment"),
            BadFrame::Salt => write!(out, "frame of an earlier file"),
        }
    }
}

impl FrameHeader {
    /// Reads a header; checks magic, version and that the length covers the header.
    pub fn parse(bytes: &[u8]) -> Result<FrameHeader, BadFrame> {
        if bytes.len() < HEADER_BYTES {
            return Err(BadFrame::Short);
        }
        if bytes.get(..4) != Some(&MAGIC) {
            return Err(BadFrame::Magic);
        }
        let version = bytes.get(4).copied().unwrap_or(0);
        if version != VERSION {
            return Err(BadFrame::Version(version));
        }
        let header = Self::fields(bytes).ok_or(BadFrame::Short)?;
        if (header.length as usize) < HEADER_BYTES {
            return Err(BadFrame::Length(header.length));
        }
        Ok(header)
    }

    fn fields(bytes: &[u8]) -> Option<FrameHeader> {
        Some(FrameHeader {
            flags: *bytes.get(5)?,
            length: u32_le(bytes, 8)?,
            crc: u32_le(bytes, CRC_AT)?,
            identity: Identity {
                log_id: array(bytes, 16)?,
                partition: i32_le(bytes, 32)?,
                segment_id: u64_le(bytes, 56)?,
            },
            record_count: u32_le(bytes, 36)?,
            base_offset: i64_le(bytes, 40)?,
            last_offset: i64_le(bytes, 48)?,
            synced_to: u64_le(bytes, 64)?,
            leader_epoch: i32_le(bytes, 72)?,
            salt: u32_le(bytes, 76)?,
            append_ms: i64_le(bytes, 80)?,
        })
    }

    /// Appends the header to `out`, with length and checksum computed for `body`.
    pub fn encode(&self, body: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, self.flags, 0, 0]);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.identity.log_id);
        out.extend_from_slice(&self.identity.partition.to_le_bytes());
        out.extend_from_slice(&self.record_count.to_le_bytes());
        out.extend_from_slice(&self.base_offset.to_le_bytes());
        out.extend_from_slice(&self.last_offset.to_le_bytes());
        out.extend_from_slice(&self.identity.segment_id.to_le_bytes());
        out.extend_from_slice(&self.synced_to.to_le_bytes());
        out.extend_from_slice(&self.leader_epoch.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(&self.append_ms.to_le_bytes());
        let crc = checksum(out.get(start..).unwrap_or_default(), body);
        if let Some(slot) = out.get_mut(start + CRC_AT..start + CRC_AT + 4) {
            slot.copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// True for frames that hold a batch.
    pub fn is_data(&self) -> bool {
        self.flags & (FLAG_FOOTER | FLAG_STOP) == 0
    }
}

/// CRC-32C of everything in the frame but the checksum itself.
pub fn checksum(header: &[u8], body: &[u8]) -> u32 {
    let front = crc32c::crc32c(header.get(..CRC_AT).unwrap_or_default());
    let fields = header.get(CRC_AT + 4..HEADER_BYTES).unwrap_or_default();
    crc32c::crc32c_append(crc32c::crc32c_append(front, fields), body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FrameHeader {
        FrameHeader {
            flags: 0,
            length: 0,
            crc: 0,
            identity: Identity {
                log_id: [7; 16],
                partition: 3,
                segment_id: 9,
            },
            record_count: 2,
            base_offset: 10,
            last_offset: 11,
            synced_to: 1234,
            leader_epoch: 5,
            salt: 77,
            append_ms: 1_700_000_000_000,
        }
    }

    #[test]
    fn every_bit_counts() {
        let body = b"a batch";
        let mut bytes = Vec::new();
        header().encode(body, &mut bytes);
        assert_eq!(bytes.len(), HEADER_BYTES);
        let parsed = FrameHeader::parse(&bytes).expect("valid header");
        assert_eq!(parsed.crc, checksum(&bytes, body));
        assert_eq!(
            FrameHeader {
                length: 0,
                crc: 0,
                ..parsed
            },
            header()
        );
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let intact = FrameHeader::parse(&flipped)
                .is_ok_and(|parsed| parsed.crc == checksum(&flipped, body));
            assert!(!intact, "bit {bit} flipped unnoticed");
        }
    }
}
