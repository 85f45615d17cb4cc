//! An offset map in a scratch file: it is filled archive by archive, and read by each rewrite.
//!
//! Little endian: `CHRNKMAP`, version u32, end i64, keys u64, then per key its hash (16 bytes) and
//! its last offset i64; CRC-32C of all before it. Scratch is emptied at start: nothing is fsynced.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use thiserror::Error;

use super::{OFFSET_MAP_KEYS_MAX, OffsetMap};

const MAGIC: [u8; 8] = *b"CHRNKMAP";
const VERSION: u32 = 1;

#[derive(Debug, Error)]
pub enum MapFileError {
    #[error("offset map {path}: {source}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("offset map {path}: {reason}")]
    Damaged { path: String, reason: &'static str },
}

/// Replaces the file at `path`.
pub fn write_map(path: &Path, map: &OffsetMap) -> Result<(), MapFileError> {
    write_to(path, map).map_err(|source| MapFileError::Io {
        path: path.display().to_string(),
        source,
    })
}

fn write_to(path: &Path, map: &OffsetMap) -> io::Result<()> {
    let mut out = Summed {
        inner: BufWriter::with_capacity(1 << 20, File::create(path)?),
        crc: 0,
    };
    out.write_all(&MAGIC)?;
    out.write_all(&VERSION.to_le_bytes())?;
    out.write_all(&map.end().to_le_bytes())?;
    out.write_all(&(map.keys() as u64).to_le_bytes())?;
    for (key, offset) in map.entries() {
        out.write_all(key)?;
        out.write_all(&offset.to_le_bytes())?;
    }
    let crc = out.crc;
    out.inner.write_all(&crc.to_le_bytes())?;
    out.inner.flush()
}

/// Reads what `write_map` wrote.
pub fn read_map(path: &Path) -> Result<OffsetMap, MapFileError> {
    let failed = |source| MapFileError::Io {
        path: path.display().to_string(),
        source,
    };
    let damaged = |reason| MapFileError::Damaged {
        path: path.display().to_string(),
        reason,
    };
    let file = File::open(path).map_err(failed)?;
    let mut input = Summed {
        inner: BufReader::with_capacity(1 << 20, file),
        crc: 0,
    };
    let magic: [u8; 8] = input.take().map_err(failed)?;
    let version = u32::from_le_bytes(input.take().map_err(failed)?);
    if magic != MAGIC || version != VERSION {
        return Err(damaged("not of this version"));
    }
    let mut map = OffsetMap::starting_at(i64::from_le_bytes(input.take().map_err(failed)?));
    let keys = u64::from_le_bytes(input.take().map_err(failed)?);
    if keys > OFFSET_MAP_KEYS_MAX as u64 {
        return Err(damaged("more keys than a map may hold"));
    }
    for _ in 0..keys {
        let key: [u8; 16] = input.take().map_err(failed)?;
        let offset = i64::from_le_bytes(input.take().map_err(failed)?);
        map.insert_hashed(key, offset);
    }
    let crc = input.crc;
    let stored = u32::from_le_bytes(input.take().map_err(failed)?);
    if crc != stored {
        return Err(damaged("its CRC is another"));
    }
    Ok(map)
}

/// Sums what passes through.
struct Summed<T> {
    inner: T,
    crc: u32,
}

impl<W: Write> Summed<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        self.inner.write_all(bytes)
    }
}

impl<R: Read> Summed<R> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.inner.read_exact(&mut bytes)?;
        self.crc = crc32c::crc32c_append(self.crc, &bytes);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_comes_back_and_a_flipped_byte_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("map");
        let mut map = OffsetMap::starting_at(7);
        map.insert_hashed([1; 16], 9);
        map.insert_hashed([2; 16], 11);
        map.reaches(12);
        write_map(&path, &map).unwrap();
        let back = read_map(&path).unwrap();
        assert_eq!((back.end(), back.keys()), (12, 2));
        assert!(back.entries().any(|entry| entry == (&[2; 16], 11)));
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(read_map(&path).is_err(), "byte {at}");
        }
    }
}
