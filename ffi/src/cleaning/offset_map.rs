//! The last offset of each key, for a range of a log.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{Decisions, Fate, RECORDS_BYTES_MAX};
use crate::record::{Batch, BatchError, decode_records};

/// Keys held at a time; more are cleaned in several passes. As many as a table of 2^20 buckets
/// takes: 26 MB, and 39 MB while it grows to that.
pub const OFFSET_MAP_KEYS_MAX: usize = 7 << 17;

/// Key (by hash) to its last offset, for the offsets below `end`.
#[derive(Debug, Default)]
pub struct OffsetMap {
    last: HashMap<[u8; 16], i64>,
    end: i64,
}

impl OffsetMap {
    /// An empty map that takes keys from `start` on.
    pub fn starting_at(start: i64) -> OffsetMap {
        OffsetMap {
            last: HashMap::new(),
            end: start,
        }
    }

    /// One past the last offset whose key was taken.
    pub fn end(&self) -> i64 {
        self.end
    }

    pub fn keys(&self) -> usize {
        self.last.len()
    }

    /// Every key below `end` was taken.
    pub fn reaches(&mut self, end: i64) {
        self.end = self.end.max(end);
    }

    /// True when every record of the same key below this offset's end is known to go.
    pub fn covers(&self, offset: i64) -> bool {
        offset < self.end
    }

    /// True when a later record of the same key is known.
    pub fn supersedes(&self, key: &[u8], offset: i64) -> bool {
        self.last.get(&hash(key)).is_some_and(|last| *last > offset)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&[u8; 16], i64)> {
        self.last.iter().map(|(key, offset)| (key, *offset))
    }

    pub(super) fn insert_hashed(&mut self, key: [u8; 16], offset: i64) {
        self.last.insert(key, offset);
    }
}

fn hash(key: &[u8]) -> [u8; 16] {
    // Not a fast hash: two keys that collide would lose one of their records.
    let digest = Sha256::digest(key);
    crate::bytes::array(&digest, 0).unwrap_or_default()
}

/// Takes the keys of a batch that counts; aborted and undecided ones supersede nothing. False when
/// the map was full before the batch ended: `end` is then the first offset left out.
pub fn add_keys(
    map: &mut OffsetMap,
    batch: &Batch<'_>,
    decisions: &Decisions,
    keys_max: usize,
) -> Result<bool, BatchError> {
    let header = &batch.header;
    if !header.is_control() && decisions.fate(header) == Fate::Counts {
        let records = decode_records(batch, RECORDS_BYTES_MAX)?;
        for record in records.iter() {
            let record = record?;
            if record.offset < map.end {
                continue;
            }
            if let Some(key) = record.key {
                let key = hash(key);
                if map.last.len() >= keys_max && !map.last.contains_key(&key) {
                    return Ok(false);
                }
                map.last.insert(key, record.offset);
            }
            map.reaches(record.offset.saturating_add(1));
        }
    }
    map.reaches(header.last_offset().saturating_add(1));
    Ok(true)
}
