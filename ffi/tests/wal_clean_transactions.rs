//! Compaction of a log with transactions, against a model: whatever is cleaned and however often,
//! a replay by markers alone sees the same keys and values.

mod wal_support;

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use chronik::cleaning::{Aborted, Decisions};
use chronik::record::{BatchSpec, RecordSpec, batches, decode_records, encode_batch};
use chronik::status::Status;
use chronik::wal::batch::Marker;
use chronik::wal::clean::{Cleaned, Rules, clean_log};
use wal_support::{Opened, Options, open};

const DAY_MS: i64 = 86_400_000;
/// Of every record.
const WRITTEN_MS: i64 = 1_700_000_000_000;

#[derive(Clone, Debug)]
enum Op {
    /// Key and value (None: a tombstone) outside of transactions.
    Plain(u8, Option<u8>),
    /// Of a producer's transaction, which it may begin.
    Write(u8, Vec<(u8, Option<u8>)>),
    End(u8, bool),
    Seal,
    /// A cleaning before or after markers and tombstones have their age.
    Clean {
        old: bool,
        map_entries: u8,
    },
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let pair = (0u8..4, prop::option::weighted(0.8, any::<u8>()));
    let write = (0u8..3, prop::collection::vec(pair.clone(), 1..4));
    let op = prop_oneof![
        3 => pair.clone().prop_map(|(key, value)| Op::Plain(key, value)),
        6 => write.prop_map(|(who, pairs)| Op::Write(who, pairs)),
        5 => (0u8..3, any::<bool>()).prop_map(|(who, commit)| Op::End(who, commit)),
        3 => Just(Op::Seal),
        3 => (any::<bool>(), 1u8..6).prop_map(|(old, map_entries)| Op::Clean { old, map_entries }),
    ];
    prop::collection::vec(op, 1..60)
}

type Value = (i64, Option<u8>);

/// What a reader of committed records knows: the value at the highest offset of each key.
#[derive(Clone, Debug, Default, PartialEq)]
struct View(BTreeMap<u8, Value>);

impl View {
    fn put(&mut self, key: u8, offset: i64, value: Option<u8>) {
        if self.0.get(&key).is_none_or(|(known, _)| *known < offset) {
            self.0.insert(key, (offset, value));
        }
    }

    /// Deleted keys are as good as none.
    fn values(&self) -> BTreeMap<u8, u8> {
        let live = |(key, (_, value)): (&u8, &Value)| value.map(|value| (*key, value));
        self.0.iter().filter_map(live).collect()
    }
}

struct World {
    opened: Opened,
    end: i64,
    committed: View,
    open: HashMap<u8, (i64, Vec<(u8, Value)>)>,
    aborted: Vec<Aborted>,
}

impl World {
    fn batch(&mut self, spec: BatchSpec, pairs: &[(Vec<u8>, Option<Vec<u8>>)]) -> i64 {
        let records: Vec<_> = pairs
            .iter()
            .enumerate()
            .map(|(delta, (key, value))| RecordSpec {
                offset_delta: delta as i32,
                timestamp: WRITTEN_MS,
                key: Some(key),
                value: value.as_deref(),
                headers: Vec::new(),
            })
            .collect();
        let base_offset = self.end;
        let spec = BatchSpec {
            base_offset,
            producer_epoch: 0,
            ..spec
        };
        let bytes = encode_batch(&spec, &records).unwrap();
        assert_eq!(self.opened.append(&[bytes]), [Status::Ok]);
        self.end += pairs.len() as i64;
        base_offset
    }

    fn write(&mut self, producer: Option<u8>, pairs: &[(u8, Option<u8>)]) {
        let spec = BatchSpec {
            producer_id: producer.map_or(-1, i64::from),
            transactional: producer.is_some(),
            ..BatchSpec::default()
        };
        let bytes: Vec<_> = pairs
            .iter()
            .map(|(key, value)| (vec![*key], value.map(|v| vec![v])))
            .collect();
        let base = self.batch(spec, &bytes);
        for (delta, (key, value)) in pairs.iter().enumerate() {
            let offset = base + delta as i64;
            match producer {
                None => self.committed.put(*key, offset, *value),
                Some(who) => {
                    let (_, written) = self.open.entry(who).or_insert((base, Vec::new()));
                    written.push((*key, (offset, *value)));
                }
            }
        }
    }

    fn end_transaction(&mut self, who: u8, commit: bool) {
        let spec = BatchSpec {
            producer_id: i64::from(who),
            transactional: true,
            control: true,
            ..BatchSpec::default()
        };
        let key = vec![0, 0, 0, u8::from(commit)];
        let last_offset = self.batch(spec, &[(key, Some(vec![0, 0, 0, 0, 0, 7]))]);
        let Some((first_offset, written)) = self.open.remove(&who) else {
            return;
        };
        if !commit {
            let producer_id = i64::from(who);
            return self.aborted.push(Aborted {
                producer_id,
                first_offset,
                last_offset,
            });
        }
        for (key, (offset, value)) in written {
            self.committed.put(key, offset, value);
        }
    }

    fn stable_end(&self) -> i64 {
        self.open
            .values()
            .map(|(first, _)| *first)
            .min()
            .unwrap_or(self.end)
    }

