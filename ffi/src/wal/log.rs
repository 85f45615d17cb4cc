//! One log: its segments as readers see them, its queue and its writer.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use serde::Serialize;

use super::error::WalError;
use super::frame::Identity;
use super::group_commit::Writer;
use super::segment::{Files, Segment, SegmentMeta, SegmentState};
use crate::bytes::{lock, read, write};

/// What the bodies of a log's frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Kafka record batches, whose header is checked against the append.
    Batches,
    /// Opaque entries of the broker's own journals.
    Journal,
}

/// Which log this is and where it lives.
#[derive(Clone, Debug)]
pub struct LogSpec {
    pub dir: PathBuf,
    pub prefix: String,
    pub log_id: [u8; 16],
    pub partition: i32,
    pub kind: Kind,
    pub segment_bytes_max: u64,
}

impl LogSpec {
    /// The identity that frames of one of its segments carry.
    pub fn identity(&self, segment_id: u64) -> Identity {
        Identity {
            log_id: self.log_id,
            partition: self.partition,
            segment_id,
        }
    }
}

/// Where and why acknowledged bytes are damaged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    pub file: String,
    pub position: u64,
    pub reason: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} at {}: {}", self.file, self.position, self.reason)
    }
}

/// Called once with the exit code and the line for stderr; in production it never returns.
pub type ExitHook = Box<dyn Fn(i32, &str) + Send + Sync>;

/// The state "this process may not acknowledge anything any more" (design D3).
pub struct Poison {
    set: AtomicBool,
    text: Mutex<String>,
    exit: ExitHook,
}

/// The documented exit code after a failed fsync or an unexpected write error.
pub const EXIT_POISONED: i32 = 9;

impl Poison {
    pub fn new(exit: ExitHook) -> Self {
        Poison {
            set: AtomicBool::new(false),
            text: Mutex::new(String::new()),
            exit,
        }
    }

    /// Poisons the engine; with the production hook the process ends here.
    pub fn poison(&self, text: &str) -> WalError {
        if !self.set.swap(true, Ordering::SeqCst) {
            text.clone_into(&mut lock(&self.text));
            (self.exit)(EXIT_POISONED, text);
        }
        WalError::Poisoned(text.to_owned())
    }

    /// Ends the process for another documented reason.
    pub fn exit(&self, code: i32, text: &str) {
        (self.exit)(code, text);
    }

    /// Err once poisoned.
    pub fn check(&self) -> Result<(), WalError> {
        if self.set.load(Ordering::SeqCst) {
            return Err(WalError::Poisoned(lock(&self.text).clone()));
        }
        Ok(())
    }
}

/// What all logs of an engine share.
pub struct Wal {
    pub files: Files,
    pub poison: Poison,
    /// Header and body of the largest frame.
    pub frame_bytes_max: u64,
    pub fsyncs: AtomicU64,
    pub groups: AtomicU64,
    keys: AtomicU64,
}

impl Wal {
    pub fn new(files: Files, poison: Poison, frame_bytes_max: u64) -> Self {
        let (fsyncs, groups, keys) = Default::default();
        Wal {
            files,
            poison,
            frame_bytes_max,
            fsyncs,
            groups,
            keys,
        }
    }

    /// A segment object with a cache key of its own.
    pub fn segment(
        &self,
        spec: &LogSpec,
        meta: SegmentMeta,
        index: Option<Arc<super::index::SparseIndex>>,
    ) -> Arc<Segment> {
        Arc::new(Segment {
            id: meta.id,
            base: meta.base,
            path: super::segment::segment_path(&spec.dir, &spec.prefix, meta.id),
            identity: spec.identity(meta.id),
            key: self.keys.fetch_add(1, Ordering::Relaxed),
            state: RwLock::new(SegmentState {
                meta,
                index,
                obsolete: false,
            }),
        })
    }
}

/// What readers see.
pub struct View {
    /// Ascending in id and offset.
    pub segments: VecDeque<Arc<Segment>>,
    pub log_start: i64,
    /// Durable end: last offset + 1.
    pub log_end: i64,
    pub damaged: Option<Damage>,
}

/// Where an offset is.
pub enum Lookup {
    Segment(Arc<Segment>),
    /// At or past the durable end.
    End,
    /// Below the first segment.
    Below(i64),
    /// Between segments: acknowledged records are missing.
    Hole,
}

