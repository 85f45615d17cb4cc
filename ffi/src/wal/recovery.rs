//! Opening a log: footers of sealed segments are trusted, the active one is walked (design D2).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::active::Active;
use super::batch::BatchHeader;
use super::error::WalError;
use super::frame::{
    BadFrame, FLAG_FOOTER, FRAME_BYTES_READ_MAX, FrameHeader, HEADER_BYTES, Identity,
};
use super::group_commit::{Writer, sync_dir};
use super::index::SparseIndex;
use super::log::{Damage, Kind, LogSpec, View, Wal};
use super::scan::{Scanner, Step, scan_tail};
use super::segment::{Segment, SegmentMeta, parse_segment_name, read_footer, segment_path};
use super::walk::{Walk, refuse_newer};
use crate::disk::{DiskFile, OpenMode, create_dirs, read_full};

/// What an open found, besides the log itself.
#[derive(Debug, Default)]
pub struct Report {
    /// [leader epoch, first offset of it at or past from_offset]
    pub epochs: Vec<(i32, i64)>,
    pub cut_bytes: u64,
    pub clean: bool,
    pub producers: Vec<u8>,
    pub producer_count: u64,
}

/// A recovered log.
pub struct Recovered {
    pub view: View,
    pub writer: Writer,
    pub report: Report,
}

struct Opening<'a> {
    wal: &'a Wal,
    spec: &'a LogSpec,
    from_offset: i64,
    segments: VecDeque<Arc<Segment>>,
    damaged: Option<Damage>,
    report: Report,
    last_id: Option<u64>,
    last_path: PathBuf,
    tail: Option<Tail>,
}

/// The unsealed last file and what is to be done with it.
struct Tail {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    walk: Walk,
    /// Bytes past the end that are not zero.
    torn_bytes: u64,
    /// Base offset in the header of a first frame that is not valid, where it can be read.
    broken_base: Option<i64>,
}

/// Recovers the log in `spec.dir`. Nothing is changed on disk when damage is found.
pub fn recover(
    wal: &Wal,
    spec: &LogSpec,
    from_offset: i64,
    next_segment_id: u64,
) -> Result<Recovered, WalError> {
    let disk = wal.files.disk.as_ref();
    create_dirs(disk, &spec.dir).map_err(|error| WalError::io("create", &spec.dir, error))?;
    let mut opening = Opening {
        wal,
        spec,
        from_offset,
        segments: VecDeque::new(),
        damaged: None,
        report: Report {
            clean: true,
            ..Report::default()
        },
        last_id: None,
        last_path: spec.dir.clone(),
        tail: None,
    };
    let ids = opening.list()?;
    for (index, id) in ids.iter().enumerate() {
        opening.load(*id, index + 1 == ids.len())?;
    }
    opening.check_end();
    opening.finish(ids.last().copied(), next_segment_id)
}

