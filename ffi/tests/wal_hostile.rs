//! What a client's bytes, a changed bound or a lone broken frame may not do to recovery.

mod wal_support;

use chronik::status::Status;
use wal_support::{
    Options, Random, data_end, long_segments, one, open, segment_files, three_files,
};

/// A batch whose last bytes are a footer frame, at the end of a file without reserved space: after
/// a crash it is a batch like any other.
#[test]
fn a_footer_inside_a_batch_is_no_footer() {
    use chronik::wal::frame::{HEADER_BYTES, Identity};
    use chronik::wal::index::SparseIndex;
    use chronik::wal::segment::{SegmentMeta, encode_footer, footer_header};
    for before in [0, 2] {
        let dir = tempfile::tempdir().unwrap();
        let options = long_segments(&dir);
        let opened = open(&options).unwrap();
        let mut bodies: Vec<_> = (0..before)
            .map(|base| one(base, &mut Random(3), 50))
            .collect();
        for body in &bodies {
            assert_eq!(opened.append(std::slice::from_ref(body)), [Status::Ok]);
        }
        let start = if before == 0 { 0 } else { data_end(&opened) };
        let mut body = one(before, &mut Random(4), 400);
        let index = SparseIndex::default();
        let mut meta = SegmentMeta {
            id: 0,
            base: 0,
            last: before,
            bytes: 0,
            records: 1,
            max_timestamp: 1,
            sealed: true,
            cleaned: false,
            first_append_ms: 1,
        };
        let room = HEADER_BYTES + encode_footer(&meta, &index).len();
        meta.bytes = start + (HEADER_BYTES + body.len() - room) as u64;
        let identity = Identity {
            log_id: wal_support::LOG_ID,
            partition: 0,
            segment_id: 0,
        };
        let footer = encode_footer(&meta, &index);
        let mut forged = Vec::new();
        footer_header(&meta, identity, 1, 1).encode(&footer, &mut forged);
        forged.extend(footer);
        let at = body.len() - room;
        body[at..].copy_from_slice(&forged);
        assert_eq!(opened.append(std::slice::from_ref(&body)), [Status::Ok]);
        bodies.push(body);
        let (path, end) = (segment_files(&options)[0].clone(), data_end(&opened));
        drop(opened);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_len(end).unwrap();
        let opened = open(&options).unwrap();
        assert_eq!(opened.damaged(), None);
        assert!(
            !opened.log.segments()[0].sealed,
            "a client sealed the segment"
        );
        assert_eq!(opened.read_all().unwrap(), bodies.concat());
    }
}

/// A torn tail full of frame headers that each claim all that follows is looked through once.
#[test]
fn a_torn_tail_of_headers_is_walked_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        segment_bytes_max: 64 << 20,
        ..long_segments(&dir)
    };
    let opened = open(&options).unwrap();
    let body = one(0, &mut Random(3), 50);
    assert_eq!(opened.append(std::slice::from_ref(&body)), [Status::Ok]);
    let end = data_end(&opened);
    drop(opened);
    let path = segment_files(&options)[0].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.truncate(end as usize);
    // The file's own frame header, of another salt, over and over.
    let mut head = bytes[..88].to_vec();
    head[8..12].copy_from_slice(&((1u32 << 20) - 200).to_le_bytes());
    head[64..72].copy_from_slice(&u64::MAX.to_le_bytes());
    head[76] ^= 1;
    bytes.push(1);
    for _ in 0..(16 << 20) / head.len() {
        bytes.extend(&head);
    }
    std::fs::write(&path, &bytes).unwrap();
    let start = std::time::Instant::now();
    let opened = open(&options).unwrap();
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    assert_eq!(opened.damaged(), None);
    assert_eq!(opened.read_all().unwrap(), body);
}

/// The bound on batches is of what comes in: a lower one does not turn what is there to garbage.
#[test]
fn a_lower_bound_on_batches_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = long_segments(&dir);
    let bodies = three_files(&options, 3);
    let lower = Options {
        frame_bytes_max: 128,
        ..options
    };
    let opened = open(&lower).unwrap();
    assert_eq!(opened.damaged(), None);
    assert_eq!(opened.read_all().unwrap(), bodies.concat());
    let longer = one(bodies.len() as i64, &mut Random(1), 100);
    assert_eq!(opened.append(&[longer]), [Status::TooLarge]);
}

/// The only file's first frame is broken, and the checkpoint knows of it: kept, not cleaned up.
#[test]
fn a_broken_first_frame_below_the_checkpoint_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        from_offset: 1,
        ..long_segments(&dir)
    };
    let opened = open(&Options {
        from_offset: 0,
        ..Options::new(dir.path())
    });
    let opened = opened.unwrap();
    assert_eq!(opened.append(&[one(0, &mut Random(1), 100)]), [Status::Ok]);
    drop(opened);
    let path = segment_files(&options)[0].clone();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[150] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let damage = open(&options).unwrap().damaged().expect("damage");
    assert!(damage.reason.contains("checkpoint"), "{damage}");
    assert!(std::fs::read(&path).unwrap() == bytes, "the file stays");
}
