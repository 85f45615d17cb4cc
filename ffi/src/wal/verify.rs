//! Reads a log's files from end to end and says what is wrong. Changes nothing, so it may run
//! beside the log's writer: a frame on its way to the disk is looked at again.

use std::io;
use std::path::Path;

use serde::Serialize;

use super::error::WalError;
use super::frame::{FLAG_FOOTER, FRAME_BYTES_READ_MAX, Identity};
use super::index::SparseIndex;
use super::log::LogSpec;
use super::scan::{Scanner, Step, scan_tail};
use super::segment::{SegmentMeta, parse_segment_name, read_footer, segment_path};
use crate::disk::{Disk, DiskFile, OpenMode};

/// Findings that are kept; the rest is counted.
const FINDINGS_MAX: usize = 100;

/// One damaged place. Offsets are those that cannot be read because of it, where they are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub file: String,
    pub position: u64,
    pub reason: String,
    pub first_offset: Option<i64>,
    pub last_offset: Option<i64>,
}

/// What the files hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LogReport {
    pub segments: u64,
    pub bytes: u64,
    pub records: u64,
    pub findings: Vec<Finding>,
    /// Findings beyond those that are kept.
    pub more: u64,
}

/// Verifies every segment file of `spec`: identity, footers, each frame's checksum, and that
/// offsets and segment ids follow each other. A torn end of the newest file is no damage.
pub fn verify_log(disk: &dyn Disk, spec: &LogSpec) -> Result<LogReport, WalError> {
    let entries = disk.read_dir(&spec.dir);
    let entries = entries.map_err(|error| WalError::io("list", &spec.dir, error))?;
    let mut ids: Vec<u64> = entries
        .iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| parse_segment_name(&spec.prefix, &entry.name))
        .collect();
    ids.sort_unstable();
    let mut check = Check {
        spec,
        report: LogReport::default(),
        due: None,
    };
    let mut before: Option<u64> = None;
    for id in &ids {
        let path = segment_path(&spec.dir, &spec.prefix, *id);
        if let Some(before) = before.filter(|before| before + 1 != *id) {
            let reason = format!("segments {} to {} are missing", before + 1, id - 1);
            check.found(&path, 0, reason, None);
            check.due = None;
        }
        before = Some(*id);
        let file = match disk.open(&path, OpenMode::Read) {
            Ok(file) => file,
            // Released since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                check.due = None;
                continue;
            }
            Err(error) => return Err(WalError::io("open", &path, error)),
        };
        let is_last = ids.last() == Some(id);
        check.segment(&path, file.as_ref(), *id, is_last)?;
    }
    Ok(check.report)
}

struct Check<'a> {
    spec: &'a LogSpec,
    report: LogReport,
    /// The offset that has to come next, where it is known.
    due: Option<i64>,
}