impl Opening<'_> {
    /// Ids of the segment files; leftovers of an interrupted cleaning are removed.
    fn list(&mut self) -> Result<Vec<u64>, WalError> {
        let (disk, spec) = (self.wal.files.disk.as_ref(), self.spec);
        let entries = disk.read_dir(&spec.dir);
        let entries = entries.map_err(|error| WalError::io("list", &spec.dir, error))?;
        let mut ids = Vec::new();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            if let Some(id) = parse_segment_name(&spec.prefix, &entry.name) {
                ids.push(id);
            } else if let Some(name) = entry.name.strip_suffix(".clean")
                && parse_segment_name(&spec.prefix, name).is_some()
            {
                let path = spec.dir.join(&entry.name);
                let removed = disk.remove_file(&path);
                removed.map_err(|error| WalError::io("unlink", &path, error))?;
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    fn damage(&mut self, path: &Path, position: u64, reason: String) {
        self.report.clean = false;
        if self.damaged.is_none() {
            let file = path.display().to_string();
            self.damaged = Some(Damage {
                file,
                position,
                reason,
            });
        }
    }

    fn load(&mut self, id: u64, is_last: bool) -> Result<(), WalError> {
        let path = segment_path(&self.spec.dir, &self.spec.prefix, id);
        if let Some(before) = self.last_id.filter(|before| before + 1 != id) {
            self.damage(
                &path,
                0,
                format!("segments {} to {} are missing", before + 1, id - 1),
            );
        }
        self.last_id = Some(id);
        self.last_path.clone_from(&path);
        let opened = self.wal.files.disk.open(&path, OpenMode::ReadWrite);
        let file = opened.map_err(|error| WalError::io("open", &path, error))?;
        let identity = self.spec.identity(id);
        if let Some((meta, index)) = read_footer(file.as_ref(), identity, &path)? {
            return self.sealed(&path, file.as_ref(), meta, index);
        }
        let walk = self.walk(&path, file.as_ref(), identity, None)?;
        if let Some(BadFrame::Version(version)) = walk.bad {
            refuse_newer(&path, file.as_ref(), walk.end, version)?;
        }
        if let Some((position, reason)) = &walk.gap {
            self.damage(&path, *position, reason.clone());
        }
        let salt = (walk.end > 0).then_some(walk.salt);
        let limit = walk.file_bytes;
        let tail = scan_tail(file.as_ref(), identity, salt, walk.end, limit);
        let tail = tail.map_err(|error| WalError::io("read", &path, error))?;
        if let Some(proof) = tail.proof_at {
            let bad = walk.bad.map_or_else(String::new, |bad| bad.to_string());
            let reason = format!("{bad}, but the frame at {proof} says it was durable");
            self.damage(&path, walk.end, reason);
        } else if !is_last {
            let reason = if limit == 0 {
                "the file is empty"
            } else {
                "the footer is gone"
            };
            self.damage(&path, walk.end, reason.into());
        }
        let broken_base = match walk.end {
            0 => first_base(file.as_ref(), identity)
                .map_err(|error| WalError::io("read", &path, error))?,
            _ => None,
        };
        self.tail = Some(Tail {
            file,
            path,
            walk,
            torn_bytes: tail.bytes,
            broken_base,
        });
        if is_last {
            Ok(())
        } else {
            self.keep_damaged_tail()
        }
    }

    /// A segment without a footer that is not the last: as far as it is valid.
    fn keep_damaged_tail(&mut self) -> Result<(), WalError> {
        let Some(tail) = self.tail.take() else {
            return Ok(());
        };
        if tail.walk.end > 0 {
            self.follow(&tail.path, tail.walk.meta.base);
            self.push(tail.walk.meta, Some(Arc::new(tail.walk.index)));
        }
        Ok(())
    }

    /// Checks that a segment starts where the one before ended.
    fn follow(&mut self, path: &Path, base: i64) {
        let end = self.segments.back().map(|segment| segment.meta().last + 1);
        if let Some(end) = end.filter(|end| *end != base) {
            self.damage(
                path,
                0,
                format!("starts at offset {base}, the log ended at {end}"),
            );
        }
    }

    fn push(&mut self, meta: SegmentMeta, index: Option<Arc<SparseIndex>>) {
        let segment = self.wal.segment(self.spec, meta, index);
        // Never let a segment overlap what readers already see.
        if self
            .segments
            .back()
            .is_none_or(|before| before.meta().last < meta.base)
        {
            self.segments.push_back(segment);
        }
    }

    fn sealed(
        &mut self,
        path: &Path,
        file: &dyn DiskFile,
        meta: SegmentMeta,
        index: SparseIndex,
    ) -> Result<(), WalError> {
        self.follow(path, meta.base);
        if meta.last >= self.from_offset {
            let position = index.position_of(self.from_offset);
            let walk = self.walk(
                path,
                file,
                self.spec.identity(meta.id),
                Some((position, &meta)),
            )?;
            if let Some((position, reason)) = walk.gap {
                self.damage(path, position, reason);
            } else if walk.end != meta.bytes {
                let reason = walk.bad.map_or_else(String::new, |bad| bad.to_string());
                self.damage(path, walk.end, reason);
            }
        }
        self.push(meta, None);
        Ok(())
    }

    /// Walks frames: of a whole unsealed file, or of a sealed one from a position on.
    fn walk(
        &mut self,
        path: &Path,
        file: &dyn DiskFile,
        identity: Identity,
        sealed: Option<(u64, &SegmentMeta)>,
    ) -> Result<Walk, WalError> {
        let fail = |error| WalError::io("read", path, error);
        let file_bytes = file.bytes().map_err(fail)?;
        let (start, limit) = sealed.map_or((0, file_bytes), |(at, meta)| (at, meta.bytes));
        let mut walk = Walk::new(identity.segment_id, start, file_bytes);
        let cleaned = sealed.is_some_and(|(_, meta)| meta.cleaned);
        let mut scanner = Scanner::new(file, identity, start, limit, FRAME_BYTES_READ_MAX);
        loop {
            match scanner.step().map_err(fail)? {
                Step::End => break,
                Step::Bad(bad) => {
                    walk.bad = Some(bad);
                    break;
                }
                Step::Frame(frame) => {
                    let header = frame.header;
                    let end = frame.position + u64::from(header.length);
                    if header.flags & FLAG_FOOTER != 0 {
                        walk.footer_end = Some(end);
                        break;
                    }
                    let timestamp = if header.is_data() {
                        self.survey(&header, frame.body)
                    } else {
                        -1
                    };
                    if !walk.add(frame.position, end, &header, timestamp, cleaned) {
                        break;
                    }
                }
            }
        }
        walk.salt = scanner.salt().unwrap_or(0);
        Ok(walk)
    }

    /// Collects epochs and producers at or past from_offset; the batch's largest timestamp.
    fn survey(&mut self, header: &FrameHeader, body: &[u8]) -> i64 {
        let batch = match self.spec.kind {
            Kind::Batches => BatchHeader::parse(body),
            Kind::Journal => None,
        };
        if header.last_offset >= self.from_offset {
            let report = &mut self.report;
            if report
                .epochs
                .last()
                .is_none_or(|(epoch, _)| *epoch != header.leader_epoch)
            {
                report
                    .epochs
                    .push((header.leader_epoch, header.base_offset));
            }
            if batch.is_some_and(|batch| batch.producer_entry(body, &mut report.producers)) {
                report.producer_count += 1;
            }
        }
        batch.map_or(-1, |batch| batch.max_timestamp)
    }

    /// A log that ends below what a durable checkpoint saw has lost acknowledged records.
    fn check_end(&mut self) {
        let tail = self.tail.as_ref().filter(|tail| tail.walk.end > 0);
        let end = match (tail, self.segments.back()) {
            (Some(tail), _) => tail.walk.meta.last + 1,
            (None, Some(segment)) => segment.meta().last + 1,
            // A file without a frame after everything before it was released: nothing was in it,
            // unless its broken first frame is of an offset that the checkpoint covers.
            (None, None) => match self.tail.as_ref().and_then(|tail| tail.broken_base) {
                Some(base) => base,
                None => return,
            },
        };
        if end < self.from_offset {
            let position = self.tail.as_ref().map_or(0, |tail| tail.walk.end);
            let path = self.last_path.clone();
            let reason = format!(
                "the log ends at {end}, its checkpoint at {}",
                self.from_offset
            );
            self.damage(&path, position, reason);
        }
    }

    fn finish(mut self, last_id: Option<u64>, next_id: u64) -> Result<Recovered, WalError> {
        let mut active = None;
        let mut reused = None;
        if let Some(tail) = self.tail.take() {
            if tail.walk.end > 0 {
                let path = tail.path.clone();
                self.follow(&path, tail.walk.meta.base);
            }
            if self.damaged.is_some() {
                self.tail = Some(tail);
                self.keep_damaged_tail()?;
            } else if tail.walk.end == 0 {
                reused = last_id;
                self.drop_empty(tail)?;
            } else {
                active = self.cut(tail)?;
            }
        }
        let read_only = self.damaged.as_ref().map(ToString::to_string);
        let log_end = self.segments.back().map(|segment| segment.meta().last + 1);
        let log_start = self.segments.front().map(|segment| segment.base);
        let after = active.as_ref().map(|active| active.segment.id).or(reused);
        let next = after.unwrap_or_else(|| last_id.map_or(next_id, |id| id + 1));
        let mut writer = Writer::new(next, log_end, read_only);
        writer.active = active;
        let view = View {
            segments: self.segments,
            log_start: log_start.unwrap_or(self.from_offset),
            log_end: log_end.unwrap_or(self.from_offset),
            damaged: self.damaged,
        };
        Ok(Recovered {
            view,
            writer,
            report: self.report,
        })
    }

    /// A file whose first append was torn: nothing in it was acknowledged.
    fn drop_empty(&mut self, tail: Tail) -> Result<(), WalError> {
        self.report.cut_bytes += tail.torn_bytes;
        self.report.clean &= tail.torn_bytes == 0;
        fp!("recovery_before_cut");
        let removed = self.wal.files.disk.remove_file(&tail.path);
        removed.map_err(|error| WalError::io("unlink", &tail.path, error))?;
        sync_dir(self.wal, &self.spec.dir)
    }

    /// Cuts the torn tail and makes the rest durable; the segment goes on as the active one.
    fn cut(&mut self, tail: Tail) -> Result<Option<Active>, WalError> {
        let Tail {
            file,
            path,
            walk,
            torn_bytes,
            ..
        } = tail;
        let end = walk.footer_end.unwrap_or(walk.end);
        let torn = if walk.footer_end.is_some() {
            0
        } else {
            torn_bytes
        };
        self.report.cut_bytes += torn;
        self.report.clean &= torn == 0 && (walk.stopped || walk.footer_end.is_some());
        let mut allocated = walk.file_bytes;
        if torn > 0 || walk.footer_end.is_some() {
            fp!("recovery_before_cut");
            file.set_len(end)
                .map_err(|error| WalError::io("cut", &path, error))?;
            allocated = end;
            fp!("recovery_after_cut");
        }
        if !self.report.clean || allocated == end {
            // After kill -9 valid frames may never have been synced; from here on they count.
            self.wal.fsyncs.fetch_add(1, Ordering::Relaxed);
            file.sync_all().map_err(|error| {
                self.wal
                    .poison
                    .poison(&format!("fsync {}: {error}", path.display()))
            })?;
        }
        let sealed = walk.footer_end.is_some();
        let meta = SegmentMeta {
            sealed,
            ..walk.meta
        };
        let index = (!sealed).then(|| Arc::new(walk.index));
        self.push(meta, index);
        let Some(segment) = self.segments.back().cloned().filter(|_| !sealed) else {
            return Ok(None);
        };
        self.wal.files.adopt(&segment, file);
        Ok(Some(Active {
            segment,
            published: true,
            position: walk.end,
            allocated,
            salt: walk.salt,
            stopped: walk.stopped,
        }))
    }
}

fn first_base(file: &dyn DiskFile, identity: Identity) -> std::io::Result<Option<i64>> {
    let mut head = [0; HEADER_BYTES];
    let got = read_full(file, &mut head, 0)?;
    let header = FrameHeader::parse(head.get(..got).unwrap_or_default());
    Ok(header
        .ok()
        .filter(|header| header.identity == identity)
        .map(|header| header.base_offset))
}
