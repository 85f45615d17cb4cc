//! Decoding submitted commands and handing them to the threads that run them.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::abi::Lent;
use crate::bytes::{i32_le, i64_le, lock, u16_le, u32_le, u64_le};
use crate::completion::Completion;
use crate::engine::{Core, Task};
use crate::jobs::{self, Job, JobError, Room};
use crate::status::Status;
use crate::wal::log::{Append, Item, Log};
use crate::wal::read::read;

/// Bytes of a command's header.
pub const COMMAND_BYTES: usize = 24;
/// Bytes before the batch in an append, and of a whole read.
pub const OPERAND_BYTES: usize = 24;

const OP_APPEND: u16 = 1;
const OP_READ: u16 = 2;
const OP_JOB: u16 = 3;

/// One command of a block; `start..end` is its payload.
struct Command {
    op: u16,
    token: u64,
    log: u32,
    start: usize,
    end: usize,
}

impl Core {
    /// Takes all commands of the block or none. `lent` are the raw bytes of the one job in it.
    pub fn submit(self: &Arc<Self>, block: &[u8], lent: Option<Lent>) -> Status {
        self.signs_of_life.fetch_add(1, Ordering::Relaxed);
        if self.closing.is_said() {
            return Status::Closed;
        }
        if self.wal.poison.check().is_err() {
            return Status::Poisoned;
        }
        let commands = match decode(block) {
            Ok(commands) => commands,
            Err(text) => {
                self.note(&text);
                return Status::InvalidArgument;
            }
        };
        if lent.is_some() && !matches!(commands.as_slice(), [Command { op: OP_JOB, .. }]) {
            self.note("bytes can be lent to a single job only");
            return Status::InvalidArgument;
        }
        let lent_bytes = lent.as_ref().map_or(0, |lent| lent.bytes().len());
        if !self.admit(&commands, lent_bytes) {
            return Status::Busy;
        }
        let mut lent = lent;
        let block: Arc<[u8]> = Arc::from(block);
        let mut touched: HashMap<u32, Arc<Log>> = HashMap::new();
        for command in commands {
            match command.op {
                OP_APPEND => self.submit_append(&command, &block, &mut touched),
                OP_READ => self.submit_read(&command, &block),
                _ => self.submit_job(&command, &block, lent.take()),
            }
        }
        // Last, so that a committer finds the whole group.
        for log in touched.into_values() {
            self.schedule(&log);
        }
        Status::Ok
    }

    /// Counts the commands in unless a bound would be passed. One thread submits, so nothing
    /// grows between the check and the count. An empty queue takes anything once.
    fn admit(&self, commands: &[Command], lent_bytes: usize) -> bool {
        let appends = commands
            .iter()
            .filter(|command| command.op == OP_APPEND)
            .count();
        let jobs = commands.len() - appends;
        let copied: usize = commands.iter().map(Command::counted_bytes).sum();
        let bytes = copied.saturating_add(lent_bytes);
        let fits = |now: usize, more: usize, max: usize| more == 0 || now == 0 || now + more <= max;
        let (queued_bytes, queued_appends, queued_jobs) = (
            self.queued_bytes.load(Ordering::Relaxed),
            self.queued_appends.load(Ordering::Relaxed),
            self.queued_jobs.load(Ordering::Relaxed),
        );
        let config = &self.config;
        if !fits(queued_bytes, bytes, config.queue_bytes_max)
            || !fits(queued_appends, appends, config.queue_appends_max)
            || !fits(queued_jobs, jobs, config.queue_jobs_max)
        {
            return false;
        }
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.queued_appends.fetch_add(appends, Ordering::Relaxed);
        self.queued_jobs.fetch_add(jobs, Ordering::Relaxed);
        true
    }

    fn submit_append(
        &self,
        command: &Command,
        block: &Arc<[u8]>,
        touched: &mut HashMap<u32, Arc<Log>>,
    ) {
        let log = touched
            .get(&command.log)
            .cloned()
            .or_else(|| self.log(command.log));
        let append = append_of(command, block);
        if let (Some(log), Some(append)) = (log, append) {
            let mut queue = lock(&log.queue);
            if !queue.closing {
                queue.items.push_back(Item::Append(append));
                drop(queue);
                touched.insert(command.log, log);
                return;
            }
        }
        self.queued_appends.fetch_sub(1, Ordering::Relaxed);
        self.queued_bytes
            .fetch_sub(command.counted_bytes(), Ordering::Relaxed);
        self.answer(Completion::plain(command.token, Status::Closed, 0, 0));
    }

    /// Answers from the loop's own thread. The queue may be full and only this thread empties it,
    /// so the push is left to a worker.
    fn answer(&self, completion: Completion) {
        self.queued_jobs.fetch_add(1, Ordering::Relaxed);
        self.light.put(Box::new(move |core| {
            core.completions.push_all([completion])
        }));
    }

