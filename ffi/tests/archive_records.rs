//! Batches: header and record checks, walks, searches by time.

#[path = "fixtures/support.rs"]
mod support;

use chronik::codec::Codec;
use chronik::record::{
    Batch, BatchError, BatchSpec, HEADER_BYTES, Limits, Origin, RecordSpec, decode_records,
    encode_batch, find_timestamp, max_timestamp, validate_batch, validate_header, validate_records,
};
use proptest::prelude::*;

use support::*;

const LOG: Limits = Limits {
    origin: Origin::Log,
    ..Limits::CLIENT
};

fn records(count: i32) -> Vec<RecordSpec<'static>> {
    (0..count)
        .map(|i| RecordSpec {
            offset_delta: i,
            timestamp: TIME + i64::from(i % 3),
            key: (i % 2 == 0).then_some(&b"k"[..]),
            value: Some(b"value"),
            headers: vec![(b"h", None), (b"", Some(b""))],
        })
        .collect()
}

fn with_crc(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// `batch` with `bytes` at `position`, its CRC put right.
fn patched(batch: &[u8], position: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = batch.to_vec();
    batch[position..position + bytes.len()].copy_from_slice(bytes);
    with_crc(batch)
}

/// An uncompressed batch around hand-made record bytes.
fn around(payload: &[u8], count: i32) -> Vec<u8> {
    let mut batch = encode_batch(&BatchSpec::default(), &records(1)).unwrap();
    batch.truncate(HEADER_BYTES);
    batch.extend_from_slice(payload);
    let length = batch.len() as i32 - 12;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    with_crc(batch)
}

#[test]
fn valid_batches_of_every_codec() {
    for codec in CODECS {
        let spec = BatchSpec {
            base_offset: 50,
            codec,
            ..BatchSpec::default()
        };
        let bytes = encode_batch(&spec, &records(40)).unwrap();
        let info = validate_batch(&bytes, &Limits::CLIENT).unwrap();
        assert_eq!(
            (info.header.record_count, info.header.last_offset()),
            (40, 89)
        );
        assert_eq!((info.all_keyed, info.max_timestamp), (false, TIME + 2));
        assert!(info.records_bytes > 40 * 10);
        let batch = Batch::parse(&bytes).unwrap();
        let decoded = decode_records(&batch, 1 << 20).unwrap();
        let read: Vec<_> = decoded.iter().map(|r| r.unwrap()).collect();
        assert_eq!(read.len(), 40);
        assert_eq!((read[7].offset, read[7].timestamp), (57, TIME + 1));
        assert_eq!((read[7].key, read[8].key), (None, Some(&b"k"[..])));
        let headers: Vec<_> = read[0].headers.collect();
        assert_eq!(headers.len(), 2);
        assert_eq!((headers[0].key, headers[0].value), (&b"h"[..], None));
        assert_eq!(
            (headers[1].key, headers[1].value),
            (&b""[..], Some(&b""[..]))
        );
    }
    let keyed = records(9)
        .into_iter()
        .step_by(2)
        .enumerate()
        .map(|(i, r)| RecordSpec {
            offset_delta: i as i32,
            ..r
        });
    let keyed: Vec<_> = keyed.collect();
    let bytes = encode_batch(&BatchSpec::default(), &keyed).unwrap();
    assert!(validate_batch(&bytes, &Limits::CLIENT).unwrap().all_keyed);
}

#[test]
fn headers_that_lie() {
    let good = encode_batch(&BatchSpec::default(), &records(3)).unwrap();
    validate_header(&good, Origin::Client).unwrap();
    type Check = fn(&BatchError) -> bool;
    let invalid: Check = |e| matches!(e, BatchError::Invalid { .. });
    let cases: [(&str, Vec<u8>, Check); 15] = [
        (
            "crc",
            {
                let mut b = good.clone();
                b[17] ^= 1;
                b
            },
            |e| matches!(e, BatchError::Crc { .. }),
        ),
        (
            "payload",
            {
                let mut b = good.clone();
                b[80] ^= 1;
                b
            },
            |e| matches!(e, BatchError::Crc { .. }),
        ),
        ("magic 1", patched(&good, 16, &[1]), |e| {
            matches!(e, BatchError::UnsupportedMagic { magic: 1 })
        }),
        (
            "length + 1",
            {
                let mut b = good.clone();
                b[11] += 1;
                b
            },
            |e| matches!(e, BatchError::Length { .. }),
        ),
        (
            "negative length",
            {
                let mut b = good.clone();
                b[8] = 0x80;
                b
            },
            |e| matches!(e, BatchError::Length { .. }),
        ),
        ("trailing byte", [good.clone(), vec![0]].concat(), |e| {
            matches!(e, BatchError::Length { .. })
        }),
        ("codec 5", patched(&good, 21, &[0, 5]), |e| {
            matches!(e, BatchError::Codec(_))
        }),
        ("attribute bit 7", patched(&good, 21, &[0, 0x80]), invalid),
        ("attribute bit 15", patched(&good, 21, &[0x80, 0]), invalid),
        ("control", patched(&good, 21, &[0, 0x20]), invalid),
        ("delete horizon", patched(&good, 21, &[0, 0x40]), invalid),
        ("log append time", patched(&good, 21, &[0, 8]), |e| {
            matches!(e, BatchError::InvalidTimestamp)
        }),
        ("count", patched(&good, 57, &4i32.to_be_bytes()), invalid),
        (
            "no records",
            patched(&patched(&good, 57, &[0; 4]), 23, &(-1i32).to_be_bytes()),
            invalid,
        ),
        (
            "producer without sequence",
            patched(&good, 43, &5i64.to_be_bytes()),
            invalid,
        ),
    ];
    for (name, bytes, check) in cases {
        let error = validate_header(&bytes, Origin::Client).unwrap_err();
        assert!(check(&error), "{name}: {error}");
    }
    for end in 0..HEADER_BYTES {
        assert!(validate_header(&good[..end], Origin::Client).is_err());
    }
    let control = patched(&good, 21, &[0, 0x20]);
    validate_header(&control, Origin::Log).unwrap();
}

#[test]
fn records_that_lie() {
    // length, attributes, timestamp delta, offset delta, key -1, value -1, headers 0
    let record = |delta: u8| vec![12u8, 0, 0, delta * 2, 1, 1, 0];
    let two = [record(0), record(1)].concat();
    validate_records(&around(&two, 2), &Limits::CLIENT).unwrap();
    let cases: [(&str, Vec<u8>, i32); 13] = [
        ("one too few", record(0), 2),
        ("one too many", [two.clone(), record(2)].concat(), 2),
        ("a byte left over", [two.clone(), vec![0]].concat(), 2),
        ("sparse deltas", [record(0), record(2)].concat(), 2),
        ("equal deltas", [record(0), record(0)].concat(), 2),
        ("not from 0", record(1), 1),
        (
            "record longer than its fields",
            vec![14, 0, 0, 0, 1, 1, 0, 0],
            1,
        ),
        (
            "record shorter than its fields",
            vec![10, 0, 0, 0, 1, 1, 0],
            1,
        ),
        ("negative length", vec![1, 0, 0, 0, 1, 1, 0], 1),
        ("key length -2", vec![12, 0, 0, 0, 3, 1, 0], 1),
        ("value past the end", vec![12, 0, 0, 0, 1, 0x7e, 0], 1),
        (
            "a billion headers",
            vec![20, 0, 0, 0, 1, 1, 0x80, 0x94, 0xeb, 0xdc, 3],
            1,
        ),
        (
            "varint of 6 bytes",
            vec![0x8c, 0x80, 0x80, 0x80, 0x80, 0, 0, 0, 0, 1, 1, 0],
            1,
        ),
    ];
    for (name, payload, count) in cases {
        let result = validate_records(&around(&payload, count), &Limits::CLIENT);
        assert!(result.is_err(), "{name}");
    }
    // A null header key.
    assert!(validate_records(&around(&[16, 0, 0, 0, 1, 1, 2, 1, 1], 1), &Limits::CLIENT).is_err());
    let few = Limits {
        headers_max: 1,
        ..Limits::CLIENT
    };
    let bytes = encode_batch(&BatchSpec::default(), &records(1)).unwrap();
    assert!(validate_records(&bytes, &few).is_err());
    // A compacted batch: deltas rise with holes, and are fewer than the offsets.
    let sparse = [record(0), record(3)].concat();
    let mut compacted = around(&sparse, 2);
    compacted[23..27].copy_from_slice(&4i32.to_be_bytes());
    let compacted = with_crc(compacted);
    assert!(validate_records(&compacted, &Limits::CLIENT).is_err());
    validate_records(&compacted, &LOG).unwrap();
}

#[test]
fn a_bomb_in_a_batch() {
    let zeros = vec![0u8; 8 << 20];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let spec = BatchSpec {
            codec,
            ..BatchSpec::default()
        };
        let record = [RecordSpec {
            value: Some(&zeros),
            ..RecordSpec::default()
        }];
        let bytes = encode_batch(&spec, &record).unwrap();
        let tight = Limits {
            records_bytes_max: 1 << 20,
            ..Limits::CLIENT
        };
        let error = validate_batch(&bytes, &tight).unwrap_err();
        assert!(error.to_string().contains("larger than"), "{error}");
        validate_header(&bytes, Origin::Client).unwrap();
    }
}

