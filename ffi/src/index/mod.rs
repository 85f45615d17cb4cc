//! The Tantivy index inside an archive.
//!
//! It holds no values: a hit is an offset, and the record is read from the archive's batches.

mod builder;
mod directory;
mod document;
mod json;
mod merge;
mod schema;

pub use self::builder::{
    INDEX_MEMORY_BYTES, IndexBuilder, IndexFile, IndexOutput, VALUE_TEXT_BYTES_MAX,
};
pub use self::directory::StopCheck;
pub use self::json::{
    FACT_PATHS_ARCHIVE_MAX, FACT_PATHS_RECORD_MAX, FACT_TEXT_BYTES_MAX, FACT_VALUES_RECORD_MAX,
    JSON_DEPTH_MAX, JSON_LEAVES_RECORD_MAX, JSON_PATH_BYTES_MAX,
};
pub use self::merge::{MergedIndex, merge_indexes};
pub use self::schema::{KEY_TERM_BYTES_MAX, SCHEMA_VERSION, SearchFields, key_term, search_schema};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What of a record is indexed (topic config `search.index`), and two states of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IndexMode {
    /// Offset, timestamp, key, value text, JSON paths, facts, headers.
    Full,
    /// Offset, timestamp, key, value text.
    Text,
    /// Offset, timestamp, key.
    Keys,
    /// The topic wants no index.
    None,
    /// Archived without waiting for its index; a later generation brings it.
    Pending,
}

impl IndexMode {
    /// Whether an archive of this mode has `index/` files.
    pub fn has_index(self) -> bool {
        matches!(self, IndexMode::Full | IndexMode::Text | IndexMode::Keys)
    }
}

#[derive(Debug, Error)]
pub enum IndexError {
    #[error("tantivy: {0}")]
    Tantivy(#[from] tantivy::TantivyError),
    #[error("cannot use the index scratch directory: {0}")]
    Directory(#[from] tantivy::directory::error::OpenDirectoryError),
    #[error("index scratch file: {0}")]
    Io(#[from] std::io::Error),
    /// Records must come in offset order, once each.
    #[error("offset {offset} after {previous}")]
    Order { offset: i64, previous: i64 },
    #[error("the index has another schema than version {SCHEMA_VERSION}")]
    Schema,
    #[error("the joined index has {found} documents, its parts {expected}")]
    Documents { found: u64, expected: u64 },
}