impl Check<'_> {
    fn found(&mut self, path: &Path, position: u64, reason: String, lost: Option<(i64, i64)>) {
        if self.report.findings.len() >= FINDINGS_MAX {
            self.report.more += 1;
            return;
        }
        let lost = lost.filter(|(first, last)| first <= last);
        self.report.findings.push(Finding {
            file: path.display().to_string(),
            position,
            reason,
            first_offset: lost.map(|(first, _)| first),
            last_offset: lost.map(|(_, last)| last),
        });
    }

    fn segment(
        &mut self,
        path: &Path,
        file: &dyn DiskFile,
        id: u64,
        is_last: bool,
    ) -> Result<(), WalError> {
        self.report.segments += 1;
        let identity = self.spec.identity(id);
        match read_footer(file, identity, path)? {
            Some((meta, index)) => self.sealed(path, file, identity, (&meta, &index)),
            None => self.unsealed(path, file, identity, is_last),
        }
    }

    fn sealed(
        &mut self,
        path: &Path,
        file: &dyn DiskFile,
        identity: Identity,
        (meta, index): (&SegmentMeta, &SparseIndex),
    ) -> Result<(), WalError> {
        if let Some(due) = self.due.filter(|due| *due != meta.base) {
            let reason = format!("starts at offset {}, {due} is due", meta.base);
            self.found(path, 0, reason, Some((due, meta.base - 1)));
        }
        let findings = self.findings();
        let mut due = meta.base;
        let mut records = 0;
        let mut start = 0;
        while let Some(bad_at) = self.frames(
            path,
            (file, identity, start, meta.bytes),
            (&mut due, &mut records, meta.cleaned),
        )? {
            let after = index.entries().iter().find(|e| e.position > bad_at.0);
            let last = after.map_or(meta.last, |entry| entry.offset - 1);
            self.found(path, bad_at.0, bad_at.1, Some((due, last)));
            let Some(entry) = after else {
                due = meta.last + 1;
                break;
            };
            (start, due) = (entry.position, entry.offset);
        }
        let is_whole = self.findings() == findings;
        if is_whole && !meta.cleaned && due != meta.last + 1 {
            let reason = format!("ends at offset {}, its footer says {}", due - 1, meta.last);
            self.found(path, meta.bytes, reason, Some((due, meta.last)));
        } else if is_whole && !meta.cleaned && records != meta.records {
            let reason = format!("holds {records} records, its footer says {}", meta.records);
            self.found(path, meta.bytes, reason, None);
        }
        self.report.bytes += meta.bytes;
        self.report.records += records;
        self.due = Some(meta.last + 1);
        Ok(())
    }

    fn findings(&self) -> u64 {
        self.report.findings.len() as u64 + self.report.more
    }

    /// Walks frames of `(file, identity, start, limit)` up to the first that is not whole or does
    /// not follow; says where that is and why.
    fn frames(
        &mut self,
        path: &Path,
        (file, identity, start, limit): (&dyn DiskFile, Identity, u64, u64),
        (due, records, cleaned): (&mut i64, &mut u64, bool),
    ) -> Result<Option<(u64, String)>, WalError> {
        let mut scanner = Scanner::new(file, identity, start, limit, FRAME_BYTES_READ_MAX);
        loop {
            let position = scanner.position();
            let step = scanner.step();
            match step.map_err(|error| WalError::io("read", path, error))? {
                Step::End => return Ok(None),
                Step::Bad(bad) => return Ok(Some((position, bad.to_string()))),
                Step::Frame(frame) if !frame.header.is_data() => {}
                Step::Frame(frame) => {
                    let base = frame.header.base_offset;
                    let follows = base == *due || (cleaned && base > *due);
                    if !follows || frame.header.last_offset < base {
                        let reason = format!("offset {base} where {due} should be");
                        return Ok(Some((position, reason)));
                    }
                    *due = frame.header.last_offset + 1;
                    *records += u64::from(frame.header.record_count);
                }
            }
        }
    }

    /// A file without a footer: the newest one may end in bytes that nobody was promised.
    fn unsealed(
        &mut self,
        path: &Path,
        file: &dyn DiskFile,
        identity: Identity,
        is_last: bool,
    ) -> Result<(), WalError> {
        let fail = |error| WalError::io("read", path, error);
        let limit = file.bytes().map_err(fail)?;
        let mut scanner = Scanner::new(file, identity, 0, limit, FRAME_BYTES_READ_MAX);
        let mut due = self.due;
        let mut seen_again = None;
        loop {
            let position = scanner.position();
            let bad = match scanner.step().map_err(fail)? {
                Step::End => break,
                Step::Bad(bad) => bad.to_string(),
                Step::Frame(frame) if frame.header.flags & FLAG_FOOTER != 0 => {
                    self.end(position, due);
                    return Ok(());
                }
                Step::Frame(frame) => {
                    let header = frame.header;
                    if header.is_data() && due.is_none_or(|due| header.base_offset == due) {
                        due = Some(header.last_offset + 1);
                        self.report.records += u64::from(header.record_count);
                        continue;
                    }
                    if !header.is_data() {
                        continue;
                    }
                    let due = due.unwrap_or_default();
                    format!("offset {} where {due} should be", header.base_offset)
                }
            };
            let salt = scanner.salt().filter(|_| position > 0);
            let tail = scan_tail(file, identity, salt, position, limit).map_err(fail)?;
            if tail.proof_at.is_none() {
                break;
            }
            // The writer may have been at this frame a moment ago.
            if seen_again != Some(position) {
                seen_again = Some(position);
                scanner = Scanner::new(file, identity, position, limit, FRAME_BYTES_READ_MAX);
                continue;
            }
            self.found(path, position, bad, None);
            self.end(position, due);
            return Ok(());
        }
        if !is_last {
            self.found(path, scanner.position(), "the footer is gone".into(), None);
        }
        self.end(scanner.position(), due);
        Ok(())
    }

    fn end(&mut self, position: u64, due: Option<i64>) {
        self.report.bytes += position;
        self.due = due;
    }
}