#[test]
fn offsets_by_time() {
    let times = |base_offset: i64, times: &[i64], log_append_time| {
        let records: Vec<_> = times
            .iter()
            .enumerate()
            .map(|(i, timestamp)| RecordSpec {
                offset_delta: i as i32,
                timestamp: *timestamp,
                ..RecordSpec::default()
            })
            .collect();
        let spec = BatchSpec {
            base_offset,
            log_append_time,
            codec: Codec::Lz4,
            ..BatchSpec::default()
        };
        encode_batch(&spec, &records).unwrap()
    };
    let log = [
        times(0, &[10, 30, 20], false),
        times(3, &[25, 40, 40], false),
        times(6, &[12, 40], false),
    ]
    .concat();
    let find = |target| find_timestamp(&log, 0, target, 1 << 20).unwrap();
    assert_eq!(find(0), Some((0, 10)));
    assert_eq!(find(11), Some((1, 30)));
    assert_eq!(find(30), Some((1, 30)));
    assert_eq!(find(31), Some((4, 40)));
    assert_eq!(find(41), None);
    assert_eq!(max_timestamp(&log, 0, 1 << 20).unwrap(), Some((4, 40)));
    for from in 0..6 {
        let hit = find_timestamp(&log, from, 0, 1 << 20).unwrap();
        assert!(
            hit.is_none_or(|(offset, _)| offset >= from),
            "{hit:?} from {from}"
        );
        let newest = max_timestamp(&log, from, 1 << 20).unwrap();
        assert!(
            newest.is_none_or(|(offset, _)| offset >= from),
            "{newest:?} from {from}"
        );
    }

    let appended = [times(0, &[1, 5, 2], true), times(3, &[4, 9, 7], true)].concat();
    assert_eq!(
        find_timestamp(&appended, 0, 3, 1 << 20).unwrap(),
        Some((0, 5))
    );
    assert_eq!(
        find_timestamp(&appended, 0, 6, 1 << 20).unwrap(),
        Some((3, 9))
    );
    assert_eq!(max_timestamp(&appended, 0, 1 << 20).unwrap(), Some((5, 9)));

    let timeless = times(0, &[-1, -1], false);
    assert_eq!(max_timestamp(&timeless, 0, 1 << 20).unwrap(), None);
    assert_eq!(find_timestamp(&timeless, 0, 0, 1 << 20).unwrap(), None);
    assert!(find_timestamp(&log[..log.len() - 1], 0, 41, 1 << 20).is_err());
}

