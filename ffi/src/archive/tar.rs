//! tar headers: written by the `tar` crate, read back strictly.

use super::ArchiveError;

pub const BLOCK_BYTES: usize = 512;

/// The header block of a regular file; `created_at` (ms) becomes its time.
pub fn encode_header(name: &str, bytes: u64, created_at: i64) -> Result<Vec<u8>, ArchiveError> {
    let mut header = tar::Header::new_gnu();
    header
        .set_path(name)
        .map_err(|e| ArchiveError::Spec(format!("tar name {name}: {e}")))?;
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_mtime(u64::try_from(created_at / 1000).unwrap_or(0));
    header.set_size(bytes);
    header.set_cksum();
    Ok(header.as_bytes().to_vec())
}

/// Zeros that follow a file of `bytes` bytes up to the next block.
pub fn padding_of(bytes: u64) -> usize {
    let block = BLOCK_BYTES as u64;
    ((block - bytes % block) % block) as usize
}

/// Reads a header block: name and size of a plain file. Links, folders, devices, extensions and
/// wrong checksums are refused: no archive of ours has them.
pub fn decode_header(block: &[u8]) -> Result<(String, u64), ArchiveError> {
    let bytes: &[u8; BLOCK_BYTES] = block
        .try_into()
        .map_err(|_| ArchiveError::damaged("tar header is not one block"))?;
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(bytes);
    let stated = header.cksum().ok();
    let mut expected = header.clone();
    expected.set_cksum();
    if stated.is_none() || stated != expected.cksum().ok() {
        return Err(ArchiveError::damaged("tar header checksum"));
    }
    if header.entry_type() != tar::EntryType::Regular {
        return Err(ArchiveError::damaged("tar entry is not a regular file"));
    }
    let size = header
        .entry_size()
        .map_err(|e| ArchiveError::damaged(format!("tar size: {e}")))?;
    let name = header.path_bytes();
    let name =
        std::str::from_utf8(&name).map_err(|_| ArchiveError::damaged("tar name is not text"))?;
    Ok((name.to_owned(), size))
}
