//! The WAL against a model: a vector of batches. Random appends, rotations, reads, releases,
//! truncations, and reopens after a clean stop, a kill and a loss of power.

mod wal_support;

use std::sync::Arc;

use proptest::prelude::*;

use chronik::status::Status;
use chronik::wal::error::WalError;
use wal_support::disk::FaultyDisk;
use wal_support::{Opened, Options, Random, batch_of, open_on};

#[derive(Clone, Debug)]
enum Op {
    /// Batches of one group: (records, bytes of each record).
    Append(Vec<(u8, u16)>),
    Seal,
    Read {
        at: u16,
        bytes_max: u32,
    },
    Release(u8),
    Truncate(u16),
    ReopenClean,
    ReopenKilled,
    ReopenPowerLost,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let group = prop::collection::vec((1u8..4, 0u16..900), 1..6);
    let op = prop_oneof![
        8 => group.prop_map(Op::Append),
        2 => Just(Op::Seal),
        4 => (any::<u16>(), 0u32..6000).prop_map(|(at, bytes_max)| Op::Read { at, bytes_max }),
        1 => (1u8..4).prop_map(Op::Release),
        1 => any::<u16>().prop_map(Op::Truncate),
        1 => Just(Op::ReopenClean),
        1 => Just(Op::ReopenKilled),
        1 => Just(Op::ReopenPowerLost),
    ];
    prop::collection::vec(op, 1..40)
}

struct Batch {
    base: i64,
    last: i64,
    bytes: Vec<u8>,
}

struct Model {
    batches: Vec<Batch>,
    end: i64,
}

struct World {
    options: Options,
    disk: FaultyDisk,
    opened: Opened,
    model: Model,
    random: Random,
}

impl World {
    fn run(&mut self, op: &Op) {
        match op {
            Op::Append(group) => self.append(group),
            Op::Seal => {
                let before = self
                    .opened
                    .log
                    .segments()
                    .iter()
                    .filter(|s| !s.sealed)
                    .count();
                assert_eq!(usize::from(self.opened.seal().unwrap().is_some()), before);
            }
            Op::Read { at, bytes_max } => self.read(*at, *bytes_max),
            Op::Release(count) => self.release(*count as usize),
            Op::Truncate(at) => self.truncate(*at),
            Op::ReopenClean => {
                self.opened.stop().unwrap();
                self.reopen(true);
            }
            Op::ReopenKilled => self.reopen(false),
            Op::ReopenPowerLost => {
                self.disk.lose_power(&mut self.random);
                self.reopen(false);
            }
        }
        self.check();
    }

    fn append(&mut self, group: &[(u8, u16)]) {
        let mut bodies = Vec::new();
        for (records, bytes) in group {
            let values: Vec<_> = (0..*records)
                .map(|_| self.random.bytes(*bytes as usize))
                .collect();
            let base = self.model.end;
            let body = batch_of(base, &values);
            self.model.end += i64::from(*records);
            let last = self.model.end - 1;
            self.model.batches.push(Batch {
                base,
                last,
                bytes: body.clone(),
            });
            bodies.push(body);
        }
        let statuses = self.opened.append(&bodies);
        assert!(
            statuses.iter().all(|status| *status == Status::Ok),
            "{statuses:?}"
        );
    }

    fn read(&mut self, at: u16, bytes_max: u32) {
        let (start, end) = self.opened.log.bounds();
        let from = start - 1 + i64::from(at) % (end - start + 3);
        let limit = end - i64::from(at) % 3;
        let found = self.opened.read(from, limit, bytes_max);
        if from < start && from < limit {
            assert!(matches!(found, Err(WalError::OutOfRange(_))), "{found:?}");
            return;
        }
        let found = found.unwrap();
        let mut expected = Vec::new();
        let mut next = from;
        for batch in self.model.batches.iter().filter(|batch| batch.last >= from) {
            let too_much =
                !expected.is_empty() && expected.len() + batch.bytes.len() > bytes_max as usize;
            if batch.last >= limit || too_much {
                break;
            }
            expected.extend_from_slice(&batch.bytes);
            next = batch.last + 1;
            if expected.len() >= bytes_max as usize {
                break;
            }
        }
        assert_eq!(found.next_offset, next);
        assert!(found.bytes == expected, "bytes differ at {from}");
    }

    fn release(&mut self, count: usize) {
        let sealed: Vec<_> = self
            .opened
            .log
            .segments()
            .into_iter()
            .filter(|meta| meta.sealed)
            .collect();
        let gone: Vec<_> = sealed.iter().take(count).collect();
        let ids: Vec<_> = gone.iter().map(|meta| meta.id).collect();
        self.opened.release(&ids).unwrap();
        if let Some(last) = gone.last() {
            self.model.batches.retain(|batch| batch.base > last.last);
        }
    }

    fn truncate(&mut self, at: u16) {
        let (start, end) = self.opened.log.bounds();
        let to = start + i64::from(at) % (end - start + 1);
        self.model.batches.retain(|batch| batch.last < to);
        if to < end {
            self.model.end = self
                .model
                .batches
                .last()
                .map_or(start, |batch| batch.last + 1);
        }
        assert_eq!(self.opened.truncate(to).unwrap(), self.model.end);
    }

    fn reopen(&mut self, clean: bool) {
        self.options.from_offset = if self.model.batches.is_empty() {
            self.model.end
        } else {
            0
        };
        let disk = Arc::new(self.disk.clone());
        self.opened = open_on(&self.options, disk).unwrap();
        assert_eq!(self.opened.damaged(), None);
        assert_eq!(self.opened.report.cut_bytes, 0);
        assert!(!clean || self.opened.report.clean);
    }

    fn check(&self) {
        let start = self
            .model
            .batches
            .first()
            .map_or(self.model.end, |batch| batch.base);
        assert_eq!(self.opened.log.bounds(), (start, self.model.end));
        let expected: Vec<u8> = self
            .model
            .batches
            .iter()
            .flat_map(|batch| batch.bytes.clone())
            .collect();
        assert!(
            self.opened.read_all().unwrap() == expected,
            "the log differs from the model"
        );
        let segments = self.opened.log.segments();
        let counts: u64 = segments.iter().map(|meta| meta.records).sum();
        assert_eq!(counts as i64, self.model.end - start);
        assert!(self.opened.wal.files.open_count() <= self.options.files_open_max);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn holds_what_the_model_holds(ops in ops(), seed in 1u64..u64::MAX) {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new(dir.path());
        let disk = FaultyDisk::new(&dir.path().join("trash"));
        let opened = open_on(&options, Arc::new(disk.clone())).unwrap();
        let model = Model { batches: Vec::new(), end: 0 };
        let mut world = World { options, disk, opened, model, random: Random(seed) };
        for op in &ops {
            world.run(op);
        }
    }
}
