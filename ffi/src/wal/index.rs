//! Offset and time to file position, one entry about every 8 KiB of frames.

use crate::bytes::{i64_le, u64_le};

/// Frames between two entries, in bytes.
const STRIDE_BYTES: u64 = 8 << 10;
/// One entry in the footer.
pub const ENTRY_BYTES: usize = 24;

/// One stretch of whole frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// Base offset of the first frame of the stretch.
    pub offset: i64,
    pub position: u64,
    /// Largest timestamp of the stretch; -1 = none.
    pub max_timestamp: i64,
}

/// Entries ascend in offset and position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseIndex {
    entries: Vec<IndexEntry>,
}

impl SparseIndex {
    /// Takes note of a frame.
    pub fn add(&mut self, offset: i64, position: u64, max_timestamp: i64) {
        match self.entries.last_mut() {
            Some(last) if position < last.position + STRIDE_BYTES => {
                last.max_timestamp = last.max_timestamp.max(max_timestamp);
            }
            _ => self.entries.push(IndexEntry {
                offset,
                position,
                max_timestamp,
            }),
        }
    }

    /// A position at or before the frame that holds `offset`.
    pub fn position_of(&self, offset: i64) -> u64 {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        let entry = after
            .checked_sub(1)
            .and_then(|index| self.entries.get(index));
        entry.map_or(0, |entry| entry.position)
    }

    /// All stretches.
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// Memory the entries take.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * ENTRY_BYTES
    }

    /// Appends the entries to a footer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for entry in &self.entries {
            out.extend_from_slice(&entry.offset.to_le_bytes());
            out.extend_from_slice(&entry.position.to_le_bytes());
            out.extend_from_slice(&entry.max_timestamp.to_le_bytes());
        }
    }

    /// Reads entries back.
    pub fn decode(bytes: &[u8]) -> Option<SparseIndex> {
        let mut entries = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
        for chunk in bytes.chunks(ENTRY_BYTES) {
            let (offset, position) = (i64_le(chunk, 0)?, u64_le(chunk, 8)?);
            entries.push(IndexEntry {
                offset,
                position,
                max_timestamp: i64_le(chunk, 16)?,
            });
        }
        Some(SparseIndex { entries })
    }
}
