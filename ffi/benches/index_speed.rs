//! Figures of indexing, not checks: `cargo bench --bench index_speed`.

#[path = "../tests/fixtures/support.rs"]
mod support;

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chronik::archive::{ArchiveBuilder, ArchiveSpec, Expected, verify_archive};
use chronik::codec::Codec;
use chronik::index::{INDEX_MEMORY_BYTES, IndexMode};

use support::*;

fn status_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace()
        .next()
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1_000_000
}

const SAMPLED_EVERY: Duration = Duration::from_millis(5);

/// The most anonymous memory seen, by samples: mapped index files are page cache.
struct AnonPeak {
    stop: Sender<()>,
    thread: JoinHandle<u64>,
}

impl AnonPeak {
    fn start() -> AnonPeak {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while stopped.recv_timeout(SAMPLED_EVERY) == Err(RecvTimeoutError::Timeout) {
                peak = peak.max(status_kib("RssAnon"));
            }
            peak
        });
        AnonPeak { stop, thread }
    }

    fn kib(self) -> u64 {
        drop(self.stop);
        self.thread.join().unwrap()
    }
}

/// CHRONIK_INDEX_MB: memory of the writer; CHRONIK_MB: raw size a run; CHRONIK_MODES,
/// CHRONIK_SIZES: comma lists; CHRONIK_SHAPE: `order` (mostly text) or `event` (mostly ids and
/// numbers).
fn main() {
    let env = |name: &str, default: &str| std::env::var(name).unwrap_or(default.to_owned());
    let raw_mb: usize = env("CHRONIK_MB", "64").parse().unwrap();
    let modes = env("CHRONIK_MODES", "full,text,keys,none");
    let sizes = env("CHRONIK_SIZES", "256,1024");
    for size in sizes.split(',') {
        let size: usize = size.parse().unwrap();
        for mode in modes.split(',') {
            let mode: IndexMode = serde_json::from_str(&format!("\"{mode}\"")).unwrap();
            run(mode, size, raw_mb);
        }
    }
}

fn shape() -> Shape {
    match std::env::var("CHRONIK_SHAPE").as_deref() {
        Ok("event") => event_json,
        _ => order_json,
    }
}

fn run(mode: IndexMode, size: usize, raw_mb: usize) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.tar.gz");
    let spec = ArchiveSpec {
        index_mode: mode,
        index_memory_bytes: match std::env::var("CHRONIK_INDEX_MB") {
            Ok(mb) => mb.parse::<usize>().unwrap() * 1_000_000,
            Err(_) => INDEX_MEMORY_BYTES,
        },
        ..spec(dir.path())
    };
    let before_kib = status_kib("VmRSS");
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let anon = AnonPeak::start();
    let mut builder = ArchiveBuilder::create(&path, spec).unwrap();
    let mut base = 0;
    let mut raw = 0usize;
    let (mut cpu, mut wall) = (0, 0);
    while raw < raw_mb * 1_000_000 {
        let batches = batches_of(shape(), base, 20_000, 64, size, Codec::None);
        base += 20_000;
        let (cpu_start, start) = (cpu_ms(), Instant::now());
        for batch in &batches {
            raw += batch.len();
            builder.push_batch(batch).unwrap();
        }
        cpu += cpu_ms() - cpu_start;
        wall += start.elapsed().as_millis() as u64;
    }
    let (cpu_push, cpu_start, start) = (cpu, cpu_ms(), Instant::now());
    let summary = builder.finish().unwrap();
    cpu += cpu_ms() - cpu_start;
    wall += start.elapsed().as_millis() as u64;
    let anon_kib = anon.kib();
    let peak_kib = status_kib("VmHWM");
    let start = cpu_ms();
    verify_archive(&path, &Expected::default()).unwrap();
    println!(
        "{mode:?} {size} B: {:.1} MB/s cpu ({:.1} wall; push {cpu_push} ms, finish {} ms) \
         raw {} MB, archive {} MB, index {} MB ({:.0} %), \
         peak {} MiB over {} MiB (anonymous {}), verify {:.0} MB/s cpu",
        raw as f64 / 1000.0 / cpu as f64,
        raw as f64 / 1000.0 / wall as f64,
        cpu - cpu_push,
        raw / 1_000_000,
        summary.size / 1_000_000,
        summary.index_bytes / 1_000_000,
        summary.index_bytes as f64 * 100.0 / raw as f64,
        (peak_kib - before_kib) / 1024,
        before_kib / 1024,
        anon_kib / 1024,
        raw as f64 / 1000.0 / (cpu_ms() - start) as f64,
    );
}