proptest! {
    #[test]
    fn any_garbage_is_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..300), sane in any::<bool>()) {
        if sane && bytes.len() > HEADER_BYTES {
            // Past the cheap checks, into the records.
            let (length, count) = (bytes.len() as i32 - 12, 1 + i32::from(bytes[60] % 4));
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            let codec = bytes[22] % 5;
            bytes[21..23].copy_from_slice(&[0, codec]);
            bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
            bytes[57..61].copy_from_slice(&count.to_be_bytes());
            bytes = with_crc(bytes);
        }
        let _ = validate_batch(&bytes, &Limits::CLIENT);
        let _ = validate_batch(&bytes, &LOG);
        let _ = find_timestamp(&bytes, 0, 5, 10_000);
        let _ = max_timestamp(&bytes, 0, 10_000);
    }

    #[test]
    fn a_flip_is_seen(at in any::<prop::sample::Index>(), bit in 0u8..8, codec in 0usize..5) {
        let spec = BatchSpec { codec: CODECS[codec], ..BatchSpec::default() };
        let good = encode_batch(&spec, &records(5)).unwrap();
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] ^= 1 << bit;
        // Base offset and leader epoch are outside the CRC: the log writes them.
        let outside = at < 8 || (12..16).contains(&at);
        prop_assert_eq!(validate_batch(&bad, &Limits::CLIENT).is_ok(), outside);
    }
}
