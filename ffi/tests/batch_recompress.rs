//! Batches of the same records in another codec.

#[path = "fixtures/support.rs"]
mod support;

use chronik::codec::{Codec, compress_at, decompress};
use chronik::record::{
    Batch, BatchError, BatchHeader, BatchSpec, Limits, RecordSpec, encode_batch, recompress,
};
use proptest::prelude::*;

use support::*;

const LEVELS: [Option<i32>; 8] = [
    None,
    Some(-131_072),
    Some(-1),
    Some(1),
    Some(5),
    Some(9),
    Some(17),
    Some(22),
];

fn fields(header: BatchHeader) -> BatchHeader {
    BatchHeader {
        length: 0,
        crc: 0,
        attributes: header.attributes & !7,
        ..header
    }
}

fn records_of(bytes: &[u8]) -> Vec<u8> {
    let batch = Batch::parse(bytes).unwrap();
    batch.check_crc().unwrap();
    decompress(batch.header.codec().unwrap(), batch.payload(), 1 << 24).unwrap()
}

type Fields = (
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    i64,
    Vec<(Vec<u8>, Option<Vec<u8>>)>,
);

fn any_record() -> impl Strategy<Value = Fields> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let value = prop_oneof![
        prop::option::of(bytes()),
        (any::<u8>(), 0usize..3000).prop_map(|(byte, count)| Some(vec![byte; count])),
    ];
    let headers = prop::collection::vec((bytes(), prop::option::of(bytes())), 0..3);
    (prop::option::of(bytes()), value, 0i64..1 << 40, headers)
}

proptest! {
    #[test]
    fn records_and_header_stay(
        all in prop::collection::vec(any_record(), 1..20),
        from in 0usize..5,
        to in 0usize..5,
        level in 0usize..LEVELS.len(),
        producer in prop::option::of((0i64..1 << 40, 0i16..1000, 0i32..i32::MAX, any::<bool>())),
    ) {
        let records: Vec<RecordSpec<'_>> = all
            .iter()
            .enumerate()
            .map(|(index, (key, value, timestamp, headers))| RecordSpec {
                offset_delta: index as i32,
                timestamp: *timestamp,
                key: key.as_deref(),
                value: value.as_deref(),
                headers: headers.iter().map(|(k, v)| (k.as_slice(), v.as_deref())).collect(),
            })
            .collect();
        let (producer_id, producer_epoch, base_sequence, transactional) =
            producer.unwrap_or((-1, -1, -1, false));
        let spec = BatchSpec {
            codec: CODECS[from],
            producer_id,
            producer_epoch,
            base_sequence,
            transactional,
            ..BatchSpec::default()
        };
        let sent = encode_batch(&spec, &records).unwrap();
        let codec = CODECS[to];
        let made = recompress(&sent, &Limits::CLIENT, codec, LEVELS[level], 1 << 24).unwrap();
        let bytes = made.batch.unwrap();
        let batch = Batch::parse(&bytes).unwrap();
        prop_assert_eq!(bytes.len(), made.batch_bytes);
        prop_assert_eq!(batch.header.codec().unwrap(), codec);
        prop_assert_eq!(fields(batch.header), fields(made.info.header));
        prop_assert_eq!(records_of(&bytes), records_of(&sent));
        // And it is a batch that a producer could have sent.
        let again = recompress(&bytes, &Limits::CLIENT, Codec::None, None, 1 << 24).unwrap();
        prop_assert_eq!(again.info.max_timestamp, made.info.max_timestamp);
    }

    #[test]
    fn a_flip_is_refused(at in any::<prop::sample::Index>(), bit in 0u8..8, to in 0usize..5) {
        let spec = BatchSpec { codec: Codec::Gzip, ..BatchSpec::default() };
        let record = RecordSpec { value: Some(b"value"), ..RecordSpec::default() };
        let mut bad = encode_batch(&spec, &[record]).unwrap();
        let at = at.index(bad.len());
        bad[at] ^= 1 << bit;
        let outside = at < 8 || (12..16).contains(&at);
        let made = recompress(&bad, &Limits::CLIENT, CODECS[to], None, 1 << 20);
        prop_assert_eq!(made.is_ok(), outside);
    }
}

#[test]
fn the_limit_of_the_new_batch_is_exact() {
    let value = vec![b'x'; 10_000];
    let record = RecordSpec {
        value: Some(&value),
        ..RecordSpec::default()
    };
    let spec = BatchSpec {
        codec: Codec::Gzip,
        ..BatchSpec::default()
    };
    let sent = encode_batch(&spec, &[record]).unwrap();
    for codec in CODECS {
        let made = |max| recompress(&sent, &Limits::CLIENT, codec, None, max).unwrap();
        let bytes = made(1 << 20).batch_bytes;
        assert_eq!(made(bytes).batch.unwrap().len(), bytes, "{codec}");
        let over = made(bytes - 1);
        assert!(over.batch.is_none(), "{codec}");
        assert_eq!(over.batch_bytes, bytes, "{codec}");
    }
    let limits = Limits {
        records_bytes_max: 9_999,
        ..Limits::CLIENT
    };
    let bomb = recompress(&sent, &limits, Codec::Zstd, None, 1 << 20);
    assert!(matches!(bomb, Err(BatchError::Codec(_))), "{bomb:?}");
}

#[test]
fn levels_change_the_size() {
    let mut random = Random(7);
    let text: Vec<u8> = (0..300)
        .flat_map(|n| order_json(&mut random, n, 600).into_bytes())
        .collect();
    let size = |codec, level| {
        let packed = compress_at(codec, Some(level), &text).unwrap();
        assert_eq!(decompress(codec, &packed, 1 << 24).unwrap(), text);
        packed.len()
    };
    assert!(size(Codec::Gzip, 9) < size(Codec::Gzip, 1));
    assert_eq!(size(Codec::Gzip, -1), size(Codec::Gzip, 6));
    assert!(size(Codec::Zstd, 19) < size(Codec::Zstd, 1));
    assert!(size(Codec::Zstd, 1) < size(Codec::Zstd, -131_072));
    // Kafka's default of 9 is the fast compressor; all else is denser or, below 3, as fast.
    assert!(size(Codec::Lz4, 12) < size(Codec::Lz4, 9));
    assert!(size(Codec::Lz4, 10) < size(Codec::Lz4, 9));
    assert_eq!(size(Codec::Lz4, 17), size(Codec::Lz4, 12));
}
