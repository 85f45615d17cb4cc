//! The C functions as the broker calls them.

mod wal_support;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chronik::abi::*;
use chronik::config::Config;
use chronik::engine::Engine;
use chronik::status::Status;
use serde_json::{Value, json};
use wal_support::client::{open, open_job, try_open};
use wal_support::disk::{Calls, Fault, FaultyDisk};
use wal_support::{Random, batch_of, keyed_batch, one};

/// 10,000 appends over 20 logs, with reads, seals and releases beside them.
#[test]
fn ten_thousand_appends_beside_reads_and_seals() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = open(dir.path());
    let logs: Vec<u32> = (0..20)
        .map(|partition| client.open_log(partition))
        .collect();
    let mut random = Random(77);
    let mut written: Vec<Vec<Vec<u8>>> = vec![Vec::new(); logs.len()];
    let mut tokens = Vec::new();
    for round in 0..50 {
        let mut block = Vec::new();
        for (at, log) in logs.iter().enumerate() {
            for _ in 0..10 {
                let body = one(written[at].len() as i64, &mut random, 40 + round);
                tokens.push((at, client.append(&mut block, *log, &body)));
                written[at].push(body);
            }
        }
        assert_eq!(client.submit(&block), 0);
        let victim = round % logs.len();
        client.ok(json!({ "op": "seal", "log": logs[victim] }));
        let found = client.read(logs[victim], 0, i64::MAX, 5000);
        assert_eq!(found.status, 0);
        let whole = written[victim].concat();
        assert!(whole.starts_with(&found.result) && found.value0 == found.value1);
    }
    for (_, token) in &tokens {
        if !client.done.contains_key(token) {
            let done = client.wait(*token);
            client.done.insert(*token, done);
        }
        assert_eq!(client.done[token].status, 0);
    }
    // Per log, completions came in submit order.
    let rank: HashMap<u64, usize> = client
        .order
        .iter()
        .enumerate()
        .map(|(at, token)| (*token, at))
        .collect();
    for at in 0..logs.len() {
        let own: Vec<_> = tokens
            .iter()
            .filter(|(of, _)| *of == at)
            .map(|(_, token)| rank[token])
            .collect();
        assert!(own.is_sorted(), "log {at} completed out of order");
    }
    for (at, log) in logs.iter().enumerate() {
        assert!(client.read(*log, 0, i64::MAX, u32::MAX).result == written[at].concat());
    }
    let stats = client.ok(json!({ "op": "stats" }));
    assert!(
        stats["fsyncs"].as_u64().unwrap() < 5000,
        "no group commit: {stats}"
    );
    assert_eq!(stats["queued_appends"], 0);
    assert_eq!(chronik_close(client.engine), 0);
    let mut client = open(dir.path());
    for (partition, bodies) in written.iter().enumerate() {
        let json = client.ok(open_job(partition as u32));
        assert_eq!(json["clean"], true, "{json}");
        assert_eq!(json["damaged"], Value::Null);
        let log = json["log"].as_u64().unwrap() as u32;
        assert!(client.read(log, 0, i64::MAX, u32::MAX).result == bodies.concat());
    }
    chronik_close(client.engine);
}