    /// As a partition does it: below the last stable offset, the newest segment left whole; what
    /// was cleaned away is not told to readers any more.
    fn clean(&mut self, old: bool, map_entries: u8) -> Cleaned {
        let stable_end = self.stable_end();
        let segments = self.opened.log.segments();
        let newest = segments.last().map_or(0, |segment| segment.base);
        let keep_from = newest.min(stable_end);
        let rules = Rules {
            keep_from,
            tombstones_before_ms: if old { WRITTEN_MS + DAY_MS } else { WRITTEN_MS },
            map_entries_max: map_entries.into(),
            decisions: Decisions::new(&self.aborted, stable_end),
        };
        let cleaned = clean_log(&self.opened.wal, &self.opened.log, &rules).unwrap();
        let touched = segments
            .iter()
            .filter(|one| one.sealed && one.last < keep_from);
        let cleaned_to = touched.map(|one| one.last + 1).max().unwrap_or(0);
        self.assert_no_aborted_below(cleaned_to);
        self.aborted.retain(|one| one.last_offset >= cleaned_to);
        cleaned
    }

    fn assert_no_aborted_below(&self, end: i64) {
        for (base, producer, records) in self.batches() {
            let is_aborted = self.aborted.iter().any(|one| {
                one.producer_id == producer && (one.first_offset..one.last_offset).contains(&base)
            });
            assert!(
                !is_aborted || base >= end || records == 0,
                "aborted at {base}"
            );
        }
    }

    fn batches(&self) -> Vec<(i64, i64, i32)> {
        let bytes = self.opened.read_all().unwrap();
        let header = |batch: &chronik::record::Batch<'_>| {
            let header = batch.header;
            (header.base_offset, header.producer_id, header.record_count)
        };
        batches(&bytes)
            .map(|batch| header(&batch.unwrap()))
            .collect()
    }

    /// What the log says without any index: records count at their commit marker.
    fn replayed(&self) -> (View, HashMap<i64, Vec<(u8, Value)>>) {
        let bytes = self.opened.read_all().unwrap();
        let mut view = View::default();
        let mut pending: HashMap<i64, Vec<(u8, Value)>> = HashMap::new();
        let mut at = 0;
        for batch in batches(&bytes) {
            let batch = batch.unwrap();
            batch.check_crc().unwrap();
            let header = batch.header;
            if header.is_control() {
                let written = pending.remove(&header.producer_id).unwrap_or_default();
                let whole = bytes.get(at..at + header.batch_bytes()).unwrap();
                at += header.batch_bytes();
                if header.record_count > 0 && Marker::of(whole).unwrap().commit {
                    written
                        .iter()
                        .for_each(|(key, (offset, value))| view.put(*key, *offset, *value));
                }
                continue;
            }
            at += header.batch_bytes();
            for record in decode_records(&batch, 1 << 20).unwrap().iter() {
                let record = record.unwrap();
                let (key, value) = (record.key.unwrap()[0], record.value.map(|value| value[0]));
                if header.is_transactional() {
                    let written = pending.entry(header.producer_id).or_default();
                    written.push((key, (record.offset, value)));
                } else {
                    view.put(key, record.offset, value);
                }
            }
        }
        pending.retain(|_, written| !written.is_empty());
        (view, pending)
    }

    fn check(&self) {
        let (view, pending) = self.replayed();
        assert_eq!(view.values(), self.committed.values());
        let open: HashMap<_, _> = self
            .open
            .iter()
            .map(|(who, (_, written))| (i64::from(*who), written.clone()))
            .collect();
        assert_eq!(pending, open, "what is open stays whole");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_replay_after_cleaning_sees_what_it_saw_before(ops in ops()) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes_max: 1 << 20, ..Options::new(dir.path()) };
        let mut world = World {
            opened: open(&options).unwrap(),
            end: 0,
            committed: View::default(),
            open: HashMap::new(),
            aborted: Vec::new(),
        };
        for op in ops {
            match op {
                Op::Plain(key, value) => world.write(None, &[(key, value)]),
                Op::Write(who, pairs) => world.write(Some(who), &pairs),
                Op::End(who, commit) => world.end_transaction(who, commit),
                Op::Seal => {
                    world.opened.seal().unwrap();
                }
                Op::Clean { old, map_entries } => {
                    world.clean(old, map_entries);
                    world.check();
                }
            }
        }
        world.check();
    }
}

/// A long history of small transactions does not grow the log: markers go too, a day later.
#[test]
fn markers_of_nothing_go_when_they_are_old() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes_max: 1 << 20,
        ..Options::new(dir.path())
    };
    let mut world = World {
        opened: open(&options).unwrap(),
        end: 0,
        committed: View::default(),
        open: HashMap::new(),
        aborted: Vec::new(),
    };
    for round in 0..100u8 {
        world.write(Some(1), &[(round % 2, Some(round))]);
        world.end_transaction(1, round % 5 != 4);
    }
    world.opened.seal().unwrap();
    world.write(None, &[(9, Some(9))]);
    world.clean(false, 100);
    world.check();
    let kept = |world: &World| {
        world
            .batches()
            .iter()
            .filter(|(_, _, records)| *records > 0)
            .count()
    };
    // Two keys, the plain record, and every marker: too young.
    assert_eq!(kept(&world), 2 + 1 + 100);
    world.clean(true, 100);
    world.check();
    assert_eq!(kept(&world), 2 + 1 + 2);
}
