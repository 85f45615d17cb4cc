//! Reading whole batches by offset or by time; only durable bytes, each frame verified.

use std::path::Path;

use super::batch::{BATCH_HEADER_BYTES, BatchHeader};
use super::error::WalError;
use super::frame::FRAME_BYTES_READ_MAX;
use super::log::{Kind, Log, Lookup, Wal};
use super::scan::{Frame, Scanner, Step};
use super::segment::{Pinned, Segment};
use crate::bytes::read as share;

/// Batches back to back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReadResult {
    pub bytes: Vec<u8>,
    /// Last offset returned + 1.
    pub next_offset: i64,
    pub batches: u64,
}

/// What a visitor of [`walk`] wants next.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    More,
    Stop,
}

enum SegmentEnd {
    /// All frames were seen; go on at this offset.
    Next(i64),
    Stopped,
    /// The segment left the log meanwhile: look again from this offset.
    Retry(i64),
}

/// Replaced segments a reader follows before it gives up.
const RETRIES_MAX: u32 = 16;

/// Visits the log's data frames from the one that holds `from` on, up to `limit` (exclusive).
pub fn walk(
    wal: &Wal,
    log: &Log,
    from: i64,
    limit: i64,
    chunk_bytes: usize,
    visit: &mut dyn FnMut(&Frame<'_>) -> Visit,
) -> Result<(), WalError> {
    let mut next = from;
    let mut seen = false;
    let mut retries = 0;
    while next < limit {
        let segment = match log.lookup(next) {
            Lookup::Segment(segment) => segment,
            Lookup::End => return Ok(()),
            // Released while we were reading: what we have is whole.
            Lookup::Below(_) if seen => return Ok(()),
            Lookup::Below(start) => {
                return Err(WalError::OutOfRange(format!(
                    "offset {next}, log starts at {start}"
                )));
            }
            Lookup::Hole if seen => return Ok(()),
            Lookup::Hole => return Err(hole(log, next)),
        };
        let Some(pinned) = wal.files.pin(&segment)? else {
            retries += 1;
            if retries > RETRIES_MAX {
                return Err(WalError::Invalid("the segment keeps changing".into()));
            }
            continue;
        };
        let mut counted = |frame: &Frame<'_>| {
            let wanted = visit(frame);
            seen |= wanted == Visit::More;
            wanted
        };
        let range = Range {
            from: next,
            limit,
            chunk_bytes,
        };
        match walk_segment(&segment, &pinned, &range, &mut counted) {
            Ok(SegmentEnd::Next(offset)) => next = offset,
            Ok(SegmentEnd::Stopped) => return Ok(()),
            Ok(SegmentEnd::Retry(offset)) if retries < RETRIES_MAX => {
                retries += 1;
                next = offset;
            }
            Ok(SegmentEnd::Retry(_)) => {
                return Err(WalError::Invalid("the segment keeps changing".into()));
            }
            // What was read before the damage is whole; the next read starts at the damage.
            Err(WalError::Corrupt { .. }) if seen => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

struct Range {
    from: i64,
    limit: i64,
    chunk_bytes: usize,
}

fn walk_segment(
    segment: &Segment,
    pinned: &Pinned,
    range: &Range,
    visit: &mut dyn FnMut(&Frame<'_>) -> Visit,
) -> Result<SegmentEnd, WalError> {
    let (file, meta) = (pinned.file.as_ref(), &pinned.meta);
    let start = pinned.index.position_of(range.from);
    let mut scanner = Scanner::new(
        file,
        segment.identity,
        start,
        meta.bytes,
        FRAME_BYTES_READ_MAX,
    )
    .with_chunk(range.chunk_bytes);
    let mut next = range.from;
    loop {
        let position = scanner.position();
        let step = scanner
            .step()
            .map_err(|error| WalError::io("read", &segment.path, error))?;
        let reason = match step {
            Step::End => break,
            Step::Frame(frame) if !frame.header.is_data() || frame.header.last_offset < next => {
                continue;
            }
            Step::Frame(frame) if frame.header.last_offset >= range.limit => {
                return Ok(SegmentEnd::Stopped);
            }
            Step::Frame(frame) if meta.cleaned || frame.header.base_offset <= next => {
                if visit(&frame) == Visit::Stop {
                    return Ok(SegmentEnd::Stopped);
                }
                next = frame.header.last_offset + 1;
                continue;
            }
            Step::Frame(frame) => {
                format!("offset {next} missing before {}", frame.header.base_offset)
            }
            Step::Bad(bad) => bad.to_string(),
        };
        if share(&segment.state).obsolete {
            return Ok(SegmentEnd::Retry(next));
        }
        return Err(corrupt(&segment.path, position, reason));
    }
    if next <= meta.last && !meta.cleaned {
        let reason = format!("offsets {next} to {} missing", meta.last);
        return Err(corrupt(&segment.path, meta.bytes, reason));
    }
    Ok(SegmentEnd::Next(meta.last + 1))
}

fn corrupt(path: &Path, position: u64, reason: String) -> WalError {
    WalError::Corrupt {
        file: path.to_owned(),
        position,
        reason,
    }
}

fn hole(log: &Log, offset: i64) -> WalError {
    let view = share(&log.view);
    let cause = view
        .damaged
        .as_ref()
        .map_or_else(|| "no segment holds it".into(), |damage| damage.to_string());
    WalError::Damaged(format!("offset {offset}: {cause}"))
}

/// Batches from the one that holds `from` on, while their last offset < `limit` and their sum of
/// bytes <= `bytes_max`; the first even if larger.
pub fn read(
    wal: &Wal,
    log: &Log,
    from: i64,
    limit: i64,
    bytes_max: u32,
) -> Result<ReadResult, WalError> {
    let mut result = ReadResult {
        next_offset: from,
        ..ReadResult::default()
    };
    let bytes_max = bytes_max as usize;
    let chunk_bytes = bytes_max.saturating_add(12 << 10);
    walk(wal, log, from, limit, chunk_bytes, &mut |frame| {
        if result.batches > 0 && result.bytes.len() + frame.body.len() > bytes_max {
            return Visit::Stop;
        }
        result.bytes.extend_from_slice(frame.body);
        result.batches += 1;
        result.next_offset = frame.header.last_offset + 1;
        if result.bytes.len() >= bytes_max {
            Visit::Stop
        } else {
            Visit::More
        }
    })?;
    Ok(result)
}

/// The 61-byte headers of up to `batches_max` batches.
pub fn read_headers(
    wal: &Wal,
    log: &Log,
    from: i64,
    limit: i64,
    batches_max: u64,
) -> Result<ReadResult, WalError> {
    if log.spec.kind != Kind::Batches {
        return Err(WalError::Invalid("a journal has no batch headers".into()));
    }
    let mut result = ReadResult {
        next_offset: from,
        ..ReadResult::default()
    };
    walk(wal, log, from, limit, 1 << 20, &mut |frame| {
        if result.batches >= batches_max {
            return Visit::Stop;
        }
        result
            .bytes
            .extend_from_slice(frame.body.get(..BATCH_HEADER_BYTES).unwrap_or_default());
        result.batches += 1;
        result.next_offset = frame.header.last_offset + 1;
        Visit::More
    })?;
    Ok(result)
}

/// A batch found by time.
#[derive(Debug, PartialEq, Eq)]
pub struct TimeHit {
    pub batch: Vec<u8>,
    pub leader_epoch: i32,
    pub max_timestamp: i64,
    pub last_offset: i64,
}

/// The first batch whose largest timestamp is >= `target`, or, with target -1, the first of those
/// with the largest timestamp. The record inside is found by the caller.
pub fn find_batch_by_time(
    wal: &Wal,
    log: &Log,
    from: i64,
    limit: i64,
    target: i64,
) -> Result<Option<TimeHit>, WalError> {
    if log.spec.kind != Kind::Batches {
        return Err(WalError::Invalid("a journal has no timestamps".into()));
    }
    let mut hit: Option<TimeHit> = None;
    let mut next = from;
    for meta in log.segments() {
        let best = hit.as_ref().map_or(-1, |hit| hit.max_timestamp);
        let floor = if target < 0 { best + 1 } else { target };
        if meta.last < next || meta.max_timestamp < floor {
            continue;
        }
        let start = skip_by_index(wal, log, meta.base.max(next), floor)?;
        let end = limit.min(meta.last + 1);
        walk(wal, log, start, end, 64 << 10, &mut |frame| {
            let found = BatchHeader::parse(frame.body).map_or(-1, |header| header.max_timestamp);
            let best = hit.as_ref().map_or(-1, |hit| hit.max_timestamp);
            if found < target || found <= best {
                return Visit::More;
            }
            let (batch, leader_epoch) = (frame.body.to_vec(), frame.header.leader_epoch);
            hit = Some(TimeHit {
                last_offset: frame.header.last_offset,
                batch,
                leader_epoch,
                max_timestamp: found,
            });
            if target < 0 { Visit::More } else { Visit::Stop }
        })?;
        if hit.is_some() && target >= 0 {
            break;
        }
        next = end;
    }
    Ok(hit)
}

/// The offset, at or after `from`, of the first stretch that may hold a timestamp >= `floor`.
fn skip_by_index(wal: &Wal, log: &Log, from: i64, floor: i64) -> Result<i64, WalError> {
    let Lookup::Segment(segment) = log.lookup(from) else {
        return Ok(from);
    };
    let Some(pinned) = wal.files.pin(&segment)? else {
        return Ok(from);
    };
    let entries = pinned.index.entries();
    let first = entries
        .partition_point(|entry| entry.offset <= from)
        .saturating_sub(1);
    let stretch = entries
        .iter()
        .skip(first)
        .find(|entry| entry.max_timestamp >= floor);
    Ok(stretch.map_or(from, |entry| entry.offset.max(from)))
}
