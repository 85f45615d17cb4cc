//! What the WAL tests share: batches, a log without threads, and a disk that fails and forgets.
#![allow(dead_code)]

pub mod client;
pub mod disk;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use chronik::completion::Completion;
use chronik::disk::{Disk, RealDisk};
use chronik::record::{BatchSpec, RecordSpec, encode_batch};
use chronik::status::Status;
use chronik::wal::error::WalError;
use chronik::wal::log::{Append, Damage, Kind, Log, LogSpec, Poison, Wal};
use chronik::wal::read::{ReadResult, read};
use chronik::wal::recovery::{Report, recover};
use chronik::wal::segment::{Files, SegmentMeta};

pub const TIME: i64 = 1_700_000_000_000;
pub const LOG_ID: [u8; 16] = [0xc5; 16];

/// xorshift: different bytes, repeatable.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() >> 32) as u8).collect()
    }
}

/// A batch of `values` at `base`, one millisecond per offset.
pub fn batch_of(base: i64, values: &[Vec<u8>]) -> Vec<u8> {
    let keyed: Vec<_> = values
        .iter()
        .map(|value| (None, Some(value.as_slice())))
        .collect();
    keyed_batch(base, &keyed)
}

pub type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// A batch of keys and values at `base`.
pub fn keyed_batch(base: i64, pairs: &[Pair<'_>]) -> Vec<u8> {
    let records: Vec<_> = pairs
        .iter()
        .enumerate()
        .map(|(delta, (key, value))| RecordSpec {
            offset_delta: delta as i32,
            timestamp: TIME + base + delta as i64,
            key: *key,
            value: *value,
            headers: Vec::new(),
        })
        .collect();
    let spec = BatchSpec {
        base_offset: base,
        producer_id: 42,
        producer_epoch: 1,
        base_sequence: base as i32,
        ..BatchSpec::default()
    };
    encode_batch(&spec, &records).unwrap()
}

/// A batch with one record of `bytes` random bytes.
pub fn one(base: i64, random: &mut Random, bytes: usize) -> Vec<u8> {
    batch_of(base, &[random.bytes(bytes)])
}

/// A log without the engine's threads around it.
pub struct Opened {
    pub wal: Wal,
    pub log: Log,
    pub report: Report,
    pub exits: Arc<Mutex<Vec<i32>>>,
}

pub struct Options {
    pub dir: PathBuf,
    pub segment_bytes_max: u64,
    pub from_offset: i64,
    pub files_open_max: usize,
    pub frame_bytes_max: u64,
    pub kind: Kind,
}

impl Options {
    pub fn new(dir: &Path) -> Self {
        Options {
            dir: dir.join("wal/topic/0"),
            segment_bytes_max: 4096,
            from_offset: 0,
            files_open_max: 3,
            frame_bytes_max: 1 << 20,
            kind: Kind::Batches,
        }
    }
}

pub fn open(options: &Options) -> Result<Opened, WalError> {
    open_on(options, Arc::new(RealDisk))
}

pub fn open_on(options: &Options, disk: Arc<dyn Disk>) -> Result<Opened, WalError> {
    let exits = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&exits);
    let exit = Box::new(move |code: i32, _: &str| seen.lock().unwrap().push(code));
    let files = Files::new(disk, options.files_open_max, 1 << 20);
    let wal = Wal::new(files, Poison::new(exit), options.frame_bytes_max);
    let spec = LogSpec {
        dir: options.dir.clone(),
        prefix: "wal_0".into(),
        log_id: LOG_ID,
        partition: 0,
        kind: options.kind,
        segment_bytes_max: options.segment_bytes_max,
    };
    let recovered = recover(&wal, &spec, options.from_offset, 0)?;
    let log = Log {
        handle: 1,
        segment_bytes_max: options.segment_bytes_max.into(),
        spec,
        view: RwLock::new(recovered.view),
        queue: Mutex::default(),
        writer: Mutex::new(recovered.writer),
        maintenance: Mutex::new(()),
    };
    Ok(Opened {
        wal,
        log,
        report: recovered.report,
        exits,
    })
}

