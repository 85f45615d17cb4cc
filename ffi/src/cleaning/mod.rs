//! Compaction: which records of a log stay, and the batches without the others (design D8).
//!
//! The WAL cleans the sealed segments of internal topics with it, archives those of user topics.
//! Both go by the same offset map and the same decisions; a `Policy` says where they differ.

mod decided;
mod map_file;
mod offset_map;
mod rewrite;

pub use self::decided::{Aborted, Decisions, Fate, MarkerWatch};
pub use self::map_file::{MapFileError, read_map, write_map};
pub use self::offset_map::{OFFSET_MAP_KEYS_MAX, OffsetMap, add_keys};
pub use self::rewrite::{Rewritten, rewrite_batch};

/// Records of one batch, decompressed.
pub const RECORDS_BYTES_MAX: usize = 128 << 20;

/// When tombstones and idle markers go, and how what stays is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// By their own timestamps. Records without a key stay; batches become uncompressed.
    Aged { before_ms: i64 },
    /// As Kafka does (KIP-534): the first cleaning that finds one to be the last of its key, or of
    /// its transaction, writes the time until which it stays into the batch's header; one after
    /// that takes it. Records without a key go; batches keep their codec.
    Horizon { now_ms: i64, retention_ms: i64 },
}

/// What one walk over the batches of a log goes by.
#[derive(Clone, Copy, Debug)]
pub struct Pass<'a> {
    pub decisions: &'a Decisions,
    pub map: &'a OffsetMap,
    pub policy: Policy,
}
