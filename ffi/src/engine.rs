//! The engine: opening, the threads, and an orderly end.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::bytes::{lock, read};
use crate::closing::Closing;
use crate::completion::{Completion, Completions};
use crate::config::Config;
use crate::disk::{Disk, create_dirs};
use crate::jobs;
use crate::pool::WorkQueue;
use crate::status::{Status, status_of_io};
use crate::wal::error::WalError;
use crate::wal::frame::HEADER_BYTES;
use crate::wal::group_commit::refused;
use crate::wal::log::{Append, ExitHook, Item, Log, Poison, Wal};
use crate::wal::segment::Files;

/// Work for the reading and job threads.
pub type Task = Box<dyn FnOnce(&Arc<Core>) + Send>;

/// What all threads share.
pub struct Core {
    pub config: Config,
    pub completions: Completions,
    pub wal: Wal,
    pub logs: RwLock<HashMap<u32, Arc<Log>>>,
    /// Directory and prefix of every open log: one owner each.
    pub open_logs: Mutex<HashSet<(PathBuf, String)>>,
    pub next_handle: AtomicU32,
    pub next_temp: AtomicU64,
    /// Logs with something to write.
    pub ready: WorkQueue<Arc<Log>>,
    pub light: WorkQueue<Task>,
    pub cold: WorkQueue<Task>,
    pub heavy: WorkQueue<Task>,
    pub queued_bytes: AtomicUsize,
    pub queued_appends: AtomicUsize,
    pub queued_jobs: AtomicUsize,
    /// Bumped by every submit and reap.
    pub signs_of_life: AtomicU64,
    pub closing: Closing,
    /// Archive builds give up at their next batch: set by a stop, and when the engine closes.
    pub builds_stopped: AtomicBool,
    pub last_error: Mutex<String>,
}

/// An open engine: the shared part and its threads.
pub struct Engine {
    pub core: Arc<Core>,
    threads: Mutex<Threads>,
    lock_file: Mutex<Option<File>>,
}

#[derive(Default)]
struct Threads {
    committers: Vec<JoinHandle<()>>,
    workers: Vec<JoinHandle<()>>,
    watchdog: Option<JoinHandle<()>>,
}

/// Why an engine did not open.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct OpenError {
    pub status: Status,
    pub text: String,
}

impl OpenError {
    fn io(what: &str, path: &Path, error: &std::io::Error) -> Self {
        let text = format!("{what} {}: {error}", path.display());
        OpenError {
            status: status_of_io(error),
            text,
        }
    }
}

const THREAD_STACK_BYTES: usize = 1 << 20;
/// Heavy jobs give way to readers of archives, and those to all who read and commit what is new.
const HEAVY_NICE: i32 = 10;
const COLD_NICE: i32 = 5;
/// Bytes and appends that go into one write.
const GROUP_BYTES_MAX: usize = 16 << 20;
const GROUP_APPENDS_MAX: usize = 4096;

impl Engine {
    /// Locks the data directory, empties its `tmp` and starts the threads. Returns the engine and
    /// the doorbell's file descriptor.
    pub fn open(
        config: Config,
        disk: Arc<dyn Disk>,
        exit: ExitHook,
    ) -> Result<(Engine, RawFd), OpenError> {
        let data_dir = config.data_dir.clone();
        create_dirs(disk.as_ref(), &data_dir)
            .map_err(|error| OpenError::io("create", &data_dir, &error))?;
        let lock_file = lock_data_dir(&data_dir)?;
        let temp_dir = data_dir.join("tmp");
        empty_dir(disk.as_ref(), &temp_dir)
            .map_err(|error| OpenError::io("empty", &temp_dir, &error))?;
        let files_limit = raise_file_limit();
        let (completions, doorbell) =
            Completions::new(config.completions_max, config.results_bytes_max)
                .map_err(|error| OpenError::io("socketpair for", &data_dir, &error))?;
        let files = Files::new(
            disk,
            config.files_open_max.min(files_limit / 2),
            config.index_cache_bytes_max,
        );
        let frame_bytes_max = u64::from(config.batch_bytes_max) + HEADER_BYTES as u64;
        let core = Arc::new(Core {
            completions,
            wal: Wal::new(files, Poison::new(exit), frame_bytes_max),
            logs: RwLock::default(),
            open_logs: Mutex::default(),
            next_handle: AtomicU32::new(1),
            next_temp: AtomicU64::new(1),
            ready: WorkQueue::default(),
            light: WorkQueue::default(),
            cold: WorkQueue::default(),
            heavy: WorkQueue::default(),
            queued_bytes: AtomicUsize::new(0),
            queued_appends: AtomicUsize::new(0),
            queued_jobs: AtomicUsize::new(0),
            signs_of_life: AtomicU64::new(0),
            closing: Closing::default(),
            builds_stopped: AtomicBool::new(false),
            last_error: Mutex::default(),
            config,
        });
        let threads = start_threads(&core)
            .map_err(|error| OpenError::io("threads for", &data_dir, &error))?;
        let (threads, lock_file) = (Mutex::new(threads), Mutex::new(Some(lock_file)));
        Ok((
            Engine {
                core,
                threads,
                lock_file,
            },
            doorbell,
        ))
    }

