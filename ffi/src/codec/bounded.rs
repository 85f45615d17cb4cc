//! Reads a decoder to its end into a buffer that never grows past a limit.

use std::io::{ErrorKind, Read};

use super::{Codec, CodecError};

const GROWTH_BYTES_MIN: usize = 4 * 1024;

/// Reads `reader` to its end: the bytes, or `TooLarge` when there are more than `out_bytes_max`.
///
/// The buffer starts from the input's length and doubles, cut to the limit and one byte: the byte
/// that tells "exactly the limit" from "more".
pub fn read_bounded(
    codec: Codec,
    mut reader: impl Read,
    input_bytes: usize,
    out_bytes_max: usize,
) -> Result<Vec<u8>, CodecError> {
    let cap = out_bytes_max.saturating_add(1);
    let mut out: Vec<u8> = Vec::new();
    let mut used = 0usize;
    loop {
        if used == out.len() {
            if used >= cap {
                return Err(CodecError::TooLarge {
                    limit: out_bytes_max,
                });
            }
            let step = used
                .max(input_bytes.saturating_mul(2))
                .max(GROWTH_BYTES_MIN);
            let next = used.saturating_add(step).min(cap);
            out.reserve_exact(next - used);
            out.resize(next, 0);
        }
        let Some(free) = out.get_mut(used..) else {
            return Err(codec.corrupt("decoder overran its buffer"));
        };
        match reader.read(free) {
            Ok(0) => break,
            Ok(n) => used += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(codec.corrupt(e)),
        }
    }
    if used > out_bytes_max {
        return Err(CodecError::TooLarge {
            limit: out_bytes_max,
        });
    }
    out.truncate(used);
    Ok(out)
}
