//! The write-ahead log, format version 2 (FORMAT.md).

pub mod active;
pub mod batch;
pub mod cache;
pub mod clean;
pub mod error;
pub mod frame;
pub mod group_commit;
pub mod index;
pub mod log;
pub mod read;
pub mod recovery;
pub mod scan;
pub mod segment;
pub mod truncate;
pub mod verify;
mod walk;