#[test]
fn bogus_calls_are_answered() {
    let (mut out, mut used) = ([0u8; 80], 0u64);
    for engine in [0, 999_999, u64::MAX] {
        let closed = Status::Closed.code();
        unsafe {
            assert_eq!(chronik_submit(engine, out.as_ptr(), 8), closed);
            assert_eq!(
                chronik_reap(engine, out.as_mut_ptr(), 80, &raw mut used),
                closed
            );
            assert_eq!(
                chronik_read(engine, 1, 0, out.as_mut_ptr(), 80, &raw mut used),
                closed
            );
        }
        assert_eq!(chronik_close(engine), closed);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut client = open(dir.path());
    let invalid = Status::InvalidArgument.code();
    assert_eq!(
        unsafe { chronik_submit(client.engine, std::ptr::null(), 8) },
        invalid
    );
    for bytes in [1, 7, 24, 100] {
        assert_eq!(client.submit(&vec![0xff; bytes]), invalid);
        assert_eq!(client.submit(&vec![0; bytes]), invalid);
    }
    // One bad command: none of the block is taken.
    let log = client.open_log(0);
    let mut block = Vec::new();
    let token = client.append(&mut block, log, &one(0, &mut Random(1), 9));
    block.extend([1; 24]);
    assert_eq!(client.submit(&block), invalid);
    client.ok(json!({ "op": "stats" }));
    assert!(!client.done.contains_key(&token));
    assert_eq!(
        client.ok(json!({ "op": "segments", "log": log }))["log_end"],
        0
    );
    // Unknown logs are answered per command.
    let mut block = Vec::new();
    let token = client.append(&mut block, 4242, &one(0, &mut Random(1), 9));
    assert_eq!(client.submit(&block), 0);
    assert_eq!(client.wait(token).status, Status::Closed.code());
    assert_eq!(client.read(4242, 0, 1, 1).status, Status::Closed.code());
    for job in [
        json!({ "op": "no" }),
        json!({ "op": "seal", "log": "x" }),
        json!([1]),
    ] {
        assert_eq!(client.job(&job, &[]).0, invalid);
    }
    for path in ["../x", "a/../../x", "", "a\0b"] {
        assert_eq!(
            client
                .job(&json!({ "op": "write_file", "path": path }), b"x")
                .0,
            invalid
        );
    }
    assert_eq!(
        client
            .job(&json!({ "op": "fault_point", "name": "x" }), &[])
            .0,
        fault_status()
    );
    assert_eq!(chronik_close(client.engine), 0);
    let mut bytes = Vec::new();
    client
        .bell
        .read_to_end(&mut bytes)
        .expect("the doorbell ends with the engine");
}

fn fault_status() -> i32 {
    if cfg!(feature = "fp") {
        0
    } else {
        Status::NotFound.code()
    }
}

#[test]
fn one_owner_per_directory_and_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = open(dir.path());
    assert_eq!(
        try_open(&json!({ "data_dir": dir.path() })).err(),
        Some(Status::Locked.code())
    );
    let mut text = [0u8; 300];
    let length = unsafe { chronik_last_error(0, text.as_mut_ptr(), 300) } as usize;
    assert!(String::from_utf8_lossy(&text[..length]).contains("another process"));
    assert_eq!(
        try_open(&json!({ "data_dir": dir.path(), "typo": 1 })).err(),
        Some(-2)
    );
    let log = client.open_log(3);
    assert_eq!(client.job(&open_job(3), &[]).0, Status::Exists.code());
    client.ok(json!({ "op": "close_log", "log": log }));
    let again = client.open_log(3);
    assert_ne!(log, again);
    assert_eq!(chronik_close(client.engine), 0);
    chronik_close(open(dir.path()).engine);
}

/// A queue that is full says so and takes nothing; what was taken is finished.
#[test]
fn full_queues_are_busy() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "data_dir": dir.path(), "queue_appends_max": 8, "completions_max": 2,
        "committer_threads": 1, "worker_threads": 1,
    });
    let mut client = try_open(&config).unwrap();
    let log = client.open_log(0);
    let mut random = Random(5);
    let (mut taken, mut refused, mut next) = (Vec::new(), 0, 0);
    for _ in 0..200 {
        let mut block = Vec::new();
        let first = client.append(&mut block, log, &one(next, &mut random, 20));
        let second = client.append(&mut block, log, &one(next + 1, &mut random, 20));
        match client.submit(&block) {
            0 => {
                taken.extend([first, second]);
                next += 2;
            }
            status => {
                assert_eq!(status, Status::Busy.code());
                refused += 1;
                client.reap();
            }
        }
    }
    assert!(refused > 0, "nothing was refused");
    let unique: HashSet<_> = taken.iter().copied().collect();
    assert_eq!(unique.len(), taken.len());
    for token in taken {
        let status = match client.done.remove(&token) {
            Some(done) => done.status,
            None => client.wait(token).status,
        };
        assert_eq!(status, 0);
    }
    assert_eq!(
        client.ok(json!({ "op": "segments", "log": log }))["log_end"],
        next
    );
    // Closing with a full completion queue does not hang.
    for base in 0..4 {
        let mut block = Vec::new();
        client.append(&mut block, log, &one(next + base, &mut random, 20));
        assert_eq!(client.submit(&block), 0);
    }
    assert_eq!(chronik_close(client.engine), 0);
}