    /// Finishes what was submitted, marks clean stops, joins the threads, frees the lock.
    pub fn close(&self) -> Status {
        self.core.builds_stopped.store(true, Ordering::Relaxed);
        if !self.core.closing.say() {
            return Status::Closed;
        }
        let core = &self.core;
        core.completions.close();
        drop(core.heavy.drain());
        core.light.close();
        core.cold.close();
        core.heavy.close();
        let mut threads = std::mem::take(&mut *lock(&self.threads));
        threads.workers.drain(..).for_each(join);
        core.ready.close();
        threads.committers.drain(..).for_each(join);
        if let Some(watchdog) = threads.watchdog.take() {
            watchdog.thread().unpark();
            join(watchdog);
        }
        let logs: Vec<_> = read(&core.logs).values().cloned().collect();
        let mut status = Status::Ok;
        for log in logs {
            match lock(&log.writer).stop(&core.wal, &log) {
                // A full disk has no room for the mark; the next open scans, as after a crash.
                Ok(()) | Err(WalError::NoSpace { .. }) => {}
                Err(error) => {
                    core.note(&error.to_string());
                    status = error.status();
                }
            }
        }
        lock(&self.lock_file).take();
        status
    }
}

impl Core {
    /// Keeps a text for `chronik_last_error`.
    pub fn note(&self, text: &str) {
        text.clone_into(&mut lock(&self.last_error));
    }

    /// The open log of a handle.
    pub fn log(&self, handle: u32) -> Option<Arc<Log>> {
        read(&self.logs).get(&handle).cloned()
    }

