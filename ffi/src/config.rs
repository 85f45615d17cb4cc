//! What `chronik_open` takes.

use std::path::PathBuf;

use serde::Deserialize;

/// Engine settings; every bound has a default (design D3, D15).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub data_dir: PathBuf,
    /// Threads that write and fsync. Measured on 2 cores with 1, 3 and 16 logs: 4 beats 2, 8, 16.
    #[serde(default = "defaults::committer_threads")]
    pub committer_threads: usize,
    /// Threads for reads and light jobs.
    #[serde(default = "defaults::worker_threads")]
    pub worker_threads: usize,
    /// Threads that take archives apart for readers, at somewhat lower priority.
    #[serde(default = "defaults::cold_threads")]
    pub cold_threads: usize,
    /// Threads at lower priority for builds, verification and cleaning.
    #[serde(default = "defaults::heavy_threads")]
    pub heavy_threads: usize,
    /// Payload bytes of appends and jobs that may wait.
    #[serde(default = "defaults::queue_bytes_max")]
    pub queue_bytes_max: usize,
    /// Appends that may wait.
    #[serde(default = "defaults::queue_appends_max")]
    pub queue_appends_max: usize,
    /// Reads and jobs that may wait.
    #[serde(default = "defaults::queue_jobs_max")]
    pub queue_jobs_max: usize,
    #[serde(default = "defaults::completions_max")]
    pub completions_max: usize,
    /// Result bytes that may wait to be fetched; a single larger result waits alone.
    #[serde(default = "defaults::results_bytes_max")]
    pub results_bytes_max: usize,
    #[serde(default = "defaults::segment_bytes_max")]
    pub segment_bytes_max: u64,
    /// Largest batch, in bytes.
    #[serde(default = "defaults::batch_bytes_max")]
    pub batch_bytes_max: u32,
    #[serde(default = "defaults::files_open_max")]
    pub files_open_max: usize,
    /// Bytes of sealed segments' sparse indexes kept in memory.
    #[serde(default = "defaults::index_cache_bytes_max")]
    pub index_cache_bytes_max: usize,
    /// A committer waits this long for company before it gathers; 0 = never.
    #[serde(default)]
    pub commit_wait_us: u64,
    /// 0 = no watchdog.
    #[serde(default = "defaults::watchdog_seconds")]
    pub watchdog_seconds: u64,
}

mod defaults {
    pub fn committer_threads() -> usize {
        4
    }
    pub fn worker_threads() -> usize {
        4
    }
    pub fn cold_threads() -> usize {
        2
    }
    pub fn heavy_threads() -> usize {
        2
    }
    pub fn queue_bytes_max() -> usize {
        64 << 20
    }
    pub fn queue_appends_max() -> usize {
        8192
    }
    pub fn queue_jobs_max() -> usize {
        8192
    }
    pub fn completions_max() -> usize {
        65_536
    }
    pub fn results_bytes_max() -> usize {
        128 << 20
    }
    pub fn segment_bytes_max() -> u64 {
        128 << 20
    }
    pub fn batch_bytes_max() -> u32 {
        100 << 20
    }
    pub fn files_open_max() -> usize {
        4096
    }
    pub fn index_cache_bytes_max() -> usize {
        32 << 20
    }
    pub fn watchdog_seconds() -> u64 {
        30
    }
}

impl Config {
    /// Parses the JSON text of `chronik_open` and checks the bounds.
    pub fn parse(json: &[u8]) -> Result<Config, String> {
        let config: Config =
            serde_json::from_slice(json).map_err(|error| format!("config: {error}"))?;
        let positive = [
            ("committer_threads", config.committer_threads),
            ("worker_threads", config.worker_threads),
            ("cold_threads", config.cold_threads),
            ("heavy_threads", config.heavy_threads),
            ("queue_bytes_max", config.queue_bytes_max),
            ("queue_appends_max", config.queue_appends_max),
            ("queue_jobs_max", config.queue_jobs_max),
            ("completions_max", config.completions_max),
            ("files_open_max", config.files_open_max),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("config: {name} must be at least 1"));
        }
        Ok(config)
    }
}
