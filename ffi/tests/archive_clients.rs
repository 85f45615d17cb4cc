//! Bytes that other implementations wrote; `fixtures/batches/` says how.

use std::fs;
use std::path::{Path, PathBuf};

use chronik::codec::{Codec, decompress};
use chronik::record::{
    Batch, BatchError, Limits, Origin, decode_records, find_timestamp, max_timestamp,
    validate_batch, validate_header, validate_records,
};

const TIME: i64 = 1_700_000_000_000;

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/batches");
    let path: PathBuf = folder.join(name);
    fs::read(&path).unwrap()
}

#[test]
fn java_batches_of_every_codec() {
    for (name, codec) in [
        ("none", Codec::None),
        ("gzip", Codec::Gzip),
        ("snappy", Codec::Snappy),
        ("lz4", Codec::Lz4),
        ("zstd", Codec::Zstd),
    ] {
        let bytes = fixture(&format!("java-{name}.bin"));
        let info = validate_batch(&bytes, &Limits::CLIENT).unwrap();
        let header = info.header;
        assert_eq!(header.codec().unwrap(), codec);
        assert_eq!((header.base_offset, header.last_offset()), (1000, 1099));
        assert_eq!((header.producer_id, header.producer_epoch), (7, 2));
        assert_eq!((header.base_sequence, header.leader_epoch), (5, 4));
        assert_eq!((info.all_keyed, info.max_timestamp), (false, TIME + 20));
        assert_eq!(header.max_timestamp, TIME + 20);

        let batch = Batch::parse(&bytes).unwrap();
        let decoded = decode_records(&batch, 1 << 20).unwrap();
        for (i, record) in decoded.iter().enumerate() {
            let record = record.unwrap();
            assert_eq!(record.offset, 1000 + i as i64);
            assert_eq!(record.timestamp, TIME + (i as i64 % 5) * 10 - 20);
            let key = format!("key-{i}");
            assert_eq!(record.key, (i % 10 != 0).then_some(key.as_bytes()));
            let value = format!("{{\"n\":{i},\"text\":\"grün €{}\"}}", "x".repeat(i * 20));
            assert_eq!(record.value, (i % 7 != 0).then_some(value.as_bytes()));
            let headers: Vec<_> = record.headers.collect();
            assert_eq!(headers.len(), usize::from(i % 3 != 0));
            if let Some(header) = headers.first() {
                assert_eq!(header.key, format!("h{i}").as_bytes());
                let value: Option<&[u8]> = (i % 2 != 0).then_some(&[1, 2, 0xff]);
                assert_eq!(header.value, value);
            }
        }
        assert_eq!(
            find_timestamp(&bytes, TIME, 1 << 20).unwrap(),
            Some((1002, TIME))
        );
        assert_eq!(
            max_timestamp(&bytes, 1 << 20).unwrap(),
            Some((1004, TIME + 20))
        );
    }
}

#[test]
fn java_transaction_and_its_marker() {
    let data = fixture("java-transactional.bin");
    let info = validate_batch(&data, &Limits::CLIENT).unwrap();
    assert!(info.header.is_transactional() && !info.header.is_control());
    let marker = fixture("java-abort-marker.bin");
    let error = validate_header(&marker, Origin::Client).unwrap_err();
    assert!(matches!(error, BatchError::Invalid { .. }));
    let limits = Limits {
        origin: Origin::Log,
        ..Limits::CLIENT
    };
    let info = validate_records(&marker, &limits).unwrap();
    assert!(info.header.is_transactional() && info.header.is_control());
}

/// klauspost/compress (franz-go's) and pierrec/lz4 (sarama's): a raw snappy block, a zstd stream
/// that does not state its size, lz4 frames with all checksums and with the content's size.
#[test]
fn payloads_of_go_clients() {
    let line = "the quick brown fox jumps over the lazy dog; ";
    let expected: Vec<u8> = (0..5000)
        .flat_map(|i| format!("{i} {line}").into_bytes())
        .collect();
    for (name, codec) in [
        ("go-snappy-raw.bin", Codec::Snappy),
        ("go-zstd-stream.bin", Codec::Zstd),
        ("go-lz4-4mb-checksums.bin", Codec::Lz4),
        ("go-lz4-64kb.bin", Codec::Lz4),
        ("go-gzip.bin", Codec::Gzip),
    ] {
        let bytes = fixture(name);
        assert!(
            decompress(codec, &bytes, 1 << 20).unwrap() == expected,
            "{name}"
        );
        let tight = decompress(codec, &bytes, expected.len() - 1);
        assert!(tight.is_err(), "{name}");
    }
}