    fn submit_read(&self, command: &Command, block: &[u8]) {
        let (token, handle) = (command.token, command.log);
        let range = block.get(command.start..command.end).and_then(|payload| {
            Some((
                i64_le(payload, 0)?,
                i64_le(payload, 8)?,
                u32_le(payload, 16)?,
            ))
        });
        let (from, limit, bytes_max) = range.unwrap_or((0, 0, 0));
        let log = self.log(handle);
        self.light.put(Box::new(move |core| {
            let outcome = catch_unwind(AssertUnwindSafe(|| match &log {
                Some(log) => read(&core.wal, log, from, limit, bytes_max).map_err(JobError::from),
                None => Err(JobError::new(Status::Closed, "no such log".into())),
            }));
            match outcome.unwrap_or_else(|_| Err(JobError::panicked("read"))) {
                Ok(result) => {
                    let next = u64::try_from(result.next_offset).unwrap_or(0);
                    let done = Completion::plain(token, Status::Ok, next, result.batches);
                    core.completions.push_result(done, result.bytes);
                }
                Err(error) => jobs::fail(core, token, &error),
            }
        }));
    }

    fn submit_job(self: &Arc<Self>, command: &Command, block: &Arc<[u8]>, lent: Option<Lent>) {
        let token = command.token;
        let lent_bytes = lent.as_ref().map_or(0, |lent| lent.bytes().len());
        let bytes = command.counted_bytes().saturating_add(lent_bytes);
        let (block, start, end) = (Arc::clone(block), command.start, command.end);
        let parsed = jobs::parse(block.get(start..end).unwrap_or_default(), command.log);
        let (job, raw_at) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                self.light.put(Box::new(move |core| {
                    core.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                    jobs::fail(core, token, &error);
                }));
                return;
            }
        };
        if let Some(item) = ordered(&job, token) {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return self.submit_item(&job, token, item);
        }
        let queue = match job.room() {
            Room::Light => &self.light,
            Room::Cold => &self.cold,
            Room::Heavy => &self.heavy,
        };
        let task: Task = Box::new(move |core| {
            let raw = match &lent {
                Some(lent) => lent.bytes(),
                None => block.get(start + raw_at..end).unwrap_or_default(),
            };
            jobs::run(core, token, job, raw);
            core.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        });
        queue.put(task);
    }

    /// Jobs that run in submit order with the log's appends.
    fn submit_item(&self, job: &Job, token: u64, item: Item) {
        if let Some(log) = job.log().and_then(|handle| self.log(handle)) {
            let mut queue = lock(&log.queue);
            if !queue.closing {
                self.queued_jobs.fetch_sub(1, Ordering::Relaxed);
                queue.closing = matches!(item, Item::Close { .. });
                queue.items.push_back(item);
                drop(queue);
                self.schedule(&log);
                return;
            }
        }
        let error = JobError::new(Status::Closed, "no such log".into());
        self.light
            .put(Box::new(move |core| jobs::fail(core, token, &error)));
    }

    /// Hands the log to the committers unless they have it.
    fn schedule(&self, log: &Arc<Log>) {
        let mut queue = lock(&log.queue);
        if queue.scheduled || queue.items.is_empty() {
            return;
        }
        queue.scheduled = true;
        drop(queue);
        self.ready.put(Arc::clone(log));
    }
}

fn ordered(job: &Job, token: u64) -> Option<Item> {
    match job {
        Job::Seal { .. } => Some(Item::Seal { token }),
        Job::Truncate { to_offset, .. } => Some(Item::Truncate {
            token,
            to_offset: *to_offset,
        }),
        Job::CloseLog { .. } => Some(Item::Close { token }),
        _ => None,
    }
}

impl Command {
    /// Bytes that count against `queue_bytes_max`: a read holds none.
    fn counted_bytes(&self) -> usize {
        match self.op {
            OP_APPEND => self.end - self.start - OPERAND_BYTES,
            OP_JOB => self.end - self.start,
            _ => 0,
        }
    }
}

fn append_of(command: &Command, block: &Arc<[u8]>) -> Option<Append> {
    let payload = block.get(command.start..command.end)?;
    Some(Append {
        token: command.token,
        base_offset: i64_le(payload, 0)?,
        last_offset: i64_le(payload, 8)?,
        record_count: u32_le(payload, 16)?,
        leader_epoch: i32_le(payload, 20)?,
        block: Arc::clone(block),
        start: command.start + OPERAND_BYTES,
        end: command.end,
    })
}

fn decode(block: &[u8]) -> Result<Vec<Command>, String> {
    let mut commands = Vec::new();
    let mut at = 0;
    while at < block.len() {
        let (command, next) = decode_one(block, at)
            .ok_or_else(|| format!("malformed command at byte {at} of {}", block.len()))?;
        commands.push(command);
        at = next;
    }
    Ok(commands)
}

fn decode_one(block: &[u8], at: usize) -> Option<(Command, usize)> {
    let header = block.get(at..at.checked_add(COMMAND_BYTES)?)?;
    let length = u32_le(header, 0)? as usize;
    let (op, flags) = (u16_le(header, 4)?, u16_le(header, 6)?);
    let payload = u32_le(header, 20)? as usize;
    let start = at + COMMAND_BYTES;
    let (end, next) = (start.checked_add(payload)?, at.checked_add(length)?);
    let padded = COMMAND_BYTES.checked_add(payload)?.next_multiple_of(8);
    let payload_fits = match op {
        OP_APPEND => payload > OPERAND_BYTES,
        OP_READ => payload == OPERAND_BYTES,
        OP_JOB => payload >= 4,
        _ => false,
    };
    let whole = length == padded && next <= block.len() && flags == 0 && payload_fits;
    let (token, log) = (u64_le(header, 8)?, u32_le(header, 16)?);
    whole.then_some((
        Command {
            op,
            token,
            log,
            start,
            end,
        },
        next,
    ))
}