pub fn append_of(token: u64, body: &[u8]) -> Append {
    let base_offset = i64::from_be_bytes(body[0..8].try_into().unwrap());
    let delta = i32::from_be_bytes(body[23..27].try_into().unwrap());
    Append {
        token,
        base_offset,
        last_offset: base_offset + i64::from(delta),
        record_count: u32::from_be_bytes(body[57..61].try_into().unwrap()),
        leader_epoch: 7,
        block: Arc::from(body),
        start: 0,
        end: body.len(),
    }
}

impl Opened {
    /// Appends the batches as one group; their statuses.
    pub fn append(&self, bodies: &[Vec<u8>]) -> Vec<Status> {
        self.append_all(bodies)
            .iter()
            .map(|done| done.status)
            .collect()
    }

    pub fn append_all(&self, bodies: &[Vec<u8>]) -> Vec<Completion> {
        let appends = bodies
            .iter()
            .enumerate()
            .map(|(token, body)| append_of(token as u64, body))
            .collect();
        let mut writer = self.log.writer.lock().unwrap();
        let committed = writer.commit(&self.wal, &self.log, appends);
        if committed.fail_behind.is_some() {
            writer.refuse_behind();
        }
        committed.completions
    }

    pub fn seal(&self) -> Result<Option<SegmentMeta>, WalError> {
        let mut writer = self.log.writer.lock().unwrap();
        writer.seal(&self.wal, &self.log)
    }

    pub fn stop(&self) -> Result<(), WalError> {
        let mut writer = self.log.writer.lock().unwrap();
        writer.stop(&self.wal, &self.log)
    }

    pub fn truncate(&self, to_offset: i64) -> Result<i64, WalError> {
        let mut writer = self.log.writer.lock().unwrap();
        writer.truncate(&self.wal, &self.log, to_offset)
    }

    pub fn release(&self, ids: &[u64]) -> Result<u64, WalError> {
        self.log.release(&self.wal, ids)
    }

    pub fn read(&self, from: i64, limit: i64, bytes_max: u32) -> Result<ReadResult, WalError> {
        read(&self.wal, &self.log, from, limit, bytes_max)
    }

    /// Everything from the start of the log on.
    pub fn read_all(&self) -> Result<Vec<u8>, WalError> {
        let (start, end) = self.log.bounds();
        if start == end {
            return Ok(Vec::new());
        }
        let found = self.read(start, end, u32::MAX)?;
        assert_eq!(found.next_offset, end, "the read ends before the log does");
        Ok(found.bytes)
    }

    pub fn damaged(&self) -> Option<Damage> {
        self.log.view.read().unwrap().damaged.clone()
    }
}

/// The segment files of a log, in order of their ids.
pub fn segment_files(options: &Options) -> Vec<PathBuf> {
    let mut ids: Vec<u64> = std::fs::read_dir(&options.dir)
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            chronik::wal::segment::parse_segment_name("wal_0", &name)
        })
        .collect();
    ids.sort_unstable();
    let path = |id: &u64| options.dir.join(format!("wal_0_{id}.log"));
    ids.iter().map(path).collect()
}

/// A log in `dir` whose segments end only where a test ends them.
pub fn long_segments(dir: &tempfile::TempDir) -> Options {
    Options {
        segment_bytes_max: 1 << 20,
        ..Options::new(dir.path())
    }
}

/// Three sealed-and-active files: ids 0 and 1 sealed, 2 active, with `groups` groups each.
pub fn three_files(options: &Options, groups: usize) -> Vec<Vec<u8>> {
    let opened = open(options).unwrap();
    let mut random = Random(7);
    let mut bodies = Vec::new();
    for file in 0..3 {
        for _ in 0..groups {
            let body = one(bodies.len() as i64, &mut random, 300);
            assert_eq!(opened.append(std::slice::from_ref(&body)), [Status::Ok]);
            bodies.push(body);
        }
        if file < 2 {
            opened.seal().unwrap().unwrap();
        }
    }
    bodies
}

/// Where the data of the last segment ends, in bytes.
pub fn data_end(opened: &Opened) -> u64 {
    opened.log.segments().last().unwrap().bytes
}
