//! What became of transactions, as cleaning needs it (design D8).

use std::collections::{HashMap, HashSet};

use crate::record::BatchHeader;
use crate::wal::batch::Marker;

/// Transactional records of `producer_id` from `first_offset` to the marker at `last_offset` were
/// aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Aborted {
    pub producer_id: i64,
    pub first_offset: i64,
    pub last_offset: i64,
}

/// What a batch's transaction came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not of a transaction, or committed.
    Counts,
    Aborted,
    /// Its marker is not there yet.
    Undecided,
}

/// The transactions that did not commit: all others below `stable_end` did.
#[derive(Clone, Debug)]
pub struct Decisions {
    /// First and last offsets by producer, ascending.
    aborted: HashMap<i64, Vec<(i64, i64)>>,
    markers: HashSet<i64>,
    stable_end: i64,
}

impl Decisions {
    pub fn new(aborted: &[Aborted], stable_end: i64) -> Decisions {
        let mut by_producer: HashMap<i64, Vec<(i64, i64)>> = HashMap::new();
        for range in aborted {
            let ranges = by_producer.entry(range.producer_id).or_default();
            ranges.push((range.first_offset, range.last_offset));
        }
        for ranges in by_producer.values_mut() {
            ranges.sort_unstable();
        }
        Decisions {
            aborted: by_producer,
            markers: aborted.iter().map(|range| range.last_offset).collect(),
            stable_end,
        }
    }

    pub fn fate(&self, batch: &BatchHeader) -> Fate {
        if !batch.is_transactional() {
            return Fate::Counts;
        }
        if batch.last_offset() >= self.stable_end {
            return Fate::Undecided;
        }
        match self.aborted_range(batch) {
            Some(_) => Fate::Aborted,
            None => Fate::Counts,
        }
    }

    /// The aborted transaction that a transactional batch belongs to.
    pub fn aborted_range(&self, batch: &BatchHeader) -> Option<Aborted> {
        // One producer's transactions do not overlap: the last one that begins before decides.
        let ranges = self.aborted.get(&batch.producer_id)?;
        let after = ranges.partition_point(|(first, _)| *first <= batch.base_offset);
        let (first_offset, last_offset) = *ranges.get(after.checked_sub(1)?)?;
        (batch.is_transactional() && batch.base_offset <= last_offset).then_some(Aborted {
            producer_id: batch.producer_id,
            first_offset,
            last_offset,
        })
    }
}

/// Which markers may go, told of a log's batches in order.
#[derive(Debug, Default)]
pub struct MarkerWatch {
    /// Producers with records since their last marker.
    writing: HashSet<i64>,
}

impl MarkerWatch {
    /// Goes on where another watch of the same log ended.
    pub fn resume(writing: &[i64]) -> MarkerWatch {
        MarkerWatch {
            writing: writing.iter().copied().collect(),
        }
    }

    /// Producers with records since their last marker, ascending.
    pub fn writing(&self) -> Vec<i64> {
        let mut writing: Vec<i64> = self.writing.iter().copied().collect();
        writing.sort_unstable();
        writing
    }

    /// True for a marker that ends nothing any more: an abort that readers are not told of, or a
    /// commit of which no record is left.
    pub fn is_idle(&mut self, header: &BatchHeader, bytes: &[u8], decisions: &Decisions) -> bool {
        let producer_id = header.producer_id;
        if !header.is_control() {
            if header.is_transactional() && header.record_count > 0 {
                self.writing.insert(producer_id);
            }
            return false;
        }
        let was_writing = self.writing.remove(&producer_id);
        match Marker::of(bytes) {
            Some(marker) if marker.commit => !was_writing,
            Some(_) => !was_writing && !decisions.markers.contains(&header.base_offset),
            None => header.record_count == 0,
        }
    }
}
