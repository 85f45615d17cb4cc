//! Appends per second with a number of appends in flight, by committer threads; one JSON line per
//! figure. `cargo bench --bench group_commit`

use std::io::Read;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chronik::config::Config;
use chronik::disk::RealDisk;
use chronik::engine::Engine;
use chronik::record::{BatchSpec, RecordSpec, encode_batch};
use serde_json::{Value, json};

const IN_FLIGHT: usize = 128;
const SECONDS: u64 = 2;

struct Loop {
    engine: Engine,
    bell: UnixStream,
    next_token: u64,
}

#[derive(Default)]
struct Done {
    tokens: Vec<u64>,
    results: Vec<(u64, Value)>,
}

impl Loop {
    fn command(&mut self, block: &mut Vec<u8>, op: u16, log: u32, payload: &[u8]) -> u64 {
        self.next_token += 1;
        let length = (24 + payload.len()).next_multiple_of(8);
        block.extend_from_slice(&(length as u32).to_le_bytes());
        block.extend_from_slice(&op.to_le_bytes());
        block.extend_from_slice(&0u16.to_le_bytes());
        block.extend_from_slice(&self.next_token.to_le_bytes());
        block.extend_from_slice(&log.to_le_bytes());
        block.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        block.extend_from_slice(payload);
        block.resize(block.len().next_multiple_of(8), 0);
        self.next_token
    }

    fn reap(&self) -> Done {
        let mut done = Done::default();
        let mut out = vec![0; 40 * 1024];
        loop {
            let used = self.engine.core.completions.reap(&mut out);
            for one in out[..used].chunks(40) {
                let token = u64::from_le_bytes(one[..8].try_into().expect("token"));
                let status = i32::from_le_bytes(one[8..12].try_into().expect("status"));
                assert_eq!(status, 0);
                let bytes = u64::from_le_bytes(one[32..40].try_into().expect("bytes")) as usize;
                if bytes > 0 {
                    let mut result = vec![0; bytes];
                    self.engine
                        .core
                        .completions
                        .read(token, 0, &mut result)
                        .expect("result");
                    let json = serde_json::from_slice(&result[4..]).expect("json");
                    done.results.push((token, json));
                } else {
                    done.tokens.push(token);
                }
            }
            if used == 0 {
                return done;
            }
        }
    }

    fn job(&mut self, job: &Value) -> Value {
        let text = job.to_string();
        let mut payload = (text.len() as u32).to_le_bytes().to_vec();
        payload.extend_from_slice(text.as_bytes());
        let mut block = Vec::new();
        let token = self.command(&mut block, 3, 0, &payload);
        assert_eq!(self.engine.core.submit(&block, None).code(), 0);
        loop {
            if let Some((_, json)) = self.reap().results.into_iter().find(|(of, _)| *of == token) {
                return json;
            }
            self.bell
                .read_exact(&mut [0; 1])
                .expect("the doorbell rings");
        }
    }
}

fn run(threads: usize, logs: usize) {
    let dir = tempfile::tempdir().expect("dir");
    let config = json!({ "data_dir": dir.path(), "committer_threads": threads });
    let config = Config::parse(config.to_string().as_bytes()).expect("config");
    let exit = Box::new(|code: i32, text: &str| panic!("exit {code}: {text}"));
    let (engine, bell) = Engine::open(config, Arc::new(RealDisk), exit).expect("open");
    #[allow(unsafe_code)]
    // SAFETY: the descriptor was just handed out and nobody else owns it.
    let bell = unsafe { UnixStream::from_raw_fd(bell) };
    bell.set_nonblocking(false).expect("a bell that waits");
    bell.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a bell that waits");
    let mut main = Loop {
        engine,
        bell,
        next_token: 0,
    };
    let handles: Vec<u32> = (0..logs)
        .map(|partition| {
            let opened = main.job(&json!({
                "op": "open_log", "dir": format!("wal/t/{partition}"), "prefix": "wal_0",
                "log_id": "00".repeat(16), "partition": partition, "kind": "batches",
            }));
            opened["log"].as_u64().expect("handle") as u32
        })
        .collect();
    let value = [7; 256];
    let mut ends = vec![0i64; logs];
    let (mut offered, mut acknowledged) = (0usize, 0usize);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(SECONDS) || acknowledged < offered {
        let mut block = Vec::new();
        while offered - acknowledged < IN_FLIGHT && start.elapsed() < Duration::from_secs(SECONDS) {
            let at = offered % logs;
            let spec = BatchSpec {
                base_offset: ends[at],
                ..BatchSpec::default()
            };
            let record = RecordSpec {
                value: Some(&value),
                ..RecordSpec::default()
            };
            let batch = encode_batch(&spec, &[record]).expect("batch");
            let mut payload = Vec::with_capacity(24 + batch.len());
            payload.extend_from_slice(&ends[at].to_le_bytes());
            payload.extend_from_slice(&ends[at].to_le_bytes());
            payload.extend_from_slice(&1u32.to_le_bytes());
            payload.extend_from_slice(&0i32.to_le_bytes());
            payload.extend_from_slice(&batch);
            main.command(&mut block, 1, handles[at], &payload);
            ends[at] += 1;
            offered += 1;
        }
        if !block.is_empty() {
            assert_eq!(main.engine.core.submit(&block, None).code(), 0);
        }
        let done = main.reap().tokens.len();
        acknowledged += done;
        if done == 0 {
            std::thread::yield_now();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let stats = main.job(&json!({ "op": "stats" }));
    let fsyncs = stats["fsyncs"].as_u64().unwrap_or(0);
    let line = json!({
        "bench": "group_commit", "committers": threads, "logs": logs, "in_flight": IN_FLIGHT,
        "appends_per_second": (acknowledged as f64 / seconds).round(),
        "fsyncs_per_second": (fsyncs as f64 / seconds).round(),
        "appends_per_fsync": (acknowledged as f64 / fsyncs as f64).round(),
    });
    println!("{line}");
    main.engine.close();
}

fn main() {
    for logs in [1, 3, 16] {
        for threads in [2, 4, 8, 16] {
            run(threads, logs);
        }
    }
}
