//! The C functions behind a small client, as the broker's side has one.

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use chronik::abi::*;
use serde_json::{Value, json};

#[derive(Debug)]
pub struct Done {
    pub status: i32,
    pub value0: u64,
    pub value1: u64,
    pub result: Vec<u8>,
}

pub struct Client {
    pub engine: u64,
    pub bell: UnixStream,
    pub token: u64,
    pub done: HashMap<u64, Done>,
    pub order: Vec<u64>,
}

pub fn try_open(config: &Value) -> Result<Client, i32> {
    let text = config.to_string();
    let (mut fd, mut engine) = (0, 0);
    let status = unsafe {
        chronik_open(
            text.as_ptr(),
            text.len() as u64,
            &raw mut fd,
            &raw mut engine,
        )
    };
    if status != 0 {
        return Err(status);
    }
    let bell = unsafe { UnixStream::from_raw_fd(fd) };
    bell.set_nonblocking(false).unwrap();
    bell.set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    Ok(Client {
        engine,
        bell,
        token: 0,
        done: HashMap::new(),
        order: Vec::new(),
    })
}

pub fn open(dir: &Path) -> Client {
    try_open(&json!({ "data_dir": dir, "committer_threads": 4, "segment_bytes_max": 1 << 20 }))
        .unwrap()
}

impl Client {
    pub fn command(&mut self, block: &mut Vec<u8>, op: u16, log: u32, payload: &[u8]) -> u64 {
        self.token += 1;
        let length = (24 + payload.len()).next_multiple_of(8);
        block.extend((length as u32).to_le_bytes());
        block.extend(op.to_le_bytes());
        block.extend(0u16.to_le_bytes());
        block.extend(self.token.to_le_bytes());
        block.extend(log.to_le_bytes());
        block.extend((payload.len() as u32).to_le_bytes());
        block.extend(payload);
        block.resize(block.len().next_multiple_of(8), 0);
        self.token
    }

    pub fn append(&mut self, block: &mut Vec<u8>, log: u32, batch: &[u8]) -> u64 {
        let append = super::append_of(0, batch);
        let mut payload = Vec::new();
        payload.extend(append.base_offset.to_le_bytes());
        payload.extend(append.last_offset.to_le_bytes());
        payload.extend(append.record_count.to_le_bytes());
        payload.extend(append.leader_epoch.to_le_bytes());
        payload.extend(batch);
        self.command(block, 1, log, &payload)
    }

    pub fn submit(&self, block: &[u8]) -> i32 {
        unsafe { chronik_submit(self.engine, block.as_ptr(), block.len() as u64) }
    }

    pub fn reap(&mut self) -> usize {
        let mut out = vec![0u8; 40 * 100];
        let mut count = 0;
        loop {
            let mut used = 0;
            let status = unsafe {
                chronik_reap(
                    self.engine,
                    out.as_mut_ptr(),
                    out.len() as u64,
                    &raw mut used,
                )
            };
            assert_eq!(status, 0);
            for one in out[..used as usize].chunks(40) {
                let long = |at: usize| u64::from_le_bytes(one[at..at + 8].try_into().unwrap());
                let token = long(0);
                let status = i32::from_le_bytes(one[8..12].try_into().unwrap());
                let result = self.fetch(token, long(32) as usize);
                let done = Done {
                    status,
                    value0: long(16),
                    value1: long(24),
                    result,
                };
                assert!(self.done.insert(token, done).is_none(), "completed twice");
                self.order.push(token);
                count += 1;
            }
            if used == 0 {
                return count;
            }
        }
    }

    /// In pieces, as a caller with a small buffer would.
    pub fn fetch(&self, token: u64, bytes: usize) -> Vec<u8> {
        let mut result = vec![0u8; bytes];
        for at in (0..bytes).step_by(70_000) {
            let part = &mut result[at..(at + 70_000).min(bytes)];
            let (pointer, cap) = (part.as_mut_ptr(), part.len() as u64);
            let mut used = 0;
            let status =
                unsafe { chronik_read(self.engine, token, at as u64, pointer, cap, &raw mut used) };
            assert_eq!((status, used), (0, cap));
        }
        result
    }

    pub fn wait(&mut self, token: u64) -> Done {
        loop {
            self.reap();
            if let Some(done) = self.done.remove(&token) {
                return done;
            }
            let mut bytes = [0; 64];
            assert!(self.bell.read(&mut bytes).expect("the doorbell rings") > 0);
        }
    }

    /// One job in a block of its own, and its token.
    pub fn job_block(&mut self, job: &Value, raw: &[u8]) -> (Vec<u8>, u64) {
        let text = job.to_string();
        let mut payload = (text.len() as u32).to_le_bytes().to_vec();
        payload.extend(text.as_bytes());
        payload.extend(raw);
        let mut block = Vec::new();
        let token = self.command(&mut block, 3, 0, &payload);
        (block, token)
    }

    /// Waits for one completion, whose result it leaves where it is; the result's length.
    pub fn wait_without_result(&mut self, token: u64) -> usize {
        let mut out = [0u8; 40];
        loop {
            let mut used = 0;
            let status = unsafe { chronik_reap(self.engine, out.as_mut_ptr(), 40, &raw mut used) };
            assert_eq!(status, 0);
            if used == 40 {
                assert_eq!(out[..8], token.to_le_bytes());
                assert_eq!(out[8..12], [0; 4]);
                return u64::from_le_bytes(out[32..].try_into().unwrap()) as usize;
            }
            let mut bytes = [0; 64];
            assert!(self.bell.read(&mut bytes).expect("the doorbell rings") > 0);
        }
    }

    pub fn job(&mut self, job: &Value, raw: &[u8]) -> (i32, Value, Vec<u8>) {
        let (block, token) = self.job_block(job, raw);
        assert_eq!(self.submit(&block), 0);
        let done = self.wait(token);
        let length = u32::from_le_bytes(done.result[..4].try_into().unwrap()) as usize;
        let json = serde_json::from_slice(&done.result[4..4 + length]).unwrap();
        (done.status, json, done.result[4 + length..].to_vec())
    }

    pub fn ok(&mut self, job: Value) -> Value {
        let (status, json, _) = self.job(&job, &[]);
        assert_eq!(status, 0, "{job}: {json}");
        json
    }

    pub fn open_log(&mut self, partition: u32) -> u32 {
        let json = self.ok(open_job(partition));
        json["log"].as_u64().unwrap() as u32
    }

    pub fn read(&mut self, log: u32, from: i64, limit: i64, bytes_max: u32) -> Done {
        let mut payload = from.to_le_bytes().to_vec();
        payload.extend(limit.to_le_bytes());
        payload.extend(bytes_max.to_le_bytes());
        payload.extend([0; 4]);
        let mut block = Vec::new();
        let token = self.command(&mut block, 2, log, &payload);
        assert_eq!(self.submit(&block), 0);
        self.wait(token)
    }
}

pub fn open_job(partition: u32) -> Value {
    json!({
        "op": "open_log", "dir": format!("wal/topic/{partition}"),
        "prefix": format!("wal_{partition}"), "log_id": "0123456789abcdef".repeat(2),
        "partition": partition, "kind": "batches",
    })
}