/// Results that nobody fetched hold back the threads that make more of them.
#[test]
fn results_that_wait_are_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({
        "data_dir": dir.path(), "results_bytes_max": 100_000, "worker_threads": 2,
    });
    let mut client = try_open(&config).unwrap();
    let (bytes, name) = (vec![7u8; 60_000], "some.file");
    let (status, ..) = client.job(&json!({ "op": "write_file", "path": name }), &bytes);
    assert_eq!(status, 0);
    let text = json!({ "op": "read_file", "path": name }).to_string();
    let mut payload = (text.len() as u32).to_le_bytes().to_vec();
    payload.extend(text.as_bytes());
    let mut block = Vec::new();
    let tokens: Vec<_> = (0..20)
        .map(|_| client.command(&mut block, 3, 0, &payload))
        .collect();
    assert_eq!(client.submit(&block), 0);
    let mut out = [0u8; 40];
    let mut used = 0;
    while used == 0 {
        let (pointer, used) = (out.as_mut_ptr(), &raw mut used);
        assert_eq!(unsafe { chronik_reap(client.engine, pointer, 40, used) }, 0);
    }
    // The first result is not fetched yet: no second one fits beside it.
    std::thread::park_timeout(Duration::from_millis(200));
    let mut more = [0u8; 400];
    let pointer = more.as_mut_ptr();
    let status = unsafe { chronik_reap(client.engine, pointer, 400, &raw mut used) };
    assert_eq!((status, used), (0, 0), "results pile up");
    let first = u64::from_le_bytes(out[..8].try_into().unwrap());
    let length = u64::from_le_bytes(out[32..40].try_into().unwrap()) as usize;
    assert!(client.fetch(first, length).ends_with(&bytes));
    for token in tokens.into_iter().filter(|token| *token != first) {
        assert_eq!(client.wait(token).status, 0);
    }
    assert_eq!(chronik_close(client.engine), 0);
}

/// A name left behind by a crashed process of the same id is no object that exists.
#[test]
fn scratch_left_behind_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = tempfile::tempdir().unwrap();
    let mut client = open(dir.path());
    for number in 0..4 {
        let stale = format!(".{}-{number}.tmp", std::process::id());
        std::fs::write(store.path().join(stale), b"half of it").unwrap();
    }
    let path = store.path().join("object");
    let (status, text, _) = client.job(&json!({ "op": "write_file", "path": path }), b"whole");
    assert_eq!(status, 0, "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), b"whole");
    assert_eq!(chronik_close(client.engine), 0);
}

/// Build, verify, read back by ranges, find by time: all from the log.
#[test]
fn archives_of_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = open(dir.path());
    let log = client.open_log(0);
    let mut written = Vec::new();
    for base in (0..60).step_by(3) {
        let values: Vec<_> = (0..3)
            .map(|at| format!("value {}", base + at).into_bytes())
            .collect();
        let body = batch_of(base, &values);
        let mut block = Vec::new();
        let token = client.append(&mut block, log, &body);
        client.submit(&block);
        assert_eq!(client.wait(token).status, 0);
        written.push(body);
    }
    let build = |from: i64, to: i64| {
        json!({
            "op": "build_archive", "log": log, "from_offset": from, "to_offset": to,
            "path": "tmp/a.tar.gz",
            "spec": { "topic": "t", "topic_id": "id", "partition": 0, "index": "keys" },
        })
    };
    assert_ne!(client.job(&build(0, 60), &[]).0, 0, "past the end");
    assert_ne!(client.job(&build(1, 59), &[]).0, 0, "inside a batch");
    let summary = client.ok(build(0, 59));
    assert_eq!(summary["records"], 60);
    let expected = json!({ "sha256": summary["sha256"], "last_offset": 59, "records": 60 });
    let verify = json!({ "op": "verify_archive", "path": "tmp/a.tar.gz", "expected": expected });
    let report = client.ok(verify.clone())["report"].clone();
    assert_eq!(report["toc_position"], summary["toc_position"]);
    let put =
        json!({ "op": "put_file", "from": "tmp/a.tar.gz", "to": "o/a.tar.gz", "if_absent": true });
    client.ok(put.clone());
    client.ok(build(0, 59));
    assert_eq!(client.job(&put, &[]).0, Status::Exists.code());
    let archive = std::fs::read(dir.path().join("o/a.tar.gz")).unwrap();
    let toc_at = summary["toc_position"].as_u64().unwrap() as usize;
    let read_toc = json!({ "op": "read_toc", "archive_bytes": archive.len() });
    let (status, toc, _) = client.job(&read_toc, &archive[toc_at..]);
    assert_eq!(status, 0, "{toc}");
    let (status, _, _) = client.job(&read_toc, &archive[toc_at + 1..]);
    assert_eq!(status, Status::OutOfRange.code());
    let chunk = &toc["toc"]["batches"]["chunks"][0];
    let at = chunk["position"].as_u64().unwrap() as usize;
    let member = &archive[at..at + chunk["length"].as_u64().unwrap() as usize];
    let inflate =
        json!({ "op": "inflate_chunk", "raw_len": chunk["bytes"], "crc32c": chunk["crc32c"] });
    let (status, _, raw) = client.job(&inflate, member);
    assert!(status == 0 && raw == written.concat());
    for target in [wal_support::TIME + 31, -1] {
        let range = json!({ "op": "read_time", "log": log, "from_offset": 0, "offset_limit": 60,
            "target": target });
        let (_, found, _) = client.job(&json!({ "op": "find_time", "target": target }), &raw);
        assert_eq!(client.ok(range), found);
        let offset = if target < 0 { 59 } else { 31 };
        assert_eq!(found["offset"], offset);
        assert_eq!(found["timestamp"], wal_support::TIME + offset);
    }
    let mut harmed = archive;
    harmed[at + 40] ^= 1;
    std::fs::write(dir.path().join("tmp/a.tar.gz"), harmed).unwrap();
    assert_eq!(client.job(&verify, &[]).0, Status::Corrupt.code());
    assert_eq!(chronik_close(client.engine), 0);
}

