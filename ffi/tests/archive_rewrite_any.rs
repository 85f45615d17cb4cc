//! Any archives make their concatenation, and any damage to one of them is found.

#[path = "fixtures/rewriting.rs"]
mod rewriting;
#[path = "fixtures/support.rs"]
mod support;

use std::fs;

use chronik::archive::RewriteIndex;
use chronik::index::IndexMode;
use proptest::prelude::*;

use rewriting::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_sources_make_their_concatenation(
        records in prop::collection::vec(1usize..400, 1..6),
        base in 0i64..1_000_000,
        with_index in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mode = if with_index { IndexMode::Full } else { IndexMode::None };
        let (paths, all) = sources(dir.path(), base, &records, mode);
        let count = records.iter().sum::<usize>() as i64;
        let target = dir.path().join("merged.tar.gz");
        let spec = rewrite_spec(dir.path(), base, base + count - 1, RewriteIndex::Merge);
        let summary = merge(&paths, &target, spec).unwrap();
        verified(&target, &summary);
        prop_assert_eq!(batches_of_archive(&target), all);
        if with_index {
            // Every manifest names an abort, but no record is transactional.
            let index = opened_index(&target, &dir.path().join("opened"));
            let expected: Vec<u64> = (base as u64..(base + count) as u64).collect();
            prop_assert_eq!(offsets(&index), expected);
        }
    }

    #[test]
    fn a_flipped_bit_is_found_or_means_nothing(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let dir = tempfile::tempdir().unwrap();
        let (paths, all) = sources(dir.path(), 0, &[60, 60], IndexMode::Full);
        let mut bytes = fs::read(&paths[1]).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        fs::write(&paths[1], bytes).unwrap();
        let target = dir.path().join("merged.tar.gz");
        let spec = rewrite_spec(dir.path(), 0, 119, RewriteIndex::Merge);
        match merge(&paths, &target, spec) {
            Ok(summary) => {
                verified(&target, &summary);
                prop_assert_eq!(batches_of_archive(&target), all);
                let index = opened_index(&target, &dir.path().join("opened"));
                prop_assert_eq!(offsets(&index).len(), 120);
            }
            Err(_) => prop_assert!(!target.exists()),
        }
    }
}
