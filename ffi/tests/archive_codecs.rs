//! The four codecs: round trips, bombs, damage, and bytes that real clients write.

#[path = "fixtures/support.rs"]
mod support;

use chronik::codec::{Codec, CodecError, compress, decompress};
use proptest::prelude::*;

use support::*;

const COMPRESSED: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_bomb_costs_its_limit() {
    let bomb = vec![0u8; 256 << 20];
    let packed: Vec<(Codec, Vec<u8>)> = COMPRESSED
        .iter()
        .map(|codec| (*codec, compress(*codec, &bomb).unwrap()))
        .collect();
    drop(bomb);
    // Start counting the peak anew.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_kib();
    for (codec, input) in &packed {
        let result = decompress(*codec, input, 1 << 20);
        assert!(
            matches!(result, Err(CodecError::TooLarge { limit }) if limit == 1 << 20),
            "{codec}: {result:?}"
        );
    }
    let raw_snappy = snap::raw::Encoder::new()
        .compress_vec(&vec![0; 2 << 20])
        .unwrap();
    assert!(matches!(
        decompress(Codec::Snappy, &raw_snappy, 1 << 20),
        Err(CodecError::TooLarge { .. })
    ));
    let grown = peak_kib() - before;
    assert!(grown < 24 * 1024, "{grown} KiB for limits of 1 MiB");
}

#[test]
fn the_limit_is_exact() {
    let data: Vec<u8> = (0..100_000u32).map(|i| (i / 7) as u8).collect();
    for codec in CODECS {
        let packed = compress(codec, &data).unwrap();
        assert_eq!(
            decompress(codec, &packed, data.len()).unwrap(),
            data,
            "{codec}"
        );
        let result = decompress(codec, &packed, data.len() - 1);
        assert!(
            matches!(result, Err(CodecError::TooLarge { .. })),
            "{codec}: {result:?}"
        );
    }
}

#[test]
fn lying_lengths() {
    // Raw snappy that claims 4 GiB, 512 MiB and one byte more than there is.
    for claim in [
        &[0xff, 0xff, 0xff, 0xff, 0x0f][..],
        &[0x80, 0x80, 0x80, 0x80, 0x02],
    ] {
        let result = decompress(Codec::Snappy, claim, 1 << 30);
        assert!(result.is_err(), "{claim:?}");
    }
    let mut block = snap::raw::Encoder::new().compress_vec(b"hello").unwrap();
    block[0] = 6;
    assert!(decompress(Codec::Snappy, &block, 100).is_err());
    // Xerial: negative block length, block past the end, cut header.
    let packed = compress(Codec::Snappy, b"hello hello hello").unwrap();
    for (position, bytes) in [(16, [0xff; 4]), (16, [0, 0, 1, 0])] {
        let mut lying = packed.clone();
        lying[position..position + 4].copy_from_slice(&bytes);
        assert!(decompress(Codec::Snappy, &lying, 100).is_err());
    }
    assert!(decompress(Codec::Snappy, &packed[..12], 100).is_err());
    for codec in COMPRESSED {
        assert!(decompress(codec, b"", 100).is_err(), "{codec} of nothing");
    }
}

#[test]
fn snappy_of_both_kinds() {
    let data = b"the same data, the same data, the same data";
    let raw = snap::raw::Encoder::new().compress_vec(data).unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw, 100).unwrap(), data);
    let framed = compress(Codec::Snappy, data).unwrap();
    assert!(framed.starts_with(b"\x82SNAPPY\0"));
    assert_eq!(decompress(Codec::Snappy, &framed, 100).unwrap(), data);
    let joined = [framed.clone(), framed].concat();
    assert_eq!(
        decompress(Codec::Snappy, &joined, 100).unwrap(),
        [&data[..], data].concat()
    );
}

#[test]
fn gzip_members_and_zstd_frames_join() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let joined = [
            compress(codec, b"one").unwrap(),
            compress(codec, b"two").unwrap(),
        ]
        .concat();
        assert_eq!(decompress(codec, &joined, 100).unwrap(), b"onetwo");
    }
}

#[test]
fn unknown_codecs() {
    for id in 0..=255u8 {
        match Codec::from_id(id) {
            Ok(codec) => assert_eq!((codec.id(), id < 5), (id, true)),
            Err(CodecError::UnknownCodec { id: found }) => assert!(found == id && id > 4),
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn truncation_is_never_taken_for_the_end() {
    let data: Vec<u8> = (0..200_000u32)
        .flat_map(|i| i.wrapping_mul(i).to_le_bytes())
        .collect();
    for codec in COMPRESSED {
        let packed = compress(codec, &data).unwrap();
        let step = packed.len() / 97 + 1;
        for end in (0..packed.len())
            .step_by(step)
            .chain(packed.len() - 8..packed.len())
        {
            if let Ok(out) = decompress(codec, &packed[..end], 1 << 24) {
                // Xerial has no end mark: between two blocks an early end cannot be seen.
                assert!(
                    codec == Codec::Snappy && data.starts_with(&out),
                    "{codec} at {end}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_round_trip(
        data in prop::collection::vec(any::<u8>(), 0..5000),
        codec in 0usize..5,
    ) {
        let codec = CODECS[codec];
        let packed = compress(codec, &data).unwrap();
        prop_assert_eq!(decompress(codec, &packed, data.len()).unwrap(), data);
    }

    #[test]
    fn any_garbage_is_an_answer(
        data in prop::collection::vec(any::<u8>(), 0..500),
        codec in 0usize..5,
    ) {
        let _ = decompress(CODECS[codec], &data, 10_000).map(|out| assert!(out.len() <= 10_000));
    }

    #[test]
    fn flips_never_pass_the_limit(
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        codec in 0usize..4,
    ) {
        let data = vec![7u8; 50_000];
        let mut packed = compress(COMPRESSED[codec], &data).unwrap();
        let at = at.index(packed.len());
        packed[at] ^= 1 << bit;
        if let Ok(out) = decompress(COMPRESSED[codec], &packed, 60_000) {
            prop_assert!(out.len() <= 60_000);
        }
    }
}
