//! Bytes that change sides without a copy.

mod wal_support;

use chronik::abi::*;
use chronik::status::Status;
use serde_json::json;
use wal_support::client::open;

#[test]
fn bytes_are_lent_and_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut client = open(dir.path());
    let raw = vec![7u8; 1 << 20];
    let scratch = json!({ "op": "append_scratch", "path": "tmp/lent", "position": 0 });
    let (mut block, token) = client.job_block(&scratch, &[]);
    let status = unsafe {
        chronik_submit_lent(
            client.engine,
            block.as_ptr(),
            block.len() as u64,
            raw.as_ptr(),
            raw.len() as u64,
        )
    };
    assert_eq!(status, 0);
    assert_eq!(client.wait(token).status, 0);
    // Two commands in one block, and none at all: nothing can be lent to them.
    let copy = block.clone();
    block.extend(copy);
    for commands in [block.as_slice(), &[]] {
        let refused = unsafe {
            chronik_submit_lent(
                client.engine,
                commands.as_ptr(),
                commands.len() as u64,
                raw.as_ptr(),
                8,
            )
        };
        assert_eq!(refused, Status::InvalidArgument.code());
    }
    let (block, token) = client.job_block(&json!({ "op": "read_file", "path": "tmp/lent" }), &[]);
    assert_eq!(client.submit(&block), 0);
    let result = client.wait_without_result(token);
    let mut parts = [0u64; 2];
    let missing = Status::NotFound.code();
    unsafe {
        assert_eq!(chronik_take(client.engine, token, &raw mut parts), 0);
        assert_eq!(chronik_take(client.engine, token, &raw mut parts), missing);
    }
    assert_eq!(chronik_close(client.engine), 0);
    // The bytes outlive the engine.
    let bytes = unsafe { std::slice::from_raw_parts(parts[0] as *const u8, result) };
    assert_eq!(&bytes[bytes.len() - raw.len()..], raw.as_slice());
    let release: extern "C" fn(*mut u8, *mut u8) =
        unsafe { std::mem::transmute(chronik_releaser() as usize as *const ()) };
    release(parts[0] as *mut u8, parts[1] as *mut u8);
    assert_eq!(
        unsafe { chronik_take(client.engine, token, &raw mut parts) },
        Status::Closed.code()
    );
}
