//! chronik's native engine: every durable byte and every heavy computation of the broker.
#![deny(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

#[macro_use]
pub mod fault;

pub mod abi;
pub mod archive;
pub mod bytes;
pub mod cleaning;
pub mod closing;
pub mod codec;
pub mod completion;
pub mod config;
pub mod disk;
pub mod engine;
pub mod index;
pub mod jobs;
pub mod pool;
pub mod record;
pub mod status;
pub mod submit;
pub mod wal;
pub mod watchdog;
