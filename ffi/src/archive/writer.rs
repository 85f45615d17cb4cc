//! The archive file as it is written: members in order, their positions, one hash over all.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ArchiveError;
use super::gzip::{Level, MemberEncoder};
use super::tar::{BLOCK_BYTES, encode_header, padding_of};

/// Position and length of a gzip member, and the bytes it holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    pub position: u64,
    pub length: u64,
    pub bytes: u64,
}

pub struct ArchiveWriter {
    path: PathBuf,
    out: HashedWriter,
    encoder: MemberEncoder,
    created_at: i64,
    /// Zeros owed to the tar file before the next header.
    padding: usize,
}

impl ArchiveWriter {
    pub fn create(
        path: &Path,
        encoder: MemberEncoder,
        created_at: i64,
    ) -> Result<ArchiveWriter, ArchiveError> {
        let file = File::create(path).map_err(ArchiveError::io("create", path))?;
        Ok(ArchiveWriter {
            path: path.to_path_buf(),
            out: HashedWriter {
                file: BufWriter::with_capacity(128 * 1024, file),
                hash: Sha256::new(),
                position: 0,
            },
            encoder,
            created_at,
            padding: 0,
        })
    }

    pub fn position(&self) -> u64 {
        self.out.position
    }

    /// Writes a whole file: header, then its content as one member.
    pub fn file(
        &mut self,
        name: &str,
        level: Level,
        bytes: u64,
        content: &mut dyn Read,
    ) -> Result<Range, ArchiveError> {
        self.header(name, bytes)?;
        let range = self.member(level, content)?;
        if range.bytes != bytes {
            return Err(ArchiveError::Spec(format!(
                "{name} changed while it was read"
            )));
        }
        Ok(range)
    }

    /// Writes a file whose content is members already: they lie in `path`, end to end.
    pub fn file_of_members(
        &mut self,
        name: &str,
        bytes: u64,
        path: &Path,
    ) -> Result<Range, ArchiveError> {
        self.header(name, bytes)?;
        let position = self.position();
        let mut members = File::open(path).map_err(ArchiveError::io("open", path))?;
        io::copy(&mut members, &mut self.out).map_err(ArchiveError::io("copy", path))?;
        let length = self.position() - position;
        Ok(Range {
            position,
            length,
            bytes,
        })
    }

    /// The two zero blocks that end a tar.
    pub fn end_of_tar(&mut self) -> Result<(), ArchiveError> {
        let zeros = vec![0u8; self.padding + 2 * BLOCK_BYTES];
        self.padding = 0;
        self.member(Level::Fast, &mut zeros.as_slice())?;
        Ok(())
    }

    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.out
            .write_all(bytes)
            .map_err(ArchiveError::io("write", &self.path))
    }

    /// Flushes and fsyncs; returns size and SHA-256 (hex).
    pub fn finish(self) -> Result<(u64, String), ArchiveError> {
        let path = self.path;
        let file = self
            .out
            .file
            .into_inner()
            .map_err(|e| ArchiveError::io("write", &path)(e.into_error()))?;
        file.sync_all().map_err(ArchiveError::io("fsync", &path))?;
        Ok((self.out.position, format!("{:x}", self.out.hash.finalize())))
    }

    fn header(&mut self, name: &str, bytes: u64) -> Result<(), ArchiveError> {
        let mut block = vec![0u8; self.padding];
        block.extend_from_slice(&encode_header(name, bytes, self.created_at)?);
        self.member(Level::Fast, &mut block.as_slice())?;
        self.padding = padding_of(bytes);
        Ok(())
    }

    fn member(&mut self, level: Level, content: &mut dyn Read) -> Result<Range, ArchiveError> {
        let position = self.position();
        let (bytes, length) = self
            .encoder
            .write_member(level, content, &mut self.out)
            .map_err(ArchiveError::io("write", &self.path))?;
        Ok(Range {
            position,
            length,
            bytes,
        })
    }
}

struct HashedWriter {
    file: BufWriter<File>,
    hash: Sha256,
    position: u64,
}

impl Write for HashedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.position += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