    /// Gives the counters back what finished appends held.
    fn settle(&self, appends: usize, bytes: usize) {
        self.queued_appends.fetch_sub(appends, Ordering::Relaxed);
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Runs what waits on a log: one group of appends, or one other item.
    fn drain(&self, log: &Arc<Log>) {
        let wait = self.config.commit_wait_us;
        if wait > 0 {
            self.closing.pause(Duration::from_micros(wait));
        }
        let mut writer = lock(&log.writer);
        match gather(log) {
            Work::Nothing => {}
            Work::Appends(appends) => {
                let count = appends.len();
                let bytes = appends.iter().map(|append| append.body().len()).sum();
                let committed = writer.commit(&self.wal, log, appends);
                self.settle(count, bytes);
                self.completions.push_all(committed.completions);
                if let Some(error) = committed.fail_behind {
                    writer.refuse_behind();
                    self.refuse_queued(log, &error);
                }
            }
            Work::Other(item) => jobs::log::run_item(self, log, &mut writer, item),
        }
        drop(writer);
        let mut queue = lock(&log.queue);
        if queue.items.is_empty() {
            queue.scheduled = false;
        } else {
            drop(queue);
            self.ready.put(Arc::clone(log));
        }
    }

    /// Fails every append queued on the log; other items stay in line.
    fn refuse_queued(&self, log: &Log, error: &WalError) {
        let mut refusals: Vec<Completion> = Vec::new();
        let mut bytes = 0;
        lock(&log.queue).items.retain(|item| match item {
            Item::Append(append) => {
                bytes += append.body().len();
                refusals.push(refused(append, error));
                false
            }
            _ => true,
        });
        self.settle(refusals.len(), bytes);
        self.completions.push_all(refusals);
    }
}

enum Work {
    Nothing,
    Appends(Vec<Append>),
    Other(Item),
}

fn gather(log: &Log) -> Work {
    let mut queue = lock(&log.queue);
    let mut appends = Vec::new();
    let mut bytes = 0;
    while bytes < GROUP_BYTES_MAX && appends.len() < GROUP_APPENDS_MAX {
        match queue.items.pop_front() {
            Some(Item::Append(append)) => {
                bytes += append.body().len();
                appends.push(append);
            }
            Some(other) if appends.is_empty() => return Work::Other(other),
            Some(other) => {
                queue.items.push_front(other);
                break;
            }
            None => break,
        }
    }
    if appends.is_empty() {
        Work::Nothing
    } else {
        Work::Appends(appends)
    }
}

fn start_threads(core: &Arc<Core>) -> std::io::Result<Threads> {
    let mut threads = Threads::default();
    for index in 0..core.config.committer_threads {
        let core = Arc::clone(core);
        threads
            .committers
            .push(spawn(format!("wal-commit-{index}"), move || {
                commit_loop(&core)
            })?);
    }
    for index in 0..core.config.worker_threads {
        let core = Arc::clone(core);
        threads
            .workers
            .push(spawn(format!("wal-read-{index}"), move || {
                work_loop(&core, &core.light);
            })?);
    }
    for index in 0..core.config.cold_threads {
        let core = Arc::clone(core);
        threads
            .workers
            .push(spawn(format!("wal-cold-{index}"), move || {
                lower_priority(COLD_NICE);
                work_loop(&core, &core.cold);
            })?);
    }
    for index in 0..core.config.heavy_threads {
        let core = Arc::clone(core);
        threads
            .workers
            .push(spawn(format!("wal-heavy-{index}"), move || {
                lower_priority(HEAVY_NICE);
                work_loop(&core, &core.heavy);
            })?);
    }
    if core.config.watchdog_seconds > 0 {
        let core = Arc::clone(core);
        threads.watchdog = Some(spawn("watchdog".into(), move || {
            crate::watchdog::run(&core)
        })?);
    }
    Ok(threads)
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name)
        .stack_size(THREAD_STACK_BYTES)
        .spawn(run)
}

fn commit_loop(core: &Arc<Core>) {
    while let Some(log) = core.ready.take() {
        if catch_unwind(AssertUnwindSafe(|| core.drain(&log))).is_err() {
            core.wal.poison.poison("a commit thread panicked");
        }
    }
}

fn work_loop(core: &Arc<Core>, queue: &WorkQueue<Task>) {
    while let Some(task) = queue.take() {
        // Tasks catch their own panics in order to answer; this is the second net.
        if catch_unwind(AssertUnwindSafe(|| task(core))).is_err() {
            core.note("a job thread panicked");
        }
        core.queued_jobs.fetch_sub(1, Ordering::Relaxed);
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        eprintln!("chronik: an engine thread panicked");
    }
}

/// On Linux the nice value belongs to the thread.
fn lower_priority(nice: i32) {
    let own = rustix::thread::gettid();
    if let Err(error) = rustix::process::setpriority_process(Some(own), nice) {
        eprintln!("chronik: a thread keeps its normal priority: {error}");
    }
}

fn lock_data_dir(data_dir: &Path) -> Result<File, OpenError> {
    use rustix::fs::{FlockOperation, flock};
    let path = data_dir.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| OpenError::io("open", &path, &error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let text = format!("{} is used by another process", data_dir.display());
            Err(OpenError {
                status: Status::Locked,
                text,
            })
        }
        Err(error) => Err(OpenError::io("lock", &path, &error.into())),
    }
}

fn empty_dir(disk: &dyn Disk, dir: &Path) -> std::io::Result<()> {
    if !disk.is_dir(dir) {
        return create_dirs(disk, dir);
    }
    for entry in disk.read_dir(dir)? {
        let path = dir.join(&entry.name);
        if entry.is_dir {
            disk.remove_dir_all(&path)?
        } else {
            disk.remove_file(&path)?
        }
    }
    Ok(())
}

/// Thousands of partitions need more files than the usual soft limit of 1,024. Returns the limit
/// there is: sockets and jobs need their share of it too.
fn raise_file_limit() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum && setrlimit(Resource::Nofile, raised).is_err() {
        eprintln!(
            "chronik: the soft limit of open files stays at {:?}",
            limit.current
        );
    }
    let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(now).unwrap_or(usize::MAX)
}
