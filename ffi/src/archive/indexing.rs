//! What an archive's builder does with the records: index them, and look at their timestamps.

use std::collections::HashMap;
use std::path::Path;

use super::ArchiveError;
use super::spec::ArchiveSpec;
use crate::index::{IndexBuilder, IndexFile, IndexMode};
use crate::record::{Batch, BatchError, DecodedRecords, decode_records};

/// A batch whose records take more is archived, but not indexed.
const INDEXED_BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

pub struct Indexing {
    mode: IndexMode,
    builder: Option<IndexBuilder>,
    /// All is known already: nothing is looked at.
    done: Option<Indexed>,
    /// Aborted ranges (first, last offset) by producer.
    aborted: HashMap<i64, Vec<(i64, i64)>>,
    min_timestamp: Option<i64>,
    timestamps_exact: bool,
    unindexed_records: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Indexed {
    pub files: Vec<IndexFile>,
    pub documents: u64,
    pub unindexed_records: u64,
    pub truncated_values: u64,
    pub min_timestamp: i64,
    pub timestamps_exact: bool,
}

impl Indexing {
    pub fn new(spec: &ArchiveSpec, scratch: &Path) -> Indexing {
        let mut aborted: HashMap<i64, Vec<(i64, i64)>> = HashMap::new();
        for range in &spec.aborted {
            let ranges = aborted.entry(range.producer_id).or_default();
            ranges.push((range.first_offset, range.last_offset));
        }
        let mode = spec.index_mode;
        Indexing {
            mode,
            builder: mode
                .has_index()
                .then(|| IndexBuilder::new(mode, scratch, spec.index_memory_bytes)),
            done: None,
            aborted,
            min_timestamp: None,
            timestamps_exact: true,
            unindexed_records: 0,
        }
    }

    /// For batches whose index exists: the records are not looked at.
    pub fn done(indexed: Indexed, mode: IndexMode) -> Indexing {
        Indexing {
            mode,
            builder: None,
            done: Some(indexed),
            aborted: HashMap::new(),
            min_timestamp: None,
            timestamps_exact: true,
            unindexed_records: 0,
        }
    }

    /// Indexes a batch, unless it is a control batch or was aborted. Records that cannot be read
    /// are the producer's doing: the archive keeps the batch, and counts them.
    pub fn push(&mut self, batch: &Batch<'_>) -> Result<(), ArchiveError> {
        let header = &batch.header;
        if header.record_count == 0 || self.done.is_some() {
            return Ok(());
        }
        if header.is_control() || !self.mode.has_index() {
            self.timestamps_exact &= header.is_control();
            self.see_timestamp(first_timestamp(batch));
            return Ok(());
        }
        match readable(batch) {
            Ok((records, min_timestamp)) => {
                self.see_timestamp(min_timestamp);
                if !self.is_aborted(batch) {
                    self.index(&records, header.base_offset)?;
                }
            }
            Err(_) => {
                self.timestamps_exact = false;
                self.see_timestamp(header.base_timestamp);
                self.unindexed_records += u64::try_from(header.record_count).unwrap_or(0);
            }
        }
        Ok(())
    }

    pub fn finish(self) -> Result<Indexed, ArchiveError> {
        if let Some(indexed) = self.done {
            return Ok(indexed);
        }
        let mut indexed = Indexed {
            files: Vec::new(),
            documents: 0,
            unindexed_records: self.unindexed_records,
            truncated_values: 0,
            min_timestamp: self.min_timestamp.unwrap_or(-1),
            timestamps_exact: self.timestamps_exact,
        };
        if let Some(builder) = self.builder {
            let output = builder.finish()?;
            indexed.files = output.files;
            indexed.documents = output.documents;
            indexed.truncated_values = output.truncated_values;
        }
        Ok(indexed)
    }

    fn index(
        &mut self,
        records: &DecodedRecords<'_>,
        base_offset: i64,
    ) -> Result<(), ArchiveError> {
        let Some(builder) = &mut self.builder else {
            return Ok(());
        };
        for record in records.iter() {
            let record = record.map_err(|source| ArchiveError::Batch {
                offset: base_offset,
                source,
            })?;
            builder.add(&record)?;
        }
        Ok(())
    }

    fn is_aborted(&self, batch: &Batch<'_>) -> bool {
        let header = &batch.header;
        header.is_transactional()
            && self.aborted.get(&header.producer_id).is_some_and(|ranges| {
                ranges
                    .iter()
                    .any(|(first, last)| (*first..=*last).contains(&header.base_offset))
            })
    }

    fn see_timestamp(&mut self, timestamp: i64) {
        self.min_timestamp = Some(match self.min_timestamp {
            Some(min) => min.min(timestamp),
            None => timestamp,
        });
    }
}

/// What the header says, unless the cleaner wrote a delete horizon there.
fn first_timestamp(batch: &Batch<'_>) -> i64 {
    let header = &batch.header;
    if !header.has_delete_horizon() {
        return header.base_timestamp;
    }
    readable(batch).map_or(header.max_timestamp, |(_, min_timestamp)| min_timestamp)
}

/// Decodes a batch and walks it once, so that indexing meets no error halfway.
fn readable<'a>(batch: &Batch<'a>) -> Result<(DecodedRecords<'a>, i64), BatchError> {
    let records = decode_records(batch, INDEXED_BATCH_BYTES_MAX)?;
    let mut min_timestamp = i64::MAX;
    let mut previous = -1i32;
    for record in records.iter() {
        let record = record?;
        let delta = record.offset_delta;
        if delta <= previous || delta > batch.header.last_offset_delta {
            return Err(BatchError::invalid("offset deltas do not rise"));
        }
        previous = delta;
        min_timestamp = min_timestamp.min(record.timestamp);
    }
    Ok((records, min_timestamp))
}