/// One append that waits for its group.
pub struct Append {
    pub token: u64,
    pub base_offset: i64,
    pub last_offset: i64,
    pub record_count: u32,
    pub leader_epoch: i32,
    /// The submitted block and where the batch lies in it.
    pub block: Arc<[u8]>,
    pub start: usize,
    pub end: usize,
}

impl Append {
    /// The batch.
    pub fn body(&self) -> &[u8] {
        self.block.get(self.start..self.end).unwrap_or_default()
    }
}

/// What runs in submit order on a log.
pub enum Item {
    Append(Append),
    Seal { token: u64 },
    Truncate { token: u64, to_offset: i64 },
    Close { token: u64 },
}

/// Items in submit order; drained by one thread at a time.
#[derive(Default)]
pub struct LogQueue {
    pub items: VecDeque<Item>,
    /// True from the moment the log is handed to the committers until they find it empty.
    pub scheduled: bool,
    /// No further items are taken.
    pub closing: bool,
}

/// An open log.
pub struct Log {
    pub handle: u32,
    pub spec: LogSpec,
    /// Size at which the active segment is closed; at first the spec's.
    pub segment_bytes_max: AtomicU64,
    pub view: RwLock<View>,
    pub queue: Mutex<LogQueue>,
    pub writer: Mutex<Writer>,
    /// Held by jobs that remove or replace sealed segments.
    pub maintenance: Mutex<()>,
}

impl Log {
    /// Where `offset` is now.
    pub fn lookup(&self, offset: i64) -> Lookup {
        let view = read(&self.view);
        if offset < view.log_start {
            return Lookup::Below(view.log_start);
        }
        if offset >= view.log_end {
            return Lookup::End;
        }
        let after = view
            .segments
            .partition_point(|segment| segment.base <= offset);
        let found = after
            .checked_sub(1)
            .and_then(|index| view.segments.get(index));
        match found {
            Some(segment) if segment.meta().last >= offset => Lookup::Segment(Arc::clone(segment)),
            _ => Lookup::Hole,
        }
    }

    /// Metadata of all segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentMeta> {
        read(&self.view)
            .segments
            .iter()
            .map(|segment| segment.meta())
            .collect()
    }

    /// Start and durable end of the log.
    pub fn bounds(&self) -> (i64, i64) {
        let view = read(&self.view);
        (view.log_start, view.log_end)
    }

    /// Unlinks the sealed segments with these ids. They must be the oldest ones, so that a crash
    /// in between never leaves a hole; ids already gone are skipped. Returns the bytes freed.
    pub fn release(&self, wal: &Wal, ids: &[u64]) -> Result<u64, WalError> {
        let _alone = lock(&self.maintenance);
        let mut wanted = ids.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let mut freed = 0;
        for id in wanted {
            wal.poison.check()?;
            let first = read(&self.view).segments.front().cloned();
            let Some(segment) = first.filter(|segment| segment.id <= id) else {
                continue;
            };
            let meta = segment.meta();
            if segment.id != id || !meta.sealed {
                let text = format!("segment {id} is not the oldest sealed one ({})", segment.id);
                return Err(WalError::Invalid(text));
            }
            self.unlink(wal, &segment)?;
            freed += meta.bytes;
        }
        Ok(freed)
    }

    /// Removes one segment from disk and view, durably.
    pub(super) fn unlink(&self, wal: &Wal, segment: &Arc<Segment>) -> Result<(), WalError> {
        fp!("release_before_unlink");
        {
            // Readers find the segment with its file, or not at all.
            let mut view = write(&self.view);
            let mut state = write(&segment.state);
            match wal.files.disk.remove_file(&segment.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(WalError::io("unlink", &segment.path, error));
                }
                _ => state.obsolete = true,
            }
            view.segments.retain(|other| other.id != segment.id);
            view.log_start = match view.segments.front() {
                Some(first) => first.base,
                None => view.log_end,
            };
        }
        wal.files.forget(segment);
        fp!("release_after_unlink");
        super::group_commit::sync_dir(wal, &self.spec.dir)?;
        fp!("release_after_dir_fsync");
        Ok(())
    }
}