#[test]
fn checks_of_batches() {
    let check = |bytes: &[u8]| {
        let mut info = [0u8; 24];
        let status =
            unsafe { chronik_check(bytes.as_ptr(), bytes.len() as u64, info.as_mut_ptr(), 24) };
        (status, info)
    };
    let keyed = keyed_batch(0, &[(Some(b"k"), Some(b"v"))]);
    let (status, info) = check(&keyed);
    assert_eq!(status, 0);
    assert_eq!(info[..4], (keyed.len() as u32).to_le_bytes());
    assert_eq!(info[4..8], [0; 4]);
    assert_eq!(info[8..16], wal_support::TIME.to_le_bytes());
    assert_eq!(
        check(&one(0, &mut Random(1), 5)).1[4],
        2,
        "a record without a key"
    );
    for bit in 0..keyed.len() * 8 {
        let mut flipped = keyed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // Base offset and leader epoch lie outside the checksum: the broker sets them.
        let outside = bit / 8 < 8 || (12..16).contains(&(bit / 8));
        assert_eq!(check(&flipped).0 == 0, outside, "bit {bit}");
    }
    assert_eq!(check(&[]).0, Status::BatchLength.code());
}

fn engine_on(disk: FaultyDisk, dir: &Path, watchdog: u64) -> (Engine, Arc<Mutex<Vec<i32>>>) {
    let exits = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&exits);
    let config = json!({ "data_dir": dir, "watchdog_seconds": watchdog });
    let config = Config::parse(config.to_string().as_bytes()).unwrap();
    let exit = Box::new(move |code: i32, text: &str| {
        assert!(!text.is_empty());
        seen.lock().unwrap().push(code);
    });
    let (engine, bell) = Engine::open(config, Arc::new(disk), exit).unwrap();
    drop(unsafe { UnixStream::from_raw_fd(bell) });
    (engine, exits)
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{what} did not happen"
        );
        std::thread::yield_now();
    }
}

/// Whether a thread of this name sleeps.
fn thread_waits(name: &str) -> bool {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks.flatten().any(|task| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.contains(&format!("({name}) S"))
    })
}

#[test]
fn closing_waits_for_no_tick() {
    let dir = tempfile::tempdir().unwrap();
    let mut quickest = Duration::MAX;
    for _ in 0..8 {
        let disk = FaultyDisk::new(&dir.path().join("trash"));
        let (engine, _) = engine_on(disk, &dir.path().join("data"), 60);
        wait_until("the watchdog's pause", || thread_waits("watchdog"));
        let start = Instant::now();
        assert_eq!(engine.close(), Status::Ok);
        quickest = quickest.min(start.elapsed());
    }
    // The watchdog looks every 250 ms: without a wake, each close waits about as long.
    assert!(quickest < Duration::from_millis(150), "{quickest:?}");
}

#[test]
fn a_silent_loop_is_ended_and_a_failed_fsync_too() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultyDisk::new(&dir.path().join("trash"));
    let (engine, exits) = engine_on(disk, &dir.path().join("data"), 1);
    wait_until("the watchdog", || exits.lock().unwrap().as_slice() == [11]);
    assert_eq!(engine.close(), Status::Ok);

    let disk = FaultyDisk::new(&dir.path().join("trash"));
    let (engine, exits) = engine_on(disk.clone(), &dir.path().join("data"), 0);
    disk.plan(Calls::Syncs, 1, Fault::Once(5));
    let job = br#"{"op":"write_file","path":"x"}"#;
    let mut block = Vec::new();
    let length = (24 + 4 + job.len()).next_multiple_of(8);
    block.extend((length as u32).to_le_bytes());
    block.extend([3, 0, 0, 0]);
    block.extend(1u64.to_le_bytes());
    block.extend(0u32.to_le_bytes());
    block.extend((4 + job.len() as u32).to_le_bytes());
    block.extend((job.len() as u32).to_le_bytes());
    block.extend(job);
    block.resize(length, 0);
    assert_eq!(engine.core.submit(&block, None), Status::Ok);
    wait_until("the poisoning", || exits.lock().unwrap().as_slice() == [9]);
    assert_eq!(engine.core.submit(&block, None), Status::Poisoned);
    engine.close();
}
