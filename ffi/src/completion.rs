//! The bounded completion queue, the results that wait to be fetched, and the doorbell.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::bytes::lock;
use crate::status::Status;

/// Bytes of one completion on the boundary.
pub const COMPLETION_BYTES: usize = 40;
/// Completion flag: a result waits for `chronik_read`.
pub const FLAG_RESULT: u32 = 1;

/// What the engine says about one finished command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    pub token: u64,
    pub status: Status,
    pub value0: u64,
    pub value1: u64,
    pub result_len: u64,
}

impl Completion {
    /// A completion without a result.
    pub fn plain(token: u64, status: Status, value0: u64, value1: u64) -> Self {
        Completion {
            token,
            status,
            value0,
            value1,
            result_len: 0,
        }
    }

    fn encode(&self, out: &mut [u8]) {
        let flags = if self.result_len > 0 { FLAG_RESULT } else { 0 };
        let mut bytes = Vec::with_capacity(COMPLETION_BYTES);
        bytes.extend_from_slice(&self.token.to_le_bytes());
        bytes.extend_from_slice(&self.status.code().to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&self.value0.to_le_bytes());
        bytes.extend_from_slice(&self.value1.to_le_bytes());
        bytes.extend_from_slice(&self.result_len.to_le_bytes());
        out.copy_from_slice(&bytes);
    }
}

struct Queue {
    waiting: VecDeque<Completion>,
    closing: bool,
}

#[derive(Default)]
struct Results {
    waiting: HashMap<u64, Vec<u8>>,
    bytes: usize,
    closing: bool,
}

impl Results {
    fn remove(&mut self, token: u64) {
        if let Some(result) = self.waiting.remove(&token) {
            self.bytes -= result.len();
        }
    }
}

/// Shared by all threads that finish work and the loop that reaps.
pub struct Completions {
    queue: Mutex<Queue>,
    room: Condvar,
    capacity: usize,
    results: Mutex<Results>,
    fetched: Condvar,
    results_bytes_max: usize,
    rung: AtomicBool,
    bell: UnixStream,
}

impl Completions {
    /// The queue, and the file descriptor whose readability means "reap".
    pub fn new(capacity: usize, results_bytes_max: usize) -> io::Result<(Self, RawFd)> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        let queue = Queue {
            waiting: VecDeque::new(),
            closing: false,
        };
        let completions = Completions {
            queue: Mutex::new(queue),
            room: Condvar::new(),
            capacity: capacity.max(1),
            results: Mutex::default(),
            fetched: Condvar::new(),
            results_bytes_max,
            rung: AtomicBool::new(false),
            bell,
        };
        Ok((completions, ear.into_raw_fd()))
    }

    /// Queues completions in order; blocks the calling thread while the queue is full.
    pub fn push_all(&self, completions: impl IntoIterator<Item = Completion>) {
        let mut queue = lock(&self.queue);
        for completion in completions {
            while queue.waiting.len() >= self.capacity && !queue.closing {
                self.ring();
                queue = self
                    .room
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            // While closing nobody reaps any more: the queue must not hold a thread back.
            if !queue.closing {
                queue.waiting.push_back(completion);
            }
        }
        drop(queue);
        self.ring();
    }

    /// Queues one completion together with its result bytes; blocks the calling thread while the
    /// results that wait leave no room. One result always fits.
    pub fn push_result(&self, mut completion: Completion, mut result: Vec<u8>) {
        // It may be handed over as it is, and counts by its length.
        result.shrink_to(result.len() + result.len() / 4);
        completion.result_len = result.len() as u64;
        if !result.is_empty() {
            let mut results = lock(&self.results);
            while results.bytes > 0
                && results.bytes.saturating_add(result.len()) > self.results_bytes_max
                && !results.closing
            {
                self.ring();
                results = self
                    .fetched
                    .wait(results)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if !results.closing {
                results.bytes += result.len();
                results.waiting.insert(completion.token, result);
            }
        }
        self.push_all([completion]);
    }

    /// Moves as many completions as fit into `out`; returns the bytes written.
    pub fn reap(&self, out: &mut [u8]) -> usize {
        // Before looking: whoever pushes after the look rings again.
        self.rung.store(false, Ordering::SeqCst);
        let mut used = 0;
        let mut queue = lock(&self.queue);
        for slot in out.chunks_exact_mut(COMPLETION_BYTES) {
            let Some(completion) = queue.waiting.pop_front() else {
                break;
            };
            completion.encode(slot);
            used += COMPLETION_BYTES;
        }
        drop(queue);
        if used > 0 {
            self.room.notify_all();
        }
        used
    }

    /// Copies result bytes from `offset`; the result is dropped with its last byte, or when `out`
    /// is empty. None: no result waits under this token.
    pub fn read(&self, token: u64, offset: u64, out: &mut [u8]) -> Result<usize, Status> {
        let mut results = lock(&self.results);
        let Some(result) = results.waiting.get(&token) else {
            return Err(Status::NotFound);
        };
        if out.is_empty() {
            results.remove(token);
            self.fetched.notify_all();
            return Ok(0);
        }
        let from = usize::try_from(offset).map_err(|_| Status::OutOfRange)?;
        let rest = result.get(from..).ok_or(Status::OutOfRange)?;
        let count = rest.len().min(out.len());
        let (Some(source), Some(target)) = (rest.get(..count), out.get_mut(..count)) else {
            return Err(Status::Internal);
        };
        target.copy_from_slice(source);
        if count == rest.len() {
            results.remove(token);
            self.fetched.notify_all();
        }
        Ok(count)
    }

    /// The result itself, whole; None: no result waits under this token.
    pub fn take(&self, token: u64) -> Option<Vec<u8>> {
        let mut results = lock(&self.results);
        let result = results.waiting.remove(&token)?;
        results.bytes -= result.len();
        drop(results);
        self.fetched.notify_all();
        Some(result)
    }

    /// From now on pushes drop instead of wait.
    pub fn close(&self) {
        lock(&self.queue).closing = true;
        self.room.notify_all();
        lock(&self.results).closing = true;
        self.fetched.notify_all();
    }

    /// Completions waiting and results held, for the watchdog's report.
    pub fn depth(&self) -> (usize, usize) {
        (
            lock(&self.queue).waiting.len(),
            lock(&self.results).waiting.len(),
        )
    }

    fn ring(&self) {
        if self.rung.swap(true, Ordering::SeqCst) {
            return;
        }
        // A full socket already says "reap"; a closed one means nobody listens any more.
        let _ = (&self.bell).write(&[1]);
    }
}
