//! Reads parts of an archive: its manifest from the front, its TOC from the end, a chunk or an
//! index file by its range alone.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use super::ArchiveError;
use super::format::{
    CHUNK_RAW_BYTES_MAX, LOCATOR_BYTES, MANIFEST_BYTES_MAX, MANIFEST_NAME, Manifest, TOC_BYTES_MAX,
    Toc, TocLocation,
};
use super::gzip::MemberReader;
use super::tar::{BLOCK_BYTES, decode_header};

/// Finds the TOC from the last bytes of an archive (`LOCATOR_BYTES` or more) of `archive_bytes`.
pub fn locate_toc(tail: &[u8], archive_bytes: u64) -> Result<TocLocation, ArchiveError> {
    let location = tail
        .last_chunk::<LOCATOR_BYTES>()
        .and_then(TocLocation::decode)
        .ok_or_else(|| ArchiveError::damaged("no locator at the end"))?;
    let end = location.position.checked_add(location.length);
    match end {
        Some(end) if end <= archive_bytes.saturating_sub(LOCATOR_BYTES as u64) => Ok(location),
        _ => Err(ArchiveError::damaged("the locator points past the end")),
    }
}

/// Reads the TOC from the bytes of its range, and checks it.
pub fn read_toc(member: &[u8], location: &TocLocation) -> Result<Toc, ArchiveError> {
    let json = inflate_member(member, TOC_BYTES_MAX as u64)?;
    if member.len() as u64 != location.length || crc32c::crc32c(&json) != location.crc32c {
        return Err(ArchiveError::damaged(
            "toc.json is not what the locator names",
        ));
    }
    Toc::parse(&json, location.position)
}

/// Inflates a chunk from the bytes of its range: exactly one member, of the stated length and
/// CRC-32C. What comes out is whole batches.
pub fn inflate_chunk(
    member: &[u8],
    raw_bytes: u64,
    crc32c_expected: u32,
) -> Result<Vec<u8>, ArchiveError> {
    if raw_bytes > CHUNK_RAW_BYTES_MAX as u64 {
        return Err(ArchiveError::damaged("chunk size"));
    }
    let bytes = inflate_member(member, raw_bytes)?;
    if bytes.len() as u64 != raw_bytes {
        return Err(ArchiveError::damaged("chunk is shorter than stated"));
    }
    if crc32c::crc32c(&bytes) != crc32c_expected {
        return Err(ArchiveError::damaged("chunk crc"));
    }
    Ok(bytes)
}

/// Inflates the member that `range` begins with into `sink`; it must hold exactly `bytes`.
pub fn copy_member(range: impl Read, bytes: u64, sink: &mut dyn Write) -> Result<(), ArchiveError> {
    let copied = MemberReader::without_hash(range).copy_member(bytes, sink)?;
    if copied == bytes {
        Ok(())
    } else {
        Err(ArchiveError::damaged("member is shorter than stated"))
    }
}

/// Reads the manifest of the archive at `path`.
pub fn read_manifest(path: &Path) -> Result<Manifest, ArchiveError> {
    let file = File::open(path).map_err(ArchiveError::io("open", path))?;
    read_manifest_from(file)
}

/// Reads the manifest from an archive's beginning; nothing after it is asked for beyond a buffer.
pub fn read_manifest_from(archive: impl Read) -> Result<Manifest, ArchiveError> {
    let mut members = MemberReader::without_hash(archive);
    let (name, bytes) = decode_header(&members.read_member(BLOCK_BYTES as u64)?)?;
    if name != MANIFEST_NAME || bytes > MANIFEST_BYTES_MAX as u64 {
        return Err(ArchiveError::damaged("manifest.json does not come first"));
    }
    let json = members.read_member(bytes)?;
    if json.len() as u64 != bytes {
        return Err(ArchiveError::damaged(
            "manifest.json is shorter than stated",
        ));
    }
    Manifest::parse(&json)
}

fn inflate_member(member: &[u8], bytes_max: u64) -> Result<Vec<u8>, ArchiveError> {
    let mut members = MemberReader::without_hash(member);
    let out = members.read_member(bytes_max)?;
    if members.position() != member.len() as u64 {
        return Err(ArchiveError::damaged("bytes after the member"));
    }
    Ok(out)
}
